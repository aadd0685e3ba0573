-- Programs of policies: built once for all of their input, and kept in this process and on disk.
local core = require "caisson.core"
local args = require "caisson.policy.args"
local names = require "caisson.policy.names"

local M = {}

local function resolve(p, action) return action == "deny" and p.deny or action end

-- The action of a clause as text.
function M.action_text(p, action) return names.text(resolve(p, action)) end

-- Rules for core.seccomp.compile: calls with the same clauses together, everything in a fixed order, and
-- the same as one text. calls: in the place of the policy's own.
function M.rules(p, calls)
  local groups, signatures = {}, {}
  for name, clauses in pairs(calls or p.calls) do
    local parts = {}
    for i, c in ipairs(clauses) do parts[i] = M.action_text(p, c.action) .. " " .. args.text(c.args) end
    local signature = table.concat(parts, "; ")
    if not groups[signature] then
      groups[signature] = { clauses = clauses, names = {} }
      signatures[#signatures + 1] = signature
    end
    table.insert(groups[signature].names, name)
  end
  table.sort(signatures)
  local rules, lines = {}, {}
  for i, signature in ipairs(signatures) do
    local group = groups[signature]
    table.sort(group.names)
    for _, c in ipairs(group.clauses) do
      local rule = { action = resolve(p, c.action), args = #c.args > 0 and c.args or nil }
      for k, name in ipairs(group.names) do rule[k] = name end
      rules[#rules + 1] = rule
    end
    lines[i] = signature .. ": " .. table.concat(group.names, " ")
  end
  return rules, table.concat(lines, "\n")
end

local format = "caisson seccomp program 1"

-- Everything that a program depends on, as text. Where a policy knows what its calls were made from, that
-- stands for them, and the rules need not be there; else they are given back too.
local function input_of(p)
  local rules, text = nil, p.made_from
  if not text then rules, text = M.rules(p) end
  return table.concat({ format, core.seccomp.version(), core.seccomp.architecture(),
    table.concat(p.architectures or {}, " "), names.text(p.default), names.text(p.bad_architecture),
    tostring(p.newest), table.concat(p.flags, " "), p.listener or "", text }, "\n"), rules
end

-- Where programs are kept between processes: nil for nowhere.
---@return string?
function M.cache_directory()
  local runtime = os.getenv("XDG_RUNTIME_DIR")
  -- no id of a container has that sign
  if core.identity().euid == 0 then return "/run/caisson/@seccomp" end
  if runtime and runtime:sub(1, 1) == "/" then return runtime .. "/caisson/@seccomp" end
end

local memory, remembered = {}, 0

local function remember(input, bytes)
  if remembered >= 64 then memory, remembered = {}, 0 end
  memory[input], remembered = bytes, remembered + 1
end

-- Forget the programs kept in this process (those on disk stay).
function M.forget()
  memory, remembered = {}, 0
end

local newest_known

-- The newest call that libseccomp has a name for.
local function newest()
  if not newest_known then
    local best = -1
    for name, nr in pairs(core.seccomp.syscalls()) do
      if nr > best then best, newest_known = nr, name end
    end
  end
  return newest_known
end

local function compile(p, rules)
  return core.seccomp.compile { default = p.default, rules = rules or M.rules(p), architectures = p.architectures,
    bad_architecture = p.bad_architecture, newest = p.newest == "known" and newest() or p.newest, skip_unknown = true }
end

-- The program of a policy's fields. cache: false builds it anew, a directory keeps it there.
function M.get(p, cache)
  local input, rules = input_of(p)
  if cache == false then
    local program, message, errno = compile(p, rules)
    if not program then return nil, message, errno end
    return program
  end
  if memory[input] then return memory[input] end
  local directory = type(cache) == "string" and cache or M.cache_directory()
  local program = directory and core.cache.get(directory, input)
  if not program then
    local message, errno
    program, message, errno = compile(p, rules)
    if not program then return nil, message, errno end
    -- that it can't be kept is no failure: the next process builds it again
    if directory then core.cache.put(directory, input, program) end
  end
  remember(input, program)
  return program
end

return M
