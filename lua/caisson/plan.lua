-- Plans as recipes and scripts see them: a list of steps that can be shown, edited, saved and compiled.
local core = require "caisson.core"
local json = require "caisson.json"

local concat, insert, remove = table.concat, table.insert, table.remove
local getinfo = debug.getinfo

local M = {}

---@class caisson.Step
---@field step string                 the primitive's name, such as "mount.bind"
---@field options table               its options, checked
---@field side? "child"|"parent"      who runs it; the primitive's own side by default
---@field optional? boolean           may fail: the result then says so
---@field phase? string               the part of the construction it belongs to
---@field at? string                  file:line that asked for it
---@field fn? function                of a "lua" step

local Step = {}
Step.__index = Step

-- Is it a step that plan.step made?
---@param v any
---@return boolean
function M.is_step(v)
  return getmetatable(v) == Step
end

local is_step = M.is_step

-- Where this library's own files are: "…/caisson/", or "caisson/" in the command's bytecode.
local mine = getinfo(1, "S").source:match("^(.*)plan%.lua$") or "=none"

-- file:line of the first caller outside this library. A recipe may lie in a folder of the same name.
local function caller()
  for level = 3, 12 do
    local info = getinfo(level, "Sl")
    if not info then break end
    local source = info.source
    if info.currentline > 0 and not (source:sub(1, #mine) == mine and source:find("^[%w_]+%.lua$", #mine + 1)) then
      local path = source:match("^@(.*)") or info.short_src
      path = path:sub(1, 1) == "/" and path:match("[^/]*/[^/]*$") or path:gsub("^%./", "")
      return path .. ":" .. info.currentline
    end
  end
end

-- No option is nested deeper than that: what is, is refused by core in its own words.
local deepest = 8

local function copy(t, depth)
  depth = depth or 0
  if type(t) ~= "table" or getmetatable(t) or depth > deepest then return t end
  local c = {}
  for k, v in pairs(t) do c[k] = copy(v, depth + 1) end
  return c
end

-- One step of a primitive. extra: side, optional, phase, at, origin. Raises where core would refuse it.
---@param name string
---@param options? any
---@param extra? { side?: string, optional?: boolean, phase?: string, at?: string, origin?: table }
---@return caisson.Step
function M.step(name, options, extra)
  local step = setmetatable({ step = name, options = options == nil and {} or copy(options) }, Step)
  for k, v in pairs(extra or {}) do step[k] = v end
  local ok, message = pcall(core.check, name, step.options)
  if not ok then error(message, step.origin and 0 or 3) end
  if not step.at and not step.origin then step.at = caller() end
  return step
end

-- The same, its options not looked at before the plan is compiled. Plan:fault() then tells which step it was.
---@param name string
---@param options any
---@param extra table
---@return caisson.Step
function M.unchecked(name, options, extra)
  local step = setmetatable(extra, Step)
  step.step, step.options = name, options == nil and {} or copy(options)
  return step
end

-- A step that calls fn(pid of the child, on the parent's side); on the child's side it runs in the
-- namespaces that the child has at that point. nil, message fails the step, and so does a raise.
---@param fn function
---@param extra? { name?: string, side?: string, optional?: boolean, phase?: string, at?: string, origin?: table }
---@return caisson.Step
function M.call(fn, extra)
  if type(fn) ~= "function" then error("a function expected, got " .. type(fn), 2) end
  extra = extra or {}
  local info = getinfo(fn, "S")
  local name = extra.name or (info.short_src:match("[^/]*$") .. ":" .. info.linedefined)
  local step = M.step("lua", { name = name }, { side = extra.side, phase = extra.phase, at = extra.at,
    origin = extra.origin, optional = extra.optional })
  step.fn = fn
  return step
end

-- plan.mount.bind {...}: names with dots become nested tables of constructors.
local constructors = {}

local function nest(t, key)
  local own = t[key]
  if type(own) ~= "table" then
    t[key] = setmetatable({}, own and { __call = function(_, ...) return own(...) end })
  end
  return t[key]
end

for name in pairs(core.primitives) do
  local t, last = constructors, name
  for part, rest in name:gmatch("([^.]+)%.(.*)") do t, last = nest(t, part), rest end
  local function construct(options, extra) return M.step(name, options, extra) end
  if type(t[last]) == "table" then
    setmetatable(t[last], { __call = function(_, ...) return construct(...) end })
  else
    t[last] = construct
  end
end
constructors.call = M.call

---@class caisson.Plan
---@field steps caisson.Step[]
---@field about? table|function  what saved.lua keeps beside the steps
local Plan = {}

function Plan.__index(_, key)
  local value = rawget(Plan, key)
  if value == nil then value = constructors[key] end
  if value == nil then
    error("neither a method of plans nor a step: '" .. tostring(key) .. "'", 2)
  end
  return value
end

-- A plan without steps.
---@return caisson.Plan
function M.new()
  return setmetatable({ steps = {} }, Plan)
end

-- Where a step is: "pivot_root", "mount.bind[2]", a number, or the step itself.
-- Returns its position, or nil.
---@param where string|integer|caisson.Step
---@return integer?
function Plan:find(where)
  if type(where) == "number" then return self.steps[where] and where end
  if is_step(where) then
    for i, s in ipairs(self.steps) do if s == where then return i end end
    return nil
  end
  if type(where) ~= "string" then error("the place of a step is a name, a number or a step", 2) end
  local name, nth = where:match("^(.-)%[(%d+)%]$")
  name, nth = name or where, tonumber(nth or 1)
  for i, s in ipairs(self.steps) do
    if s.step == name then
      nth = nth - 1
      if nth == 0 then return i end
    end
  end
end

local function place(self, where)
  local i = self:find(where)
  if not i then
    error("the plan has no step " .. (is_step(where) and where.step or tostring(where)), 3)
  end
  return i
end

local function to_step(v)
  if is_step(v) then return v end
  if type(v) == "function" then return M.call(v) end
  error("a step or a function expected, got " .. type(v), 4)
end

local function insert_at(self, i, ...)
  for k, v in ipairs { ... } do
    local step = to_step(v)
    step.phase = step.phase or (self.steps[i] or self.steps[i - 1] or {}).phase
    insert(self.steps, i + k - 1, step)
  end
  return self
end

-- Insert steps (or functions) before the step at `where`; returns the plan.
---@param where string|integer|caisson.Step
---@param ... caisson.Step|function
---@return caisson.Plan
function Plan:before(where, ...)
  return insert_at(self, place(self, where), ...)
end

-- Insert steps (or functions) after the step at `where`; returns the plan.
---@param where string|integer|caisson.Step
---@param ... caisson.Step|function
---@return caisson.Plan
function Plan:after(where, ...)
  return insert_at(self, place(self, where) + 1, ...)
end

-- Add steps (or functions) at the end; returns the plan.
---@param ... caisson.Step|function
---@return caisson.Plan
function Plan:add(...)
  return insert_at(self, #self.steps + 1, ...)
end

-- Take the step at `where` out; returns it.
---@param where string|integer|caisson.Step
---@return caisson.Step
function Plan:remove(where)
  return remove(self.steps, place(self, where))
end

-- Put a step in the place of the one at `where`; returns the old one.
---@param where string|integer|caisson.Step
---@param step caisson.Step|function
---@return caisson.Step old
function Plan:replace(where, step)
  local i = place(self, where)
  local old = self.steps[i]
  step = to_step(step)
  step.phase = step.phase or old.phase
  self.steps[i] = step
  return old
end

-- Move the step at `where` before the one at `target`; returns the plan.
---@param where string|integer|caisson.Step
---@param target string|integer|caisson.Step
---@return caisson.Plan
function Plan:move(where, target)
  local step = self.steps[place(self, where)]
  local to = self.steps[place(self, target)]
  remove(self.steps, self:find(step))
  insert(self.steps, self:find(to), step)
  return self
end

-- Each step with its position.
---@return fun(list: caisson.Step[], i: integer): integer?, caisson.Step?
---@return caisson.Step[]
---@return integer
function Plan:each()
  return ipairs(self.steps)
end

-- What must stand before what, and why. Patterns are Lua's; steps of the parent's side are not ordered
-- by them.
local mounting = { "^mount%.", "^root%.", "^mask$", "^readonly$", "^device$", "^mknod$" }
local order = {
  { { "^groups$" }, "^gid$", "after setgid the right to set groups may be gone" },
  { { "^groups$", "^gid$" }, "^uid$", "after setuid the right to set groups and gid is gone" },
  { { "^no_new_privs$" }, "^landlock%.restrict$", "a ruleset needs no_new_privs" },
  { { "^no_new_privs$" }, "^seccomp$", "a filter needs no_new_privs; without it, CAP_SYS_ADMIN" },
  { mounting, "^landlock%.restrict$", "a restricted process can't change mounts" },
  { { "^pivot_root$", "^root%.move$" }, "^landlock%.restrict$", "a restricted process can't change mounts" },
  { mounting, "^capabilities$", "it needs capabilities that are dropped there" },
  { mounting, "^uid$", "it needs capabilities that setuid drops" },
  { { "^pivot_root$", "^root%.move$" }, "^uid$", "it needs capabilities that setuid drops" },
  { { "^pivot_root$", "^root%.move$" }, "^chdir$", "the working directory is one of the new root" },
}

local function any(name, patterns)
  for _, p in ipairs(patterns) do if name:find(p) then return true end end
  return false
end

-- What the rules have to do with a step, by its name: the numbers of those that it is the later step of, and of those
-- that want it before. Names are few, and the same in each plan.
local concerns = setmetatable({}, { __index = function(t, name)
  local c = { later = {}, sooner = {} }
  for i, rule in ipairs(order) do
    if name:find(rule[2]) then
      c.later[#c.later + 1] = i
    elseif any(name, rule[1]) then
      c.sooner[#c.sooner + 1] = i
    end
  end
  t[name] = c
  return c
end })
for name in pairs(core.primitives) do local _ = concerns[name] end

-- A plan of its own with the same steps.
---@return caisson.Plan
function Plan:copy()
  local plan = M.new()
  plan.about = rawget(self, "about")
  for i, s in ipairs(self.steps) do
    local step = setmetatable({}, Step)
    for k, v in pairs(s) do step[k] = v end
    step.options = copy(s.options)
    plan.steps[i] = step
  end
  return plan
end

-- Is it a plan?
---@param v any
---@return boolean
function M.is(v)
  return getmetatable(v) == Plan
end

-- Each namespace is the container's from one place: made anew, or joined, and joined once. A mount namespace is left
-- for another by who takes the root along.
local function check_namespaces(steps)
  local from, leaves = {}, false
  for _, s in ipairs(steps) do leaves = leaves or s.step == "root.enter" end
  for i, s in ipairs(steps) do
    if s.step == "clone" or s.step == "namespace.join" or s.step == "namespace.unshare" then
      local list = type(s.options) ~= "table" and { s.options } or s.options.namespaces or s.options
      for _, n in ipairs(type(list) == "table" and list or { list }) do
        local other = from[n] and from[n].step == "clone" and (s.step == "namespace.unshare" or leaves and n == "mount")
        if from[n] and not other then
          return nil, ("step %d, %s, and step %d, %s, both say where the %s namespace is from"):format(from[n].number,
            from[n].step, i, s.step, tostring(n))
        end
        from[n] = { step = s.step, number = i }
      end
    end
  end
  return true
end

-- Check the rules of order. Returns true, or nil and a message that names both steps and why.
---@return true? ok, string? message
function Plan:check()
  local steps, later = self.steps, {}
  for i, s in ipairs(steps) do
    local side = s.side or core.primitives[s.step].side
    -- ids taken as part of the map give rights, they drop none
    if side == "child" and s.phase ~= "idmap" then
      local c = concerns[s.step]
      for _, rule in ipairs(c.sooner) do
        if later[rule] then
          return nil, ("step %d, %s, must stand before step %d, %s: %s"):format(i, s.step, later[rule],
            steps[later[rule]].step, order[rule][3])
        end
      end
      for _, rule in ipairs(c.later) do later[rule] = later[rule] or i end
    end
  end
  if steps[#steps] == nil or steps[#steps].step ~= "exec" then
    return nil, "the last step of a plan is exec"
  end
  return check_namespaces(steps)
end

-- The block that core runs, and the functions of its lua steps by name (nil where there are none).
---@return caisson.core.Plan compiled, table<string, function>? functions
function Plan:compile()
  local list, functions = {}, nil
  for i, s in ipairs(self.steps) do
    local options = s.options
    if s.fn then
      local name = options.name
      functions = functions or {}
      if functions[name] and functions[name] ~= s.fn then
        name = name .. "#" .. i
        options = { name = name }
      end
      functions[name] = s.fn
    end
    list[i] = { step = s.step, options = options, side = s.side, optional = s.optional }
  end
  return core.plan(list), functions
end

-- The first step that core refuses: its position and why; nil where there is none.
---@return integer? number, string? message
function Plan:fault()
  for i, s in ipairs(self.steps) do
    local ok, message = pcall(core.check, s.step, s.options)
    if not ok then return i, message end
  end
end

-- ---- showing ----

-- file:line that asked for a step; looked up in the recipe's source only when somebody asks.
---@param step caisson.Step
---@return string?
function M.at(step)
  if step.at then return step.at end
  local origin = step.origin
  return origin and origin.recipe:locate(origin.path) or nil
end

-- Rows for people: number, phase, side, step, object, at (file:line that asked for it).
---@return { number: integer, phase: string, side: string, step: string, object: string, at: string }[]
function Plan:rows()
  local rows = {}
  for i, s in ipairs(self:compile():steps()) do
    local own, object = self.steps[i], s.object
    if s.step == "seccomp" then -- its size says little
      local allowed, some, others = require("caisson.policy.answers").of({ s.options.program }):summary()
      object = ("%d calls allowed, %d by their arguments, else %s%s"):format(allowed, some, others,
        s.options.listener and " listener=" .. s.options.listener or "")
    end
    rows[i] = { number = i, phase = own.phase or "", side = s.side, step = s.step,
      object = object .. (s.optional and " (optional)" or ""), at = M.at(own) or "" }
  end
  return rows
end

-- The plan as an aligned table. c: the colours and the width of what it is written to (caisson.cli.color); without them it
-- is plain, and nothing of it is cut.
---@param c? caisson.Color
---@return string
function Plan:text(c)
  return require("caisson.plan.text").of(self:rows(), c)
end

-- The plan as JSON, keys in a fixed order: from_json(text):json() is text, byte for byte.
-- compiled: what compile() gave, where it is at hand.
---@param compiled? caisson.core.Plan  where it is compiled already
---@return string
function Plan:json(compiled)
  local out = {}
  for i, s in ipairs((compiled or self:compile()):steps(true)) do
    local own = self.steps[i]
    local at = M.at(own)
    out[i] = '  {"step":"' .. s.step .. '","side":"' .. s.side .. (s.optional and '","optional":true' or '"') ..
      (own.phase and ',"phase":' .. json.string(own.phase) or "") ..
      (at and ',"at":' .. json.string(at) or "") ..
      ',"options":' .. (next(s.options) == nil and "{}" or json.value(s.options)) .. "}"
  end
  local about = rawget(self, "about")
  if type(about) == "function" then about = about() end
  return '{"caisson":1,' .. (about and '"run":' .. json.document(about) .. "," or "") ..
    '"steps":[\n' .. concat(out, ",\n") .. "\n]}\n"
end

local step_keys = { step = true, options = true, side = true, optional = true, phase = true, at = true }

-- A plan from JSON. functions: those of its lua steps by name, since JSON holds only their names.
-- Returns the plan | nil, message.
---@param text string
---@param functions? table<string, function>
---@return caisson.Plan? plan, string? message
function M.from_json(text, functions)
  local doc, message = json.decode(text)
  if type(doc) ~= "table" then return nil, "not JSON: " .. tostring(message) end
  if doc.caisson ~= 1 or type(doc.steps) ~= "table" then return nil, "not a plan of caisson 1" end
  for k in pairs(doc) do
    if k ~= "caisson" and k ~= "steps" and k ~= "run" then
      return nil, ("not a plan of caisson 1: unknown key '%s'"):format(tostring(k))
    end
  end
  local plan = M.new()
  if doc.run ~= nil then
    local about
    about, message = require("caisson.saved").check(doc.run)
    if not about then return nil, message end
    plan.about = about
  end
  for i, s in ipairs(doc.steps) do
    if type(s) ~= "table" or type(s.step) ~= "string" or type(s.options) ~= "table" then
      return nil, ("step %d: step and options expected"):format(i)
    end
    for k in pairs(s) do
      if not step_keys[k] then return nil, ("step %d: unknown key '%s'"):format(i, tostring(k)) end
    end
    local ok, err = pcall(core.check, s.step, s.options)
    if not ok then return nil, ("step %d: %s"):format(i, (tostring(err))) end
    plan.steps[i] = setmetatable({ step = s.step, options = s.options, side = s.side,
      optional = s.optional or nil, phase = s.phase, at = s.at,
      fn = functions and s.step == "lua" and functions[s.options.name] or nil }, Step)
  end
  return plan
end

-- What is different between two plans: see caisson.plan.diff.
---@param a caisson.Plan
---@param b caisson.Plan
---@return caisson.plan.Diff
function M.diff(a, b)
  local d = require("caisson.plan.diff").of(a, b) -- no tail call: an error blames the caller
  return d
end

-- caisson.plan(r, opts): the plan of a recipe, or of the one of that name, file or bundle's directory.
-- opts: params, args, env. Returns it | nil, message.
setmetatable(M, { __call = function(_, r, opts)
  local recipe, message = require "caisson.recipe", nil
  if type(r) == "string" then r, message = recipe.load(r) end
  if r == nil then return nil, message end
  if not recipe.is(r) then error("a recipe or its name expected, got " .. type(r), 2) end
  local built
  built, message = r:build(opts)
  if not built then return nil, message end
  return built.plan
end })

return M
