-- caisson completion: what a shell asks when its user presses Tab.
--
-- The shells' own scripts (completion/scripts.lua) are a few lines each: they ask this command with the line's words,
-- and it answers from the same descriptions that the parser and the help are made of. A line for each candidate, with
-- what it is behind a tab; lines that begin with a colon say what else fits: :files and :directories (of what stands
-- behind the word's last "="), :program N (from the N-th word on it is another command's line), :open (what is chosen
-- goes on: no blank behind it).
local cli = require "caisson.cli"

local M = {}

local function line(text) return (tostring(text):gsub("%c", " ")) end

-- ---- what there is to choose from ----

---@class caisson.cli.Answers
local Answers = {}
Answers.__index = Answers

-- One candidate, where the word so far is its beginning.
function Answers:add(word, about)
  word = line(word)
  if word:sub(1, #self.word) == self.word and not self.seen[word] then
    self.seen[word] = true
    self[#self + 1] = about and about ~= "" and word .. "\t" .. line(about) or word
  end
end

function Answers:tell(what)
  if not self.seen[":" .. what] then
    self.seen[":" .. what] = true
    self[#self + 1] = ":" .. what
  end
end

local kinds = {}

function kinds.FILE(a) a:tell "files" end
kinds.PATH = kinds.FILE
function kinds.DIR(a) a:tell "directories" end

function kinds.RECIPE(a)
  if a.word:find("/", 1, true) then return a:tell "files" end
  local core, recipe = require "caisson.core", require "caisson.recipe"
  for _, dir in ipairs(recipe.path) do
    for _, file in ipairs(core.list(dir) or {}) do
      local name = file:match "^(.+)%.lua$"
      if name and name:sub(1, #a.word) == a.word then
        a:add(name, select(2, require("caisson.cli.completion.parameters").of(dir .. "/" .. file)))
      end
    end
  end
  a:tell "files"
end

function kinds.ID(a)
  for _, c in ipairs(require("caisson.container").list { root = a.root } or {}) do a:add(c.id, c.status) end
end

function kinds.SIGNAL(a)
  local core = require "caisson.core"
  for number = 1, 31 do a:add(core.signal.name(number) or number) end
end

kinds.SHELL = { "bash", "zsh", "fish" }
kinds.FORMAT = { "text", "json" }
kinds.LEVEL = { "error", "warning", "info", "debug" }

function kinds.WHERE(a)
  a:add "journald"
  a:add "syslog"
  a:tell "files"
end

-- Names, of which more than one may stand there, with commas between them. about: { [name] = what it is }.
local function several(a, about)
  local before = a.word:sub(1, (a.word:match "^.*,()" or 1) - 1)
  local names = {}
  for name in pairs(about) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do a:add(before .. name, type(about[name]) == "string" and about[name] or nil) end
end

-- The steps of plans.
function kinds.STEP(a)
  local sides = {}
  for name, p in pairs(require("caisson.core").primitives) do sides[name] = p.side end
  several(a, sides)
end

-- What caisson probe or caisson check looks for.
function kinds.RULE(a)
  local about = {}
  if a.command == "probe" then
    for _, r in ipairs(require "caisson.probe.rules") do about[r.name] = r.title end
    for level in pairs(require("caisson.probe.rules").levels) do about[level] = level ~= "ok" or nil end -- its and above
  else
    for _, r in ipairs(require("caisson.check").rules()) do about[r.name] = r.title end
  end
  several(a, about)
end

-- A recipe's options, as export goes without.
function kinds.NAME(a)
  if a.command == "export" then several(a, require("caisson.build").options) end
end

-- What caisson policy is of, and what it asks about.
function kinds.WHAT(a) kinds.RECIPE(a) end
function kinds.CALL(a)
  if a.given[1] == "diff" then return kinds.RECIPE(a) end
  if a.given[1] ~= "decide" or #a.given > 2 then return end
  local names = {}
  for _, group in pairs(require "caisson.policy.groups") do
    for name in group:gmatch "%f[%S][^@%s]%S*" do names[name] = true end
  end
  several(a, names)
end

function kinds.COMMAND(a)
  local _, commands = require("caisson.cli.arguments").parser()
  local names = {}
  for name in pairs(commands) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do a:add(name, commands[name]._summary) end
end

local function limits(a)
  for _, word in ipairs { "memory.max", "memory.high", "memory.swap", "pids.max", "cpu.max", "cpu.weight", "cpuset.cpus",
    "io.weight" } do
    a:add(word .. "=")
  end
  a:tell "open"
end
kinds["CONTROLLER.LIMIT=VALUE"] = limits

-- Of the recipe that the line names: its parameters, and what each may be.
local function parameters(a)
  local recipe
  for _, word in ipairs(a.given) do
    if not word:find("=", 1, true) then recipe = word end
  end
  if not recipe then return end
  local all = require("caisson.cli.completion.parameters").of(recipe)
  local name, value = a.word:match "^([%w_]+)=(.*)$"
  if name then
    local d = all[name]
    local kind = d and d[1]
    if type(kind) == "table" then
      for _, word in ipairs(kind) do a:add(name .. "=" .. tostring(word)) end
    elseif kind == "boolean" then
      for _, word in ipairs { "yes", "no" } do a:add(name .. "=" .. word) end
    elseif kind == "path" or kind == "list" or not d then
      a:tell "files"
    elseif value == "" and d.default ~= nil then
      a:add(name .. "=" .. tostring(d.default), "the default")
    end
    return
  end
  local names, given = {}, {}
  for _, word in ipairs(a.given) do given[word:match "^([%w_]+)=" or 0] = true end
  for key in pairs(all) do
    if not given[key] then names[#names + 1] = key end
  end
  table.sort(names)
  for _, key in ipairs(names) do
    local d = all[key]
    local kind = type(d[1]) == "table" and table.concat(d[1], "|") or d[1]
    local about = tostring(kind) .. (d.help and ": " .. tostring(d.help) or "")
    local default = d.default ~= nil and type(d.default) ~= "table" and tostring(d.default)
    a:add(key .. "=", about .. (default and " (default: " .. default .. ")" or ""))
  end
  if #names > 0 then a:tell "open" end
end
kinds["NAME=VALUE"] = parameters

-- What the words of these commands are, where their names in the help don't tell.
local positional = {
  create = { "", "RECIPE", "NAME=VALUE" },
  help = { { "COMMAND", "RECIPE" } },
  new = { "" },
  export = { "RECIPE", { "NAME=VALUE", "DIR" } },
  probe = { "RECIPE", { "NAME=VALUE", "RECIPE" } },
  check = { "RECIPE", { "NAME=VALUE", "RECIPE" } },
}

-- What an option's value is.
local valued = { ["--cap"] = "CAPABILITY", ["--env"] = "VARIABLE", ["--interval"] = "", ["--break"] = "STEP" }

function kinds.CAPABILITY(a)
  local core = require "caisson.core"
  for _, field in ipairs(core.primitives.capabilities.fields) do
    for _, word in ipairs(field.name == "bounding" and field.words or {}) do a:add(word) end
  end
end

function kinds.VARIABLE(a)
  for _, name in ipairs { "HOME", "LANG", "PATH", "TERM" } do
    if os.getenv(name) then a:add(name .. "=" .. os.getenv(name)) end
  end
  a:tell "open"
end

local function offer(a, kind, choices)
  for _, word in ipairs(choices or {}) do a:add(word) end
  if type(kind) == "table" then
    for _, k in ipairs(kind) do offer(a, k) end
    return
  end
  local known = kinds[kind] or kinds[kind:match "^[%u]+" or ""]
  if type(known) == "table" then
    for _, word in ipairs(known) do a:add(word) end
  elseif known then
    known(a)
  end
end

local function argname(element, i)
  local names = element._argname
  if type(names) == "table" then return names[math.min(i, #names)] end
  return names or ""
end

-- ---- the line ----

local function takes_value(option) return option._minargs > 0 end

local function option_of(parsers, word)
  for _, p in ipairs(parsers) do
    for _, option in ipairs(p._options) do
      for _, alias in ipairs(option._aliases) do
        if alias == word then return option, alias end
      end
    end
  end
end

local function options(a, parsers)
  for _, p in ipairs(parsers) do
    for _, option in ipairs(p._options) do
      if not option._hidden then
        for _, alias in ipairs(option._aliases) do
          if #alias > 2 or #a.word == 2 then a:add(alias, option._description) end
        end
      end
    end
  end
end

local look

-- The answers for a line: its words after the command's name, the last being the one that is typed.
function M.answers(words)
  local a = look(words)
  -- a blank stands behind what may be whole
  local list, whole = {}, false
  for _, line_ in ipairs(a) do
    whole = whole or line_:sub(1, 1) ~= ":" and not line_:match("^[^\t]*"):find "=$"
  end
  for _, line_ in ipairs(a) do
    if not (whole and line_ == ":open") then list[#list + 1] = line_ end
  end
  return list
end

function look(words)
  local a = setmetatable({ word = words[#words] or "", given = {}, seen = {} }, Answers)
  local root, commands = require("caisson.cli.arguments").parser()
  local command, value_of, value_name
  for i = 1, #words - 1 do
    local word = words[i]
    local parsers = { root, command and commands[command] }
    if value_of then
      if value_name == "--root" then a.root = word end
      value_of = nil
    elseif word == "--" then
      a:tell(("program %d"):format(i + 1))
      return a
    elseif word:sub(1, 1) == "-" and word ~= "-" then
      local option, alias = option_of(parsers, word:match "^(%-%-[^=]*)=" or word)
      a.id_given = a.id_given or alias == "--id"
      if option and takes_value(option) and not word:find "^%-%-[^=]*=" then value_of, value_name = option, alias end
    elseif not command then
      if not commands[word] and word ~= "oci" then return a end
      command = word
    else
      a.given[#a.given + 1] = word
    end
  end
  if command == "oci" then
    a:tell "files"
    return a
  end
  a.command = command
  local parsers = { root, command and commands[command] }
  local long, value = a.word:match "^(%-%-[^=]*)=(.*)$"
  if value_of then
    offer(a, valued[value_name] or argname(value_of, 1))
  elseif long then
    local option, alias = option_of(parsers, long)
    if option and takes_value(option) then
      -- what is offered is the whole word, as it is to stand there
      local inner = setmetatable({ word = value, given = a.given, seen = {}, root = a.root, command = command }, Answers)
      offer(inner, valued[alias] or argname(option, 1))
      for _, answer in ipairs(inner) do a[#a + 1] = answer:sub(1, 1) == ":" and answer or long .. "=" .. answer end
    end
  elseif a.word:sub(1, 1) == "-" then
    options(a, command and { commands[command], root } or { root })
    if command then a:add "--" end
  elseif not command then
    kinds.COMMAND(a)
  else
    local list = positional[command]
    local at = #a.given + 1
    if command == "create" and a.id_given then at = at + 1 end
    if list then
      offer(a, list[math.min(at, #list)])
    else
      local names = commands[command]._arguments
      for _, argument in ipairs(names) do
        local kind = argname(argument, at)
        if argument._maxargs >= at or type(argument._argname) == "table" then
          offer(a, kind, argument._choices)
          break
        end
        at = at - argument._maxargs
      end
    end
  end
  return a
end

function M.main(o)
  if o.line then
    -- what can't be told is no reason to disturb who types
    local ok, answers = pcall(M.answers, o.program or { "" })
    if ok then
      for _, answer in ipairs(answers) do io.write(answer, "\n") end
    elseif os.getenv "CAISSON_DEBUG" then
      cli.fail(tostring(answers))
    end
    return 0
  end
  local script = require("caisson.cli.completion.scripts")[o.shell or ""]
  if not script then
    cli.fail(("completion: a shell expected (bash, zsh or fish)%s"):format(o.shell and ", got " ..
      require("caisson.words").show(o.shell) or ""))
  end
  io.write(script)
  return 0
end

return M
