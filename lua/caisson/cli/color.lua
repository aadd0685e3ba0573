-- Colours and widths of text for a terminal: the one place that knows them.
--
--   local c = color.of(io.stdout)
--   io.write(c.red "error", ": ", c.dim(path), "\n")     -- plain text where it is no terminal
--   if c.columns then line = color.cut(line, c.columns) end
local core = require "caisson.core"

local M = {}

-- What each style begins and ends with: ending one leaves the others of the text as they are.
local styles = {
  bold = { "1", "22" }, dim = { "2", "22" }, underline = { "4", "24" },
  red = { "31", "39" }, green = { "32", "39" }, yellow = { "33", "39" }, blue = { "34", "39" },
  magenta = { "35", "39" }, cyan = { "36", "39" },
}

---@class caisson.Color
---@field on boolean                 are there colours?
---@field columns? integer           the terminal's width; nil where it is no terminal, and nothing need be cut
---@field bold fun(s: string): string
---@field dim fun(s: string): string
---@field underline fun(s: string): string
---@field red fun(s: string): string
---@field green fun(s: string): string
---@field yellow fun(s: string): string
---@field blue fun(s: string): string
---@field magenta fun(s: string): string
---@field cyan fun(s: string): string

local function plain(s) return tostring(s) end

local function descriptor(file)
  if file == io.stdout then return 1 end
  if file == io.stderr then return 2 end
  if file == io.stdin then return 0 end
  return type(file) == "number" and file or nil
end

---Styles for what is written to a file: io.stdout, io.stderr or a descriptor's number. They are empty where that is no
---terminal, where $NO_COLOR is set, or where $TERM is "dumb" or nothing. true or false instead of a file: on, or off.
---@param file any
---@return caisson.Color
function M.of(file)
  local c = { on = file == true }
  local fd = descriptor(file)
  local rows, columns
  if fd then rows, columns = core.terminal.size(fd) end
  if rows then
    c.columns = columns > 0 and columns or 80 -- a serial line does not say
    local none, term = os.getenv("NO_COLOR") or "", os.getenv("TERM") or ""
    c.on = none == "" and term ~= "" and term ~= "dumb"
  end
  for name, code in pairs(styles) do
    local from, to = "\27[" .. code[1] .. "m", "\27[" .. code[2] .. "m"
    c[name] = c.on and function(s) return s == "" and s or from .. s .. to end or plain
  end
  return c
end

-- The next character of s from i: its last byte's place, and how many columns it takes.
local function character(s, i)
  local escape = select(2, s:find("^\27%[[%d;]*m", i))
  if escape then return escape, 0 end
  local last = select(2, s:find("^[\194-\244][\128-\191]*", i)) or i
  -- those that East Asian scripts and pictures write in two columns, roughly; what combines takes none
  local lead, second = s:byte(i, i + 1)
  if last == i or not second then return last, 1 end
  if lead == 204 or lead == 205 and second < 176 then return last, 0 end
  local wide = lead >= 227 and lead <= 237 and not (lead == 237 and second > 158)
    or lead == 239 and second >= 188 and second < 190 or lead == 240 and second >= 159
  return last, wide and 2 or 1
end

---How many columns of a terminal a line takes.
---@param s string
---@return integer
function M.width(s)
  if not s:find("[\27\128-\255]") then return #s end
  local n, i = 0, 1
  while i <= #s do
    local last, columns = character(s, i)
    n, i = n + columns, last + 1
  end
  return n
end

---A line that takes no more than that many columns: what is too long ends in "…". Styles that it has begun are ended.
---@param s string
---@param columns integer
---@return string
function M.cut(s, columns)
  if M.width(s) <= columns then return s end
  local n, i, styled = 0, 1, false
  while i <= #s do
    local last, wide = character(s, i)
    if n + wide > columns - 1 then break end
    styled = styled or wide == 0 and s:byte(i) == 27
    n, i = n + wide, last + 1
  end
  return s:sub(1, i - 1) .. (columns > 0 and "…" or "") .. (styled and "\27[0m" or "")
end

---A line, filled up with blanks to that many columns.
---@param s string
---@param columns integer
---@return string
function M.pad(s, columns) return s .. (" "):rep(columns - M.width(s)) end

return M
