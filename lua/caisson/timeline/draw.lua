-- A construction as a picture: parent and child side by side over one axis of time, and below a row for each step.
local core = require "caisson.core"
local line = require "caisson.timeline.line"

local M = {}

local left, right, top, row_height, lane = 300, 150, 150, 17, 24
local width = 1080
local across = width - left - right

local style = [[
:root { --ground: #ffffff; --text: #1d2129; --faint: #667085; --rule: #e4e7ec; --band: #f7f8fa;
  --parent: #2f6feb; --child: #d9730d; --wait: #cdd3dc; --bad: #d1242f; }
@media (prefers-color-scheme: dark) { :root { --ground: #14171c; --text: #e6e8eb; --faint: #98a1ae; --rule: #2a2f37;
  --band: #1a1e24; --parent: #6ea8ff; --child: #f2a65a; --wait: #3c434d; --bad: #ff6b72; } }
.caisson { font: 12px system-ui, sans-serif; fill: var(--text); }
.caisson .title { font-size: 16px; font-weight: 600; }
.caisson .faint { fill: var(--faint); } .caisson .number { font-variant-numeric: tabular-nums; }
.caisson .rule { stroke: var(--rule); } .caisson .mark { stroke: var(--faint); stroke-dasharray: 3 3; }
.caisson .ground { fill: var(--ground); } .caisson .band { fill: var(--band); }
.caisson .parent { fill: var(--parent); } .caisson .child { fill: var(--child); } .caisson .wait { fill: var(--wait); }
.caisson .bad { fill: var(--bad); } .caisson text.bad { font-weight: 600; }
]]

local function escape(s)
  return (tostring(s):gsub("[%z\1-\8\11-\31\127]", "?"):gsub("[&<>\"]", { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;",
    ["\""] = "&quot;" }))
end

-- No more characters than fit (of UTF-8, none is cut apart).
local function short(s, most)
  if #s <= most then return s end
  local n = most - 1
  while n > 0 and s:byte(n + 1) >= 0x80 and s:byte(n + 1) < 0xc0 do n = n - 1 end
  return s:sub(1, n) .. "…"
end

local function duration(ns) return (line.duration(ns):gsub("^ +", "")) end

-- A round distance between marks: about eight of them over the whole.
local function spacing(total)
  local unit = 10 ^ math.floor(math.log(total / 8) / math.log(10))
  for _, k in ipairs { 1, 2, 5, 10 } do
    if total / (unit * k) <= 9 then return unit * k end
  end
  return unit * 10
end

local function describe(t, i)
  local row, s = t.rows[i], t.steps[i]
  local parts = { ("%d %s %s"):format(i, row.step, row.object), ("%s, from %s on"):format(
    duration((s.ended or s.began) - s.began), duration(s.began)) }
  if s.calls then parts[#parts + 1] = ("%d system calls: %s"):format(#s.calls, line.summary(s.calls, { red = tostring })) end
  if s.errno then parts[#parts + 1] = core.errno.name(s.errno) or tostring(s.errno) end
  if row.at ~= "" then parts[#parts + 1] = row.at end
  return table.concat(parts, "\n")
end

local function bar(t, i, y, height)
  local s = t.steps[i]
  local x = left + s.began / t.total * across
  local w = math.max(((s.ended or s.began) - s.began) / t.total * across, 1.5)
  return ('<rect class="%s" x="%.1f" y="%d" width="%.1f" height="%d" rx="1"><title>%s</title></rect>'):format(
    s.errno and "bad" or s.side, math.min(x, left + across - 1.5), y, math.min(w, left + across - x + 1.5), height,
    escape(describe(t, i)))
end

local function text(x, y, s, class, more)
  return ('<text x="%.1f" y="%.1f"%s%s>%s</text>'):format(x, y, class and (' class="%s"'):format(class) or "",
    more and " " .. more or "", escape(s))
end

local function axis(t, out, bottom)
  local each = spacing(t.total)
  for k = 0, math.floor(t.total / each) do
    local x = left + k * each / t.total * across
    out[#out + 1] = ('<line class="rule" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/>'):format(x, x, 62, bottom)
    out[#out + 1] = text(x, 56, k == 0 and "0" or duration(k * each), "faint number", 'text-anchor="middle"')
  end
end

-- While its host does a step, the child waits.
local function waits(t, i, y, height)
  local s = t.steps[i]
  if s.side ~= "parent" or not t.born or s.began < t.born or t.rows[i].step == "clone" then return "" end
  return ('<rect class="wait" x="%.1f" y="%d" width="%.1f" height="%d"/>'):format(left + s.began / t.total * across, y,
    math.max((s.ended - s.began) / t.total * across, 1.5), height)
end

-- Between its steps and the last ones a child that stays as init is executed anew, in the runner's program.
local function handover(t, y, height)
  local from, to = t.steps[t.last - 1], t.steps[t.last]
  if not t.init or not (from and to and from.ended and to.began) or to.began <= from.ended then return "" end
  return ('<rect class="wait" x="%.1f" y="%d" width="%.1f" height="%d"><title>the child goes on in the runner\'s program, as its '
    .. 'program\'s init: %s</title></rect>'):format(left + from.ended / t.total * across, y,
    (to.began - from.ended) / t.total * across, height, duration(to.began - from.ended))
end

local function lanes(t, out)
  for k, side in ipairs { "parent", "child" } do
    local y = 66 + (k - 1) * (lane + 6)
    out[#out + 1] = ('<rect class="band" x="%d" y="%d" width="%d" height="%d"/>'):format(left, y, across, lane)
    if k == 2 then out[#out + 1] = handover(t, y + 3, lane - 6) end
    out[#out + 1] = text(left - 12, y + 16, side, side, 'text-anchor="end" font-weight="600"')
    for i = 1, #t.rows do
      if t.steps[i] and t.steps[i].began then
        if k == 2 then out[#out + 1] = waits(t, i, y + 3, lane - 6) end
        if t.steps[i].side == side then out[#out + 1] = bar(t, i, y + 3, lane - 6) end
      end
    end
  end
end

local function rows(t, out)
  local y = top
  for i, row in ipairs(t.rows) do
    local s = t.steps[i]
    if i % 2 == 0 then
      out[#out + 1] = ('<rect class="band" x="0" y="%d" width="%d" height="%d"/>'):format(y, width, row_height)
    end
    local class = s and s.errno and "bad" or (not s or not s.began) and "faint" or nil
    out[#out + 1] = text(30, y + 12.5, i, "faint number", 'text-anchor="end"')
    out[#out + 1] = text(40, y + 12.5, row.step, class)
    out[#out + 1] = text(160, y + 12.5, short(row.object, 20), "faint")
    local note
    if s and s.began then
      out[#out + 1] = bar(t, i, y + 4, row_height - 8)
      note = duration((s.ended or s.began) - s.began)
      if s.calls then note = ("%s · %d call%s"):format(note, #s.calls, #s.calls == 1 and "" or "s") end
    end
    if s and s.errno then
      note = (note and note .. " · " or "") .. (core.errno.name(s.errno) or s.errno)
    elseif not note then
      note = t.failure and "not reached" or "left out"
    end
    out[#out + 1] = text(left + across + 12, y + 12.5, note, s and s.errno and "bad number" or "faint number")
    y = y + row_height
  end
  return y
end

local function title(t)
  local about = t.name and t.name .. ": " or ""
  if t.failure then return ("%sfailed after %s at step %d, %s"):format(about, duration(t.total), t.failure.number or 0,
    t.failure.step or "?") end
  return ("%s%s from the start to the program"):format(about, duration(t.total))
end

local function body(t)
  local bottom = top + #t.rows * row_height
  local out = {}
  out[#out + 1] = ('<rect class="ground" width="%d" height="%d"/>'):format(width, bottom + 16)
  out[#out + 1] = text(16, 26, title(t), "title")
  if t.traced then
    out[#out + 1] = text(width - 16, 26, "system calls traced: times are longer than without", "faint", 'text-anchor="end"')
  end
  axis(t, out, bottom)
  lanes(t, out)
  rows(t, out)
  if t.born then
    local x = left + t.born / t.total * across
    out[#out + 1] = ('<line class="mark" x1="%.1f" x2="%.1f" y1="62" y2="%d"/>'):format(x, x, bottom)
    out[#out + 1] = text(x + 4, 136, "the child is there", "faint")
  end
  if t.executed then
    local x = left + t.executed / t.total * across
    out[#out + 1] = ('<line class="mark" x1="%.1f" x2="%.1f" y1="62" y2="%d"/>'):format(x, x, bottom)
    out[#out + 1] = text(x - 4, 136, "the program runs", "faint", 'text-anchor="end"')
  end
  return table.concat(out, "\n"), bottom + 16
end

function M.svg(t)
  local inner, height = body(t)
  return ('<svg xmlns="http://www.w3.org/2000/svg" class="caisson" viewBox="0 0 %d %d" width="%d" height="%d" role="img" '
    .. 'aria-label="%s">\n<style>\n%s</style>\n%s\n</svg>\n'):format(width, height, width, height, escape(title(t)), style, inner)
end

local page_style = [[
body { margin: 0; background: var(--ground); color: var(--text); font: 14px system-ui, sans-serif; }
main { max-width: 1112px; margin: 0 auto; padding: 16px; box-sizing: border-box; }
.picture { overflow-x: auto; } .picture svg { display: block; min-width: 860px; width: 100%; height: auto; }
details { border-top: 1px solid var(--rule); padding: 6px 0; } summary { cursor: pointer; }
summary b { font-weight: 600; } summary span { color: var(--faint); }
pre { margin: 6px 0 6px 18px; overflow-x: auto; font: 12px ui-monospace, monospace; } .bad { color: var(--bad); }
]]

local function calls_of(s)
  local out = {}
  for i, call in ipairs(s.calls) do
    local result = line.result(call.result)
    local shown = escape(("%s = %s"):format(call.text or call.name, result))
    out[i] = (call.result and call.result < 0 and call.result > -4096 and ('<span class="bad">%s</span>'):format(shown) or shown)
      .. "  " .. escape(duration(call.ns or 0))
  end
  return table.concat(out, "\n")
end

function M.html(t)
  local inner, height = body(t)
  local out = { ('<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
    .. '<meta name="viewport" content="width=device-width">'
    .. '<meta name="color-scheme" content="light dark"><title>%s</title>\n'
    .. '<style>\n%s%s</style></head>\n<body><main>'):format(
    escape(title(t)), style, page_style) }
  out[#out + 1] = ('<div class="picture"><svg class="caisson" viewBox="0 0 %d %d" role="img" aria-label="%s">\n%s\n</svg>'
    .. "</div>"):format(width, height, escape(title(t)), inner)
  if t.traced then
    out[#out + 1] = "<h2>System calls</h2>"
    for i, row in ipairs(t.rows) do
      local s = t.steps[i]
      if s and s.calls then
        local bad = line.failures(s.calls)
        out[#out + 1] = ('<details%s><summary>%d <b>%s</b> %s <span>%d call%s%s</span></summary><pre>%s</pre>'
          .. "</details>"):format(
          s.errno and " open" or "", i, escape(row.step), escape(row.object), #s.calls, #s.calls == 1 and "" or "s",
          bad > 0 and (', <span class="bad">%d failed</span>'):format(bad) or "", calls_of(s))
      end
    end
  end
  out[#out + 1] = "</main></body></html>\n"
  return table.concat(out, "\n")
end

return M
