-- The words of policies: names of system calls and groups, and actions.
local core = require "caisson.core"
local groups = require "caisson.policy.groups"
local words = require "caisson.words"

local M = {}

-- ---- names ----

local known -- every name in a group

local function known_names()
  if not known then
    known = {}
    for _, text in pairs(groups) do
      for name in text:gmatch("%S+") do known[name] = true end
    end
  end
  return known
end

local function unknown(what, word)
  local list = {}
  for name in pairs(word:sub(1, 1) == "@" and groups or known_names()) do list[#list + 1] = name end
  table.sort(list)
  local text = words.unknown(what, word, list)
  if #text > 400 then return ("%s '%s'"):format(what, word) end
  return text
end

-- Put a name, or the names of a group, into a set; raises on one that is not known.
function M.expand(name, into, level)
  if type(name) ~= "string" then
    error("the name of a system call or a group expected, got " .. type(name), level + 1)
  end
  if name:sub(1, 1) == "@" then
    if not groups[name] then error(unknown("unknown group", name), level + 1) end
    for n in groups[name]:gmatch("%S+") do M.expand(n, into, level + 1) end
  else
    if not known_names()[name] and (name:find("%z") or not core.seccomp.known(name)) then
      error(unknown("unknown system call", name), level + 1)
    end
    into[name] = true
  end
  return into
end

-- The group that a call is best known by: the smallest that holds it; nil where none does.
function M.group_of(name)
  local best, size
  for group in pairs(groups) do
    if group ~= "@known" and group ~= "@obsolete" and group ~= "@default" then
      local n, found = 0, false
      for member in pairs(M.expand(group, {}, 1)) do
        n, found = n + 1, found or member == name
      end
      if found and (not best or n < size or n == size and group < best) then best, size = group, n end
    end
  end
  return best
end

-- ---- capabilities ----

-- A list of capabilities checked, "all" as what it stands for, "CAP_CHOWN" as "chown".
function M.capabilities(list, level)
  local words_of, set, out = {}, {}, {}
  if type(list) == "string" then list = { list } end
  if type(list) ~= "table" then error("option 'capabilities': a list of words expected, got " .. type(list), level + 1) end
  for _, w in ipairs(core.primitives.capabilities.fields[1].words) do words_of[w] = true end
  for _, c in ipairs(list) do
    if type(c) ~= "string" then error("option 'capabilities': a word expected, got " .. type(c), level + 1) end
    c = c:lower():gsub("^cap_", "")
    if not words_of[c] then
      local all = {}
      for w in pairs(words_of) do all[#all + 1] = w end
      table.sort(all)
      error(words.unknown("policy: unknown capability", c, all), level + 1)
    end
    set[c] = true
    if c == "all" then for w in pairs(words_of) do set[w] = true end end
  end
  set.all = nil
  for c in pairs(set) do out[#out + 1] = c end
  table.sort(out)
  return out
end

-- ---- actions ----

local plain = { allow = true, log = true, kill_process = true, kill_thread = true, trap = true, notify = true }

-- An action in its one form: a word, or { "errno"|"trace", number }.
function M.action(action, level)
  if type(action) == "string" then
    if plain[action] then return action end
    if action == "errno" then return { "errno", core.errno.EPERM } end
    if type(rawget(core.errno, action)) == "number" then return { "errno", core.errno[action] } end
    error(words.unknown("unknown action", action,
      { "allow", "log", "kill_process", "kill_thread", "trap", "notify", "errno" }), level + 1)
  end
  if type(action) == "table" and #action == 2 then
    local kind, v = action[1], action[2]
    if kind == "errno" and type(v) == "string" then v = rawget(core.errno, v) end
    local max = kind == "errno" and 4094 or 65535
    if (kind == "errno" or kind == "trace") and type(v) == "number" and v >= 0 and v <= max and v % 1 == 0 then
      return { kind, math.floor(v) }
    end
  end
  error("an action such as 'allow', 'kill_process', 'ENOSYS', {\"errno\", 38} or {\"trace\", 1} expected", level + 1)
end

function M.text(a)
  if type(a) == "string" then return a end
  return ("%s(%d)"):format(a[1], a[2])
end

-- Does the call happen?
function M.permits(action) return action == "allow" or action == "log" end

return M
