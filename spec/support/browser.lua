-- Pages in a real browser, without a screen.
local t = require "support"

local M = {}

local program

-- The browser's program; nil, why.
function M.program()
  if program == nil then program = t.sh("command -v chromium || command -v chromium-browser || command -v google-chrome"):match("[^\n]+") or false end
  if not program then return nil, "no chromium (package chromium)" end
  return program
end

function t.probes.browser() return M.program() end

local function run(dir, arguments)
  local output = t.sh(("HOME=%s XDG_CONFIG_HOME=%s timeout 100 %s --headless --no-sandbox --disable-gpu --disable-dev-shm-usage "
    .. "--hide-scrollbars --no-first-run --disable-extensions --user-data-dir=%s/chrome %s 2>%s/chrome.log"):format(dir, dir,
    M.program(), dir, arguments, dir))
  return output
end

local function write(path, text)
  local f = assert(io.open(path, "wb"))
  f:write(text)
  f:close()
end

local function in_frame(page, width, height)
  return ('<iframe id="frame" style="border:0;display:block;width:%dpx;height:%dpx" srcdoc="%s"></iframe>'):format(width, height,
    page:gsub("&", "&amp;"):gsub('"', "&quot;"))
end

-- What a script finds in a page (text), shown in a frame of that width, since a window has a least one: it gets the frame's
-- window as w, may call frame(width), and returns a value, which comes back.
function M.look(dir, page, script)
  write(dir .. "/look.html", ([[<!DOCTYPE html><html><body>%s<script>
function frame(width) { document.getElementById("frame").style.width = width + "px"; }
onload = function () {
  var w = document.getElementById("frame").contentWindow, found;
  try { found = (function (w) { %s })(w); } catch (e) { found = { error: String(e.stack || e) }; }
  document.body.textContent = "FOUND" + JSON.stringify(found) + "END";
};</script></body></html>]]):format(in_frame(page, 1400, 900), script))
  local found = run(dir, "--dump-dom file://" .. dir .. "/look.html"):match("FOUND(.-)END")
  if not found then error("the browser says: " .. (t.read_file(dir .. "/chrome.log") or "nothing"), 2) end
  found = found:gsub("&lt;", "<"):gsub("&gt;", ">"):gsub("&amp;", "&")
  return require("caisson.json").decode(found)
end

-- A picture of a page: width and height of it in its file, and the file's size.
function M.picture(dir, page, file, width, height, dark)
  write(dir .. "/picture.html", '<!DOCTYPE html><html><body style="margin:0">' .. in_frame(page, width, height) .. "</body></html>")
  run(dir, ("--window-size=%d,%d %s --screenshot=%s file://%s/picture.html"):format(width, height,
    dark and "--blink-settings=preferredColorScheme=0" or "--blink-settings=preferredColorScheme=1", file, dir))
  local bytes = t.read_file(file) or ""
  local function number(i)
    local a, b, c, d = bytes:byte(i, i + 3)
    return ((a * 256 + b) * 256 + c) * 256 + d
  end
  if bytes:sub(2, 4) ~= "PNG" then error("no picture: " .. (t.read_file(dir .. "/chrome.log") or ""), 2) end
  return number(17), number(21), #bytes
end

return M
