-- A line editor: one entry of one or more lines at a terminal, with a history and completion. The keys are those that
-- people's hands know from a shell (Emacs').
local core = require "caisson.core"

local M = {}

---@class caisson.repl.Editor
local Editor = {}
Editor.__index = Editor

-- o: input, output (descriptors), alone (false: it never stops this process), history,
-- complete = function(text before the cursor) -> candidates, their common start.
function M.new(o)
  return setmetatable({ input = assert(core.dup(o.input or 0)), output = assert(core.dup(o.output or 1)), alone = o.alone,
    history = o.history or { list = {}, add = function() end }, complete = o.complete, queue = "", killed = "" }, Editor)
end

function Editor:close()
  self:cooked()
  self.input:close()
  self.output:close()
end

function Editor:raw()
  if not self.modes then self.modes = core.terminal.raw(self.input) end
end

function Editor:cooked()
  if self.modes then core.terminal.restore(self.input, self.modes) end
  self.modes = nil
end

function Editor:write(text)
  while #text > 0 do
    local n, message = self.output:write(text)
    if not n then error(message, 0) end
    text = text:sub(n + 1)
  end
end

function Editor:columns()
  local _, columns = core.terminal.size(self.output)
  return type(columns) == "number" and columns > 8 and columns or 80
end

-- ---- characters: UTF-8, of one or two columns ----

local function next_at(s, i) -- the place behind the character at i
  i = i + 1
  while i <= #s and s:byte(i) >= 0x80 and s:byte(i) < 0xc0 do i = i + 1 end
  return i
end

local function before(s, i) -- the place of the character before i
  i = i - 1
  while i > 1 and s:byte(i) >= 0x80 and s:byte(i) < 0xc0 do i = i - 1 end
  return math.max(i, 1)
end

local function width_of(c)
  if #c < 2 then return 1 end
  local b = c:byte(1)
  local point = #c == 2 and b % 32 or #c == 3 and b % 16 or b % 8
  for k = 2, #c do point = point * 64 + c:byte(k) % 64 end
  if point >= 0x300 and point <= 0x36f or point >= 0x200b and point <= 0x200f or point >= 0xfe00 and point <= 0xfe0f then
    return 0
  end
  return (point >= 0x1100 and point <= 0x115f or point >= 0x2e80 and point <= 0xa4cf or point >= 0xac00 and point <= 0xd7a3
    or point >= 0xf900 and point <= 0xfaff or point >= 0xfe30 and point <= 0xfe6f or point >= 0xff00 and point <= 0xff60
    or point >= 0xffe0 and point <= 0xffe6 or point >= 0x1f300 and point <= 0x1faff) and 2 or 1
end

-- ---- showing ----

-- The rows that the entry fills, and where in them the cursor is.
local function lay_out(self, columns)
  local out, row, column, at_row, at_column = {}, 0, 0, nil, nil
  local function put(c, w)
    if column + w > columns then
      out[#out + 1] = "\r\n"
      row, column = row + 1, 0
    end
    out[#out + 1] = c
    column = column + w
  end
  local function text(s, visible)
    local i = 1
    while i <= #s do
      local escape = not visible and s:match("^\27%[[%d;]*m", i)
      if escape then
        out[#out + 1] = escape
        i = i + #escape
      else
        local to = next_at(s, i)
        put(s:sub(i, to - 1), width_of(s:sub(i, to - 1)))
        i = to
      end
    end
  end
  text(self.prompt)
  local s, i = self.text, 1
  while true do
    if i == self.cursor then
      if column >= columns then put("", 1) column = 0 end
      at_row, at_column = row, column
    end
    if i > #s then break end
    local to = next_at(s, i)
    local c = s:sub(i, to - 1)
    if c == "\n" then
      out[#out + 1] = "\27[K\r\n"
      row, column = row + 1, 0
      text(self.more)
    elseif c == "\t" then
      put("  ", 2)
    elseif c:byte() < 32 or c:byte() == 127 then
      put("^" .. string.char((c:byte() + 64) % 128), 2)
    else
      put(c, width_of(c))
    end
    i = to
  end
  return table.concat(out), row, at_row, at_column
end

function Editor:refresh()
  local text, rows, row, column = lay_out(self, self:columns())
  local up = self.row and self.row > 0 and ("\27[%dA"):format(self.row) or ""
  local back = rows > row and ("\27[%dA"):format(rows - row) or ""
  self:write(up .. "\r" .. text .. "\27[J" .. back .. "\r" .. (column > 0 and ("\27[%dC"):format(column) or ""))
  self.row, self.rows = row, rows
end

-- The cursor behind the entry, on a line of its own.
function Editor:leave()
  self.cursor = #self.text + 1
  self:refresh()
  self:write "\r\n"
  self.row = nil
end

-- ---- keys ----

-- One byte; nil at the end of the input.
function Editor:byte()
  if self.queue == "" then
    local s = self.input:read(4096)
    if not s or s == "" then return nil end
    self.queue = s
  end
  local c = self.queue:sub(1, 1)
  self.queue = self.queue:sub(2)
  return c
end

-- Is there more within a moment? (an escape key alone, or the beginning of a sequence)
function Editor:follows()
  if self.queue ~= "" then return true end
  local ready = core.poll({ { fd = self.input } }, 0.05)
  return ready and ready[1] and true or false
end

local sequences = { A = "up", B = "down", C = "right", D = "left", H = "home", F = "end", ["1~"] = "home", ["7~"] = "home",
  ["4~"] = "end", ["8~"] = "end", ["3~"] = "delete", ["1;5C"] = "word_right", ["1;5D"] = "word_left",
  ["1;3C"] = "word_right", ["1;3D"] = "word_left", ["200~"] = "paste" }
local controls = { ["\1"] = "home", ["\2"] = "left", ["\3"] = "cancel", ["\4"] = "end_or_delete", ["\5"] = "end",
  ["\6"] = "right", ["\8"] = "backspace", ["\9"] = "tab", ["\10"] = "enter", ["\11"] = "kill", ["\12"] = "clear",
  ["\13"] = "enter", ["\14"] = "down", ["\16"] = "up", ["\18"] = "search", ["\20"] = "swap", ["\21"] = "kill_start",
  ["\23"] = "kill_word", ["\25"] = "yank", ["\26"] = "suspend", ["\127"] = "backspace" }
local alts = { b = "word_left", f = "word_right", d = "kill_word_right", ["\127"] = "kill_word", ["\r"] = "newline",
  ["\n"] = "newline" }

-- What was pressed: its name, or nil and the bytes of a character; "eof" at the end.
function Editor:key()
  local c = self:byte()
  if not c then return "eof" end
  if c == "\27" then
    if not self:follows() then return "escape" end
    c = self:byte()
    if not c then return "eof" end
    if c ~= "[" and c ~= "O" then return alts[c] or "escape" end
    local s = ""
    repeat
      c = self:byte()
      s = s .. (c or "")
    until not c or c:find "[%a~]"
    return sequences[s] or "escape"
  end
  if controls[c] then return controls[c] end
  if c:byte() < 32 then return "escape" end
  local n = c:byte() >= 0xf0 and 3 or c:byte() >= 0xe0 and 2 or c:byte() >= 0xc0 and 1 or 0
  for _ = 1, n do c = c .. (self:byte() or "") end
  return nil, c
end

-- ---- editing ----

function Editor:insert(s)
  self.text = self.text:sub(1, self.cursor - 1) .. s .. self.text:sub(self.cursor)
  self.cursor = self.cursor + #s
end

-- Take [from, to) away; keep: what yank brings back.
function Editor:cut(from, to, keep)
  if keep and to > from then self.killed = self.text:sub(from, to - 1) end
  self.text = self.text:sub(1, from - 1) .. self.text:sub(to)
  self.cursor = from
end

local function word_start(s, i)
  while i > 1 and not s:sub(i - 1, i - 1):find "[%w_\128-\255]" do i = i - 1 end
  while i > 1 and s:sub(i - 1, i - 1):find "[%w_\128-\255]" do i = i - 1 end
  return i
end

local function word_end(s, i)
  while i <= #s and not s:sub(i, i):find "[%w_\128-\255]" do i = i + 1 end
  while i <= #s and s:sub(i, i):find "[%w_\128-\255]" do i = i + 1 end
  return i
end

local function line_start(s, i)
  while i > 1 and s:sub(i - 1, i - 1) ~= "\n" do i = i - 1 end
  return i
end

local function line_end(s, i)
  return s:find("\n", i, true) or #s + 1
end

local act = {}

function act.left(e) e.cursor = e.cursor > 1 and before(e.text, e.cursor) or 1 end
function act.right(e) if e.cursor <= #e.text then e.cursor = next_at(e.text, e.cursor) end end
function act.home(e) e.cursor = line_start(e.text, e.cursor) end
act["end"] = function(e) e.cursor = line_end(e.text, e.cursor) end
function act.word_left(e) e.cursor = word_start(e.text, e.cursor) end
function act.word_right(e) e.cursor = word_end(e.text, e.cursor) end
function act.backspace(e) if e.cursor > 1 then e:cut(before(e.text, e.cursor), e.cursor) end end
function act.delete(e) if e.cursor <= #e.text then e:cut(e.cursor, next_at(e.text, e.cursor)) end end
function act.kill(e)
  local to = line_end(e.text, e.cursor)
  e:cut(e.cursor, to == e.cursor and math.min(to + 1, #e.text + 1) or to, true)
end
function act.kill_start(e) e:cut(line_start(e.text, e.cursor), e.cursor, true) end
function act.kill_word(e) e:cut(word_start(e.text, e.cursor), e.cursor, true) end
function act.kill_word_right(e) e:cut(e.cursor, word_end(e.text, e.cursor), true) end
function act.yank(e) e:insert(e.killed) end
function act.newline(e) e:insert "\n" end
function act.swap(e)
  if e.cursor == 1 or #e.text < 2 then return end
  if e.cursor > #e.text then e.cursor = before(e.text, e.cursor) end
  local a, b = before(e.text, e.cursor), next_at(e.text, e.cursor)
  e.text = e.text:sub(1, a - 1) .. e.text:sub(e.cursor, b - 1) .. e.text:sub(a, e.cursor - 1) .. e.text:sub(b)
  e.cursor = b
end
function act.clear(e)
  e:write "\27[H\27[2J"
  e.row = nil
end
function act.suspend(e)
  if not e.alone then return end
  e:cooked()
  e:write "\r\n"
  core.signal.raise "TSTP"
  e:raw()
  e.row = nil
end

-- Another entry of the history; what was being typed is kept.
local function recall(e, place)
  local list = e.history.list
  if place < 1 or place > #list + 1 then return end
  if e.place == #list + 1 then e.draft = e.text end
  e.place = place
  e.text = list[place] or e.draft or ""
  e.cursor = #e.text + 1
end

function act.up(e)
  local start = line_start(e.text, e.cursor)
  if start == 1 then return recall(e, e.place - 1) end
  local above = line_start(e.text, start - 1)
  e.cursor = math.min(above + e.cursor - start, start - 1)
end

function act.down(e)
  local stop = line_end(e.text, e.cursor)
  if stop > #e.text then return recall(e, e.place + 1) end
  local below = stop + 1
  e.cursor = math.min(below + e.cursor - line_start(e.text, e.cursor), line_end(e.text, below))
end

function act.paste(e)
  local s = ""
  repeat
    local c = e:byte()
    s = s .. (c or "")
  until not c or s:sub(-6) == "\27[201~"
  e:insert((s:gsub("\27%[201~$", ""):gsub("\r\n?", "\n")))
end

local function in_columns(list, columns)
  local width = 0
  for _, w in ipairs(list) do width = math.max(width, #w + 2) end
  local per = math.max(1, math.floor(columns / width))
  local rows, lines = math.ceil(#list / per), {}
  for r = 1, rows do
    local cells = {}
    for c = 0, per - 1 do
      local w = list[c * rows + r]
      if w then cells[#cells + 1] = w .. (" "):rep(width - #w) end
    end
    lines[r] = table.concat(cells):gsub("%s+$", "")
  end
  return table.concat(lines, "\r\n")
end

-- Once: as much as is certain. Twice: what there is.
function act.tab(e, again)
  local head = e.text:sub(1, e.cursor - 1)
  if head:match "[^\n]*$":find "^%s*$" or not e.complete then return e:insert "  " end
  local list, from = e.complete(head)
  if not list or #list == 0 then return end
  local common = list[1]
  for _, w in ipairs(list) do
    while w:sub(1, #common) ~= common do common = common:sub(1, -2) end
  end
  if #common > #head - from + 1 then
    e:cut(from, e.cursor)
    e:insert(common)
  elseif again and #list > 1 then
    local shown = list
    if #list > 200 then
      shown = {}
      for i = 1, 200 do shown[i] = list[i] end
    end
    local cursor = e.cursor
    e:leave()
    e:write(in_columns(shown, e:columns()) .. (#list > 200 and ("\r\n(and %d more)"):format(#list - 200) or "") .. "\r\n")
    e.cursor = cursor
  end
end

-- Back through the history, by what an entry holds.
function act.search(e)
  local pattern, place, own, text = "", #e.history.list + 1, e.prompt, e.text
  local function look(from)
    for i = math.min(from, #e.history.list), 1, -1 do
      local at = e.history.list[i]:find(pattern, 1, true)
      if at then
        place, e.text, e.cursor = i, e.history.list[i], at
        return
      end
    end
  end
  while true do
    e.prompt = ("(search: %s) "):format(pattern)
    e:refresh()
    local key, c = e:key()
    if c then
      pattern = pattern .. c
      look(place)
    elseif key == "search" then
      look(place - 1)
    elseif key == "backspace" then
      pattern = pattern:sub(1, -2)
      place = #e.history.list + 1
      look(place)
    else
      e.prompt = own
      if key == "cancel" or key == "escape" or key == "eof" then
        e.text, e.cursor = text, #text + 1
        return
      end
      e.place = place
      return key
    end
  end
end

-- An entry: its text | nil, "eof" | nil, "cancelled". done(text): is it whole? Else Enter goes on in the next line.
function Editor:read(prompt, more, done)
  self.prompt, self.more = prompt, more or ""
  self.text, self.cursor, self.row, self.place, self.draft = "", 1, nil, #self.history.list + 1, nil
  self:raw()
  self:write "\27[?2004h"
  local result, why
  local last
  while result == nil and why == nil do
    if self.queue == "" then self:refresh() end -- what is pasted is shown once
    local key, c = self:key()
    if key == "search" then key = act.search(self) end
    if c then
      self:insert(c)
    elseif key == "enter" then
      if self.text:find "%S" and done and not done(self.text) then
        self.cursor = #self.text + 1
        self:insert "\n"
      else
        result = self.text
      end
    elseif key == "cancel" then
      self:leave()
      why = "cancelled"
    elseif key == "eof" or key == "end_or_delete" and self.text == "" then
      self:leave()
      why = "eof"
    elseif key == "end_or_delete" then
      act.delete(self)
    elseif act[key] then
      act[key](self, last == key)
    end
    last = key
  end
  if result then
    self:leave()
    self.history:add(result)
  end
  self:write "\27[?2004l"
  self:cooked()
  return result, why
end

return M
