-- Learning: a program is run in a recipe's container, and what it needed becomes a policy.
--
--   local learnt, result = caisson.learn.run("sandbox", { args = { "python3", "script.py" } })
--   learnt:text()            -- a recipe that extends this one, and lets the program do that and nothing else
--   learnt:policy()          -- its system calls alone
--   learnt:oci()             -- JSON for other runtimes
--   learnt + other           -- what either of two runs needed
--
-- A tracer is asked about each system call (seccomp's action trace) and keeps what is new about it: it denies nothing.
-- What the recipe's own policy denies, the tracer is not asked about, nor is it in what is learnt.
local core = require "caisson.core"
local needs = require "caisson.learn.needs"
local recipe = require "caisson.recipe"
local rules = require "caisson.learn.rules"
local run = require "caisson.run"
local text = require "caisson.learn.text"

local M = {}

---@class caisson.Learnt
---@field needs table     calls, files, connect, bind, capabilities, peaks (caisson.learn.needs)
---@field extends string  the recipe that it was learnt in: its name, or its file
---@field commands string[] what was run
---@field figures? table  stops of the tracer, events, sites
local Learnt = {}
Learnt.__index = Learnt

local function file_of(name)
  local bundle = core.lstat(name .. "/config.json") and not recipe.locate(name)
  if not (bundle or name:find("/", 1, true) or name:find "%.lua$") then return name end
  return core.realpath(name) or name
end

local function shell_word(s)
  if s:find "^[%w_./:=@%%+,-]+$" then return s end
  return "'" .. s:gsub("'", "'\\''") .. "'"
end

local function command_line(name, params, args)
  local words = { "caisson learn", shell_word(name) }
  for _, k in ipairs(text.sorted(params or {})) do words[#words + 1] = k .. "=" .. shell_word(tostring(params[k])) end
  words[#words + 1] = "--"
  for _, a in ipairs(args) do words[#words + 1] = shell_word(a) end
  local line = table.concat(words, " ")
  return #line <= 110 and line or line:sub(1, 107) .. "..."
end

-- The recipe's own policy lets a page be mapped; else hot calls are traced each time, too.
local function may_map(options)
  local p = options.seccomp
  if p == nil then return true end
  local policy = require "caisson.policy"
  if not policy.is(p) then return false end
  local first = (p.calls.mmap or {})[1]
  local permits = require("caisson.policy.names").permits
  if not first then return permits(p.default) end
  return #first.args == 0 and permits(first.action)
end

-- Calls that the recipe has somebody answer: they come to him, and not to the tracer.
local function answered(options)
  local policy, list = require "caisson.policy", {}
  local known = core.seccomp.syscalls()
  for name in pairs(type(options.seccomp_notify) == "table" and options.seccomp_notify or {}) do
    if known[name] then list[#list + 1] = name end
  end
  local p = options.seccomp
  for name, clauses in pairs(policy.is(p) and policy.notifies(p) and p.calls or {}) do
    for _, c in ipairs(clauses) do if c.action == "notify" then list[#list + 1] = name end end
  end
  table.sort(list)
  return list
end

-- The recipe that the program is run by, and the options of the one that is learnt from. nil, message where that has a
-- tracer of its own.
---@param r caisson.Recipe
---@param opts? table
---@return caisson.Recipe? recipe, table|string options
function M.recipe(r, opts)
  local ok, options = pcall(r.merged, r, { params = opts and opts.params, default_args = { "PROGRAM" } })
  options = ok and options or {} -- what is wrong is said when it is built
  for _, k in ipairs { "trace", "ptrace" } do
    if options[k] then return nil, ("%s: a program has one tracer, and the recipe has one of its own"):format(k) end
  end
  local hot = not (opts and opts.trace_all) and may_map(options)
  local def = { extends = r, trace = { recorder = true, sites = hot } }
  if not options.cgroup then def.cgroup = { memory = { optional = true }, pids = { optional = true } } end
  return recipe.new(def), options
end

local function reads_landlock() return core.landlock.abi() ~= nil end

-- What a run's result holds of it. opts: extends (the recipe's name), params, args, options (the recipe's).
---@param result table
---@param opts table
---@return caisson.Learnt
function M.of(result, opts)
  local self = setmetatable({ needs = needs.of(result.learnt, result), extends = file_of(opts.extends),
    commands = { command_line(opts.extends, opts.params, opts.args) }, args = opts.args, params = {} }, Learnt)
  for k, v in pairs(opts.params or {}) do self.params[k] = v end
  self.types = opts.types or {}
  self.figures = result.learnt.figures
  local ns = opts.options and opts.options.namespaces or {}
  self.shares_network = not ns.net and next(ns) ~= nil
  local asked = answered(opts.options or {})
  for _, name in ipairs(asked) do
    self.needs.calls[name] = { [""] = true }
    self.blind = self.blind or name:find "^open" ~= nil or name == "creat" or name:find "^execve" ~= nil
  end
  if self.blind then table.insert(self.needs.notes, "and so the files are not in the policy") end
  if #asked > 0 then
    table.insert(self.needs.notes, ("the recipe has functions that answer %s: nothing of these was seen, and all is allowed")
      :format(table.concat(asked, ", ")))
  end
  if self.needs.elsewhere then
    self.blind = true
    table.insert(self.needs.notes, "a process had a mount namespace of its own: the files are not in the policy")
  end
  for _, name in ipairs { "mount", "umount2", "move_mount", "pivot_root", "fsmount", "mount_setattr", "open_tree_attr" } do
    if self.needs.calls[name] and not self.blind then
      self.blind = true
      table.insert(self.needs.notes, ("it calls %s, which Landlock forbids to all whose files it restricts: they are not "
        .. "in the policy"):format(name))
    end
  end
  if not reads_landlock() then
    table.insert(self.needs.notes, "this kernel has no Landlock, and so the files are not in the policy")
  end
  return self
end

---@class caisson.learn.Options: caisson.run.Options
---@field name? string  of the recipe, for what is written: its name or its file
---@field trace_all? boolean  each call is traced, and no place is led round (core.learn)

-- Run a recipe, and learn.
---@param r caisson.Recipe|string
---@param opts caisson.learn.Options
---@return caisson.Learnt? learnt, caisson.Result|string result, integer? errno, table? failure
function M.run(r, opts)
  local name = opts.name or type(r) == "string" and r or nil
  if type(r) == "string" then
    local found, why = recipe.load(r)
    if not found then return nil, why, 2 end
    r = found
  end
  name = name or r.file or r.name or "sandbox"
  local given = {}
  for k, v in pairs(opts) do if k ~= "name" and k ~= "trace_all" then given[k] = v end end
  local by, options = M.recipe(r, opts)
  if not by then return nil, options, core.errno.EINVAL end
  local result, message, errno, failure = run.run(by, given)
  if not result then return nil, message, errno, failure end
  if not result.learnt then return nil, result.trace_error or "nothing was learnt", core.errno.EPROTO end
  return M.of(result, { extends = name, params = given.params, args = given.args or options.args, options = options,
    types = M.types_of(r) }), result
end

-- The types of a recipe's parameters.
---@param r caisson.Recipe
---@return table<string, string>
function M.types_of(r)
  local types = {}
  for name, p in pairs(r:all_params()) do types[name] = type(p[1]) == "string" and p[1] or "string" end
  return types
end

-- What a file that was learnt before says.
---@param path string
---@return caisson.Learnt|nil learnt, string? message
function M.read(path)
  local n, message = require("caisson.learn.read").file(path)
  if not n then return nil, ("%s: %s"):format(path, message) end
  return setmetatable({ needs = n, extends = n.extends, commands = n.commands, params = {}, types = {},
    blind = n.blind }, Learnt)
end

-- What either of two needed.
function Learnt.__add(a, b)
  local self = setmetatable({ needs = needs.union(a.needs, b.needs), extends = b.extends, commands = {}, params = b.params,
    types = b.types, args = b.args, figures = b.figures }, Learnt)
  local seen = {}
  for _, of in ipairs { a, b } do
    for _, c in ipairs(of.commands) do
      if not seen[c] then self.commands[#self.commands + 1] = c end
      seen[c] = true
    end
  end
  self.shares_network, self.blind = b.shares_network, a.blind or b.blind
  return self
end

-- The list of calls and rules that policy.new takes.
---@return (string|table)[]
function Learnt:calls()
  local list = {}
  for _, name in ipairs(text.sorted(self.needs.calls)) do
    local keys = self.needs.calls[name]
    if keys[""] then
      list[#list + 1] = name
    else
      for _, key in ipairs(text.sorted(keys)) do list[#list + 1] = { name, args = rules.conditions(name, key) } end
    end
  end
  return list
end

-- Its system calls.
---@return caisson.Policy
function Learnt:policy() return require("caisson.policy").new(self:calls()) end

local function about(self)
  local program = (self.args or {})[1] or self.extends
  local landlock = reads_landlock() and text.landlock(self.needs) or nil
  if landlock and self.blind then landlock.execute, landlock.read, landlock.write, landlock.rules = nil, nil, nil, nil end
  return { extends = self.extends, commands = self.commands, params = self:recipe_params(),
    summary = ("%s, as it was learnt"):format(program:match "[^/]*$"),
    landlock = landlock,
    namespaces = self.shares_network and not self.needs.inet and { net = true } or nil }
end

-- Parameters that it was run with are the defaults of what is written.
---@return table<string, caisson.recipe.Param>
function Learnt:recipe_params()
  local t = {}
  for k, v in pairs(self.params) do
    local kind = self.types[k] or "string"
    v = tostring(v)
    if kind == "path" then v = core.realpath(v) or v end
    t[k] = { kind, v }
  end
  return t
end

-- The recipe, as text.
---@return string
function Learnt:text() return text.recipe(self.needs, about(self)) end

-- The parts of an OCI configuration, as JSON. nil, message where the policy can't be said so.
---@return string|nil json, string? message
function Learnt:oci() return require("caisson.learn.oci").json(self.needs, self:policy()) end

return M
