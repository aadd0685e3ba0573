-- A Lua prompt: at a terminal with a line editor, history and completion; else line after line.
local core = require "caisson.core"
local show = require "caisson.repl.show"

local M = {}

---@class caisson.repl.Options
---@field env? table           the names at hand; new globals go there
---@field prompt? string       "> "
---@field input? integer|caisson.core.Fd
---@field output? integer|caisson.core.Fd
---@field history? caisson.repl.History
---@field command? fun(line: string): any  takes a line before Lua does: nil: it is none; false: it is done; else the
---  prompt ends, and this is what run() returns
---@field color? table         of caisson.cli.color
---@field alone? boolean        false: it has the terminal for a while, and another process waits for it
---@field interrupted? fun(): boolean  asked now and then while something is evaluated

---@class caisson.Repl
local Repl = {}
Repl.__index = Repl

local load_text = rawget(_G, "setfenv") and not rawget(_G, "jit") and function(text, name, env)
  local chunk, message = loadstring(text, name) -- luacheck: ignore (5.1)
  if chunk then setfenv(chunk, env) end -- luacheck: ignore (5.1)
  return chunk, message
end or function(text, name, env) return load(text, name, "t", env) end

-- A chunk from what was typed: an expression gives its values. Returns it | nil, message, is more to come?
function M.compile(text, env)
  local name = "=prompt"
  local chunk = load_text("return " .. text:gsub("^%s*=", ""), name, env)
  if chunk then return chunk end
  local message
  chunk, message = load_text(text, name, env)
  if chunk then return chunk end
  return nil, message, message:find("<eof>", 1, true) ~= nil
end

local function pack(...) return { n = select("#", ...), ... } end

---@param o caisson.repl.Options
---@return caisson.Repl
function M.new(o)
  local self = setmetatable({ env = o.env or setmetatable({}, { __index = _G }), prompt = o.prompt or "> ", input = o.input or 0,
    output = o.output or 1, history = o.history, command = o.command, color = o.color, interrupted = o.interrupted }, Repl)
  self.alone = o.alone ~= false
  self.terminal = core.terminal.size(self.input) ~= nil and core.terminal.size(self.output) ~= nil
  self.failures = 0
  return self
end

-- To the output, behind what the C library still has.
function Repl:say(text)
  io.stdout:flush()
  local fd = self.out
  if not fd then
    fd = assert(core.dup(self.output))
    self.out = fd
  end
  while #text > 0 do
    local n, message = fd:write(text)
    if not n then error(message, 0) end
    text = text:sub(n + 1)
  end
end

function Repl:paint(how, text)
  return self.color and self.color.on and self.color[how] and self.color[how](text) or text
end

-- A message may hold anything, as a program's output may.
local function harmless(text) return (text:gsub("[%z\1-\8\11-\31\127]", "?")) end

function Repl:complain(message)
  self.failures = self.failures + 1
  if not self.terminal then
    io.stderr:write(harmless(message), "\n")
  else
    self:say(self:paint("red", harmless(message)) .. "\n")
  end
end

-- Where the library's own frames begin nobody at the prompt wants to read on.
local function trace(e)
  if type(e) ~= "string" then
    return type(e) == "table" and getmetatable(e) and rawget(getmetatable(e), "__tostring") and tostring(e)
      or "an error that is no string: " .. show.text(e)
  end
  if e == "interrupted" then return e end
  local full = debug.traceback(e, 2)
  local lines, n = {}, 0
  for line in full:gmatch "[^\n]+" do
    if n > 0 and line:find "caisson/repl%.lua:%d+" or line:find("'xpcall'", 1, true) then break end
    -- a call that is all that was typed has no frame of its own
    if n == 0 then line = line:gsub("^[^\n:]*caisson/repl%.lua:%d+: ", "") end
    n = n + 1
    if n > 12 then break end
    lines[n] = line
  end
  -- one frame says no more than the message
  if n <= 3 then return lines[1] end
  return table.concat(lines, "\n")
end

-- Run what was typed and show what it gives.
function Repl:evaluate(text)
  local chunk, message = M.compile(text, self.env)
  if not chunk then return self:complain(message) end
  local hook = self.interrupted and function()
    if self.interrupted() then error("interrupted", 0) end
  end
  if hook then debug.sethook(hook, "", 10000) end
  local results
  local ok, e = xpcall(function() results = pack(chunk()) end, trace)
  if hook then debug.sethook() end
  if not ok then return self:complain(e) end
  if results.n == 0 then return end
  local _, columns = core.terminal.size(self.output)
  -- nil, message, …: how everything here fails
  if results[1] == nil and results.n >= 2 and type(results[2]) == "string" then
    self:complain(results[2])
    local hint = type(results[4]) == "table" and results[4].hint
    if hint then self:say("  hint: " .. harmless(hint) .. "\n") end
    self.env._ = results[4]
    return
  end
  self.env._ = results[1]
  local parts = {}
  for i = 1, results.n do parts[i] = show.text(results[i], type(columns) == "number" and columns > 20 and columns or 80) end
  if not (results.n == 1 and results[1] == nil) or self.terminal then self:say(table.concat(parts, "\n") .. "\n") end
end

local function is_whole(self)
  return function(text)
    if self.command and self.command(text, true) then return true end
    local chunk, _, more = M.compile(text, self.env)
    return chunk ~= nil or not more
  end
end

-- Lines of a file or a pipe.
local function lines_of(self)
  local fd, rest = assert(core.dup(self.input)), ""
  return function()
    while true do
      local line, after = rest:match "^([^\n]*)\n(.*)$"
      if line then
        rest = after
        return line
      end
      local s = fd:read(1) -- what a program is to read, or another prompt, stays for it
      if not s or s == "" then
        line, rest = rest, ""
        if line ~= "" then return line end
        fd:close()
        return nil
      end
      rest = rest .. s
    end
  end
end

local function ended(self, value)
  if self.out then self.out:close() end
  self.out = nil
  return value
end

local function run_lines(self)
  local text
  for line in self.next_line or lines_of(self) do
    text = text and text .. "\n" .. line or line
    local value = self.command and self.command(text)
    if value then return ended(self, value) end
    if value == false or text:find "^%s*$" then
      text = nil
    else
      local chunk, _, more = M.compile(text, self.env)
      if chunk or not more then
        self:evaluate(text)
        text = nil
      end
    end
  end
  if text then self:evaluate(text) end
  return ended(self, nil)
end

-- Until the end of the input, or a command ends it. Returns what that command gave; nil at the end of the input.
function Repl:run()
  if not self.terminal then return run_lines(self) end
  local editor = require("caisson.repl.editor").new { input = self.input, output = self.output, history = self.history,
    alone = self.alone,
    complete = function(head) return require("caisson.repl.complete").of(head, self.env) end }
  local result
  while true do
    local text, why = editor:read(self:paint("bold", self.prompt), (" "):rep(#self.prompt), is_whole(self))
    if why == "eof" then break end
    if text and text:find "%S" then
      local value = self.command and self.command(text)
      if value then
        result = value
        break
      end
      if value == nil then
        local ok, message = pcall(self.evaluate, self, text)
        if not ok then io.stderr:write(tostring(message), "\n") end
      end
    end
  end
  editor:close()
  return ended(self, result)
end

return M
