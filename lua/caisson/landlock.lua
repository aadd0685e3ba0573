-- Landlock as a recipe says it, turned into steps:
--
--   landlock = {
--     read = { "/usr", "/etc", "/dev/null" },   -- read files, list directories
--     execute = { "/usr" },                     -- and execute
--     write = { "/work", { path = "/scratch", optional = true } },   -- and change in every way
--     connect = { 443 }, bind = {},             -- TCP ports; an empty list: none
--     scope = { "signal", "abstract_unix_socket" },   -- not to processes outside
--   }
--
-- Where read, write, execute or rules is given, every right on files that Caisson knows is denied but
-- for these paths. A kernel that lacks one of them is an error, unless option best_effort names the right
-- (or is true for all): then it is left out, and the result says so. Paths are looked up inside the
-- container, after its root is complete.
local core = require "caisson.core"
local words = require "caisson.words"

local M = {}

local rights = core.landlock.rights()

local function sorted(t)
  local list = {}
  for k in pairs(t) do list[#list + 1] = k end
  table.sort(list)
  return list
end

local read = { "read_file", "read_dir" }
local execute = { "execute", "read_file", "read_dir" }
local write = {}
for _, w in ipairs(sorted(rights.fs)) do
  if w ~= "execute" and w ~= "make_char" and w ~= "make_block" then write[#write + 1] = w end
end
local access_of = { read = read, execute = execute, write = write }

local keys = { "read", "write", "execute", "rules", "connect", "bind", "scope", "handled", "best_effort" }

---@class caisson.landlock.Spec
---@field read? (string|caisson.landlock.Path)[]      paths to read
---@field execute? (string|caisson.landlock.Path)[]   paths to execute and read
---@field write? (string|caisson.landlock.Path)[]     paths to read and change
---@field rules? caisson.landlock.Path[]              paths with rights of their own (access)
---@field connect? integer[]    TCP ports to connect to; given, all others are denied
---@field bind? integer[]       TCP ports to bind to; given, all others are denied
---@field scope? string[]       "signal", "abstract_unix_socket"
---@field handled? (string|integer)[]  rights on files that are denied unless allowed; all where it is not given
---@field best_effort? boolean|string[]  rights that the kernel may lack

---@class caisson.landlock.Path
---@field path string
---@field access? (string|integer)[]   words or bits, for rules
---@field optional? boolean            the path may be missing

local function fail(text, ...)
  error({ landlock = text:format(...) }, 0)
end

local function list_of(spec, key)
  local v = spec[key]
  if v == nil then return nil end
  if type(v) ~= "table" then fail("%s: a list expected, got %s", key, type(v)) end
  local n = 0
  for _ in pairs(v) do n = n + 1 end
  if n ~= #v then fail("%s: a list without holes or names expected", key) end
  return v
end

local function check_rights(list, kind, key)
  for _, w in ipairs(list) do
    if type(w) ~= "number" and not (type(w) == "string" and rights[kind][w]) then
      fail("%s", words.unknown(key .. ": unknown right", tostring(w), sorted(rights[kind])))
    end
  end
  return list
end

-- Which of the rights the kernel lacks may be left out, and which it has.
local function available(list, kind, abi, best_effort, left_out)
  local have = {}
  for _, w in ipairs(list) do
    local may_lack = best_effort == true or type(best_effort) == "table" and best_effort[w]
    if type(w) == "string" and rights[kind][w] > abi and may_lack then
      left_out[w] = true
    else
      have[#have + 1] = w
    end
  end
  return have
end

local function check_best_effort(spec)
  local v = spec.best_effort
  if v == nil or type(v) == "boolean" then return v or false end
  local set = {}
  for _, w in ipairs(list_of(spec, "best_effort")) do
    if not (rights.fs[w] or rights.net[w] or rights.scope[w]) then
      local all = {}
      for _, kind in pairs(rights) do for name in pairs(kind) do all[name] = true end end
      fail("%s", words.unknown("best_effort: unknown right", tostring(w), sorted(all)))
    end
    set[w] = true
  end
  return set
end

local path_keys = { "path", "access", "optional" }

-- The entries of a list of paths as { path, access, optional }.
local function path_rules(spec, key, rules)
  for i, entry in ipairs(list_of(spec, key) or {}) do
    if type(entry) == "string" then entry = { path = entry } end
    if type(entry) ~= "table" then fail("%s[%d]: a path expected, got %s", key, i, type(entry)) end
    for k in pairs(entry) do
      if k ~= "path" and k ~= "access" and k ~= "optional" then
        fail("%s", words.unknown(("%s[%d]: unknown option"):format(key, i), tostring(k), path_keys))
      end
    end
    if type(entry.path) ~= "string" or entry.path == "" then fail("%s[%d]: a path expected", key, i) end
    if entry.optional ~= nil and type(entry.optional) ~= "boolean" then
      fail("%s[%d].optional: true or false expected", key, i)
    end
    if (key == "rules") ~= (entry.access ~= nil) then
      fail(key == "rules" and "%s[%d]: option 'access' is missing" or "%s[%d]: option 'access' is for rules", key, i)
    end
    local access = access_of[key] or check_rights(list_of(entry, "access"), "fs", ("%s[%d].access"):format(key, i))
    rules[#rules + 1] = { path = entry.path, access = access, optional = entry.optional, explicit = key == "rules" }
  end
  return spec[key] ~= nil
end

local function contains(list, w)
  for _, v in ipairs(list) do if v == w then return true end end
  return false
end

-- Rights of a rule must be handled by the ruleset; what "read" and the like mean follows what is handled.
local function within(rule, handled)
  if rule.explicit then return rule.access end
  local access = {}
  for _, w in ipairs(rule.access) do
    if contains(handled, w) then access[#access + 1] = w end
  end
  return access
end

local function compile(spec, slot)
  if type(spec) ~= "table" then fail("table expected, got %s", type(spec)) end
  for k in pairs(spec) do
    if not contains(keys, k) then fail("%s", words.unknown("unknown option", tostring(k), keys)) end
  end
  local best_effort, left_out = check_best_effort(spec), {}
  local abi = core.landlock.abi() or 0
  local rules, fs, net = {}, nil, {}
  local files = path_rules(spec, "read", rules)
  files = path_rules(spec, "execute", rules) or files
  files = path_rules(spec, "write", rules) or files
  files = path_rules(spec, "rules", rules) or files
  if spec.handled then
    fs = check_rights(list_of(spec, "handled"), "fs", "handled")
  elseif files then
    fs = sorted(rights.fs)
  end
  for _, key in ipairs { "bind", "connect" } do
    for i, port in ipairs(list_of(spec, key) or {}) do
      if type(port) ~= "number" or port < 0 or port > 65535 or port % 1 ~= 0 then
        fail("%s[%d]: a port is a whole number to 65535, got %s", key, i, tostring(port))
      end
    end
    if spec[key] then net[#net + 1] = key .. "_tcp" end
  end
  local scope = check_rights(list_of(spec, "scope") or {}, "scope", "scope")
  fs = available(fs or {}, "fs", abi, best_effort, left_out)
  net = available(net, "net", abi, best_effort, left_out)
  scope = available(scope, "scope", abi, best_effort, left_out)
  local steps = {}
  local function step(name, options, optional)
    steps[#steps + 1] = { step = name, options = options, optional = optional }
  end
  if #fs + #net + #scope == 0 then
    if next(left_out) == nil then fail("nothing is restricted") end
    return steps, sorted(left_out)
  end
  step("landlock.ruleset", { fs = #fs > 0 and fs or nil, net = #net > 0 and net or nil,
    scope = #scope > 0 and scope or nil, ruleset = slot })
  for _, r in ipairs(rules) do
    local access = within(r, fs)
    if r.explicit then access = available(access, "fs", abi, best_effort, left_out) end
    if #access > 0 then
      step("landlock.path", { path = r.path, access = access, ruleset = slot }, r.optional)
    end
  end
  for _, key in ipairs { "bind", "connect" } do
    if contains(net, key .. "_tcp") then
      for _, port in ipairs(spec[key]) do
        step("landlock.port", { port = port, access = { key .. "_tcp" }, ruleset = slot })
      end
    end
  end
  step("landlock.restrict", { ruleset = slot })
  return steps, sorted(left_out)
end

-- Several, one behind the other: each must allow. The first has the slot "landlock".
local function compile_all(spec)
  if type(spec) ~= "table" or #spec == 0 then return compile(spec, "landlock") end
  local steps, left_out = {}, {}
  for i, s in ipairs(spec) do
    local ok, list, left = pcall(compile, s, i == 1 and "landlock" or "landlock." .. i)
    if not ok then
      if type(list) ~= "table" then error(list, 0) end
      fail("[%d]: %s", i, list.landlock)
    end
    for _, step in ipairs(list) do
      step.ruleset = i
      steps[#steps + 1] = step
    end
    for _, w in ipairs(left) do left_out[w] = true end
  end
  for k in pairs(spec) do
    if type(k) ~= "number" then fail("%s", words.unknown("unknown option of a list of rulesets", tostring(k), keys)) end
  end
  return steps, sorted(left_out)
end

-- The steps of a recipe's landlock table (or of a list of such, each of which must allow), and the rights that were
-- left out because this kernel lacks them; or nil and a message that begins with the option.
---@param spec caisson.landlock.Spec|caisson.landlock.Spec[]
---@return { step: string, options: table, optional?: boolean, ruleset?: integer }[]|nil, string[]|string
function M.compile(spec)
  local ok, steps, left_out = pcall(compile_all, spec)
  if ok then return steps, left_out end
  if type(steps) == "table" then return nil, steps.landlock end
  error(steps, 0)
end

-- The same; raises on what it does not understand.
---@param spec caisson.landlock.Spec
---@return table[] steps, string[]? left_out
function M.steps(spec)
  local steps, left_out = M.compile(spec)
  if not steps then error("landlock: " .. left_out, 2) end
  return steps, left_out
end

-- The version of Landlock that this kernel has: nil, message, errno where there is none.
M.abi = core.landlock.abi

return M
