-- Two filters as one: what a process gets that both are loaded for.
--
-- The kernel asks every filter and takes the strictest answer. So does the product of two policies: its clauses are
-- the pairs of theirs. Where both answers are as strict (two errnos) what a clause says counts before a default, so that
-- the ENOSYS that sends a libc to an older call is not lost to somebody's EPERM.
local core = require "caisson.core"
local args = require "caisson.policy.args"
local names = require "caisson.policy.names"

local M = {}

local strictness = { kill_process = 1, kill_thread = 2, trap = 3, errno = 4, notify = 5, trace = 6, log = 7, allow = 8 }

local function rank(action) return strictness[type(action) == "table" and action[1] or action] end

-- How strict an action is: the less, the more so.
M.rank = rank

-- The stricter of two actions; the first of two that are as strict.
function M.stricter(a, b)
  if rank(b) < rank(a) then return b end
  return a
end

local function same(a, b) return names.text(a) == names.text(b) end

-- A call's clauses with their actions resolved, and behind them the one that is always true.
local function clauses_of(p, name)
  local list = {}
  for i, c in ipairs(p.calls[name] or {}) do
    list[i] = { action = c.action == "deny" and p.deny or c.action, args = c.args, from = c.from }
    if #c.args == 0 then return list end
  end
  list[#list + 1] = { action = p.default, args = {}, default = true, from = p.gone and p.gone[name] or p.from }
  return list
end

-- The action of both, and where it is from. Of two that say the same it is from the one that says more: no default, with a
-- condition, and else the second, which narrows the first.
local function pair(a, b)
  if rank(a.action) ~= rank(b.action) then
    if rank(b.action) < rank(a.action) then a = b end
    return a.action, a.from
  end
  local said = a.default and not b.default and b or a
  if a.default ~= b.default then return said.action, said.from end
  return said.action, (#a.args > 0 and #b.args == 0 and a or b).from
end

-- Do all clauses but the last say the same? Then they have no order.
local function one_action(list)
  for i = 2, #list - 1 do
    if not same(list[i].action, list[1].action) then return false end
  end
  return true
end

local function conditions(list)
  local out = {}
  for i = 1, #list - 1 do out[i] = list[i].args end
  return out
end

-- Two lists of clauses that have no order, where only what both say matters: one intersection.
local function simple(a, b)
  if #a < 2 or #b < 2 or not (one_action(a) and one_action(b)) then return nil end
  local rest, from = pair(a[#a], b[#b])
  local one, other = pair(a[1], b[#b]), pair(a[#a], b[1])
  -- which of two defaults' errnos it is makes no difference that is worth a rule
  local defaults = a[#a].default and b[#b].default and rank(one) == rank(rest) and rank(other) == rank(rest)
  if not defaults and not (same(one, rest) and same(other, rest)) then return nil end
  local common = args.intersect(conditions(a), conditions(b))
  if not common then return nil end
  local out = {}
  local action, of = pair(a[1], b[1])
  for i, c in ipairs(common) do out[i] = { action = action, args = c, from = of } end
  out[#out + 1] = { action = rest, args = {}, from = from }
  return out
end

-- The clauses of one call for both; or nil, message.
local function product(a, b)
  local out = simple(a, b)
  if out then return out end
  out = {}
  for _, x in ipairs(a) do
    for _, y in ipairs(b) do
      local common, message = args.intersect({ x.args }, { y.args })
      if not common then return nil, message end
      local action, from = pair(x, y)
      for _, c in ipairs(common) do out[#out + 1] = { action = action, args = c, from = from } end
    end
  end
  return out
end

-- What needs not be said: clauses behind one that is always true, and those at the end that say what the default says.
-- Second, where the first of those was from: the default then speaks for it.
local function trimmed(list, default)
  local out, from = {}, nil
  for _, c in ipairs(list) do
    out[#out + 1] = c
    if #c.args == 0 then break end
  end
  while #out > 0 and same(out[#out].action, default) do
    from = out[#out].from or from
    out[#out] = nil
  end
  return #out > 0 and out or nil, from
end

local function list_text(v) return v and table.concat(v, " ") or "" end

-- The machines whose calls both know. What one does not know must get the strictest answer from it; or nil, message.
local function machines(a, b)
  local own = { core.seccomp.architecture() }
  local x, y, common = a.architectures or own, b.architectures or own, {}
  for _, m in ipairs(x) do
    for _, n in ipairs(y) do if m == n then common[#common + 1] = m end end
  end
  local differ = #common < #x or #common < #y
  if differ and (#common == 0 or a.bad_architecture ~= "kill_process" or b.bad_architecture ~= "kill_process") then
    return nil, "their architectures differ"
  end
  if #common == 1 and common[1] == own[1] then return {} end
  return { list = common }
end

-- The number of the newest call that a policy knows on this machine, and its name.
local function newest_of(p)
  if p.newest == false then return math.huge, false end
  if type(p.newest) == "string" and p.newest ~= "known" then return core.seccomp.number(p.newest) or -1, p.newest end
  local best, newest = -1, nil
  for name in pairs(p.newest == true and p.calls or core.seccomp.syscalls()) do
    local nr = core.seccomp.number(name)
    if nr and nr > best then best, newest = nr, name end
  end
  return best, newest
end

local errno_rank = 4

-- The newest call that both know: above it one of them says ENOSYS, and the other may say nothing that is stricter.
local function common_newest(a, b, only_this_machine)
  if a.newest == b.newest and a.newest ~= true then return a.newest end
  if not only_this_machine then return nil end
  local x, first = newest_of(a)
  local y, second = newest_of(b)
  local least, name, other = x, first, b
  if y < x then least, name, other = y, second, a end
  if not name or rank(other.default) < errno_rank then return nil end
  for call, clauses in pairs(other.calls) do
    if (core.seccomp.number(call) or -1) > least then
      for _, c in ipairs(clauses) do
        if rank(c.action == "deny" and other.deny or c.action) < errno_rank then return nil end
      end
    end
  end
  return name
end

-- The fields of the policy that is both; or nil, message where there is none, and two filters must be loaded.
function M.of(a, b)
  local known, why = machines(a, b)
  if not known then return nil, why end
  local newest = common_newest(a, b, known.list == nil)
  if newest == nil then return nil, "their newest calls differ" end
  if list_text(a.flags) ~= list_text(b.flags) then return nil, "their flags differ" end
  if a.listener and b.listener and a.listener ~= b.listener then return nil, "each has a listener of its own" end
  local both = { default = M.stricter(b.default, a.default), deny = M.stricter(b.deny, a.deny), newest = newest,
    bad_architecture = M.stricter(b.bad_architecture, a.bad_architecture), architectures = known.list,
    flags = a.flags, listener = a.listener or b.listener, calls = {}, gone = {} }
  both.from = rank(a.default) < rank(b.default) and a.from or b.from
  local calls = {}
  for _, p in ipairs { a, b } do
    for name in pairs(p.calls) do calls[name] = true end
  end
  for name in pairs(calls) do
    local list, message = product(clauses_of(a, name), clauses_of(b, name))
    if not list then return nil, ("%s: %s"):format(name, message) end
    both.calls[name], both.gone[name] = trimmed(list, both.default)
  end
  return both
end

return M
