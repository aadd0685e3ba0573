-- System calls: what the filters make of each. They are made with arguments that the kernel refuses once the filter has
-- let them through, behind the filters and without them; where the two answers tell nothing, the program is evaluated.
local core = require "caisson.core"

local M = {}

-- Not even with impossible arguments: they end or block who makes them, or do their work whatever they are given.
local never = {}
for _, name in ipairs { "exit", "exit_group", "pause", "rt_sigreturn", "vfork", "vhangup",
  "sync" } do never[name] = true end

-- What is tried with other arguments than -1 six times, which would do something, or wait.
local arguments = {
  kill = { 0x7fffffff, 0 }, tkill = { 0x7fffffff, 0 }, tgkill = { 0x7fffffff, 0x7fffffff, 0 },
  msgget = { 0x7ffffffe, 0 }, shmget = { 0x7ffffffe, 0, 0 }, semget = { 0x7ffffffe, 0, 0 },
  init_module = { -1, 0, -1 }, umask = { 18 }, alarm = { 0 }, fork = {}, ptrace = { -1, 0x7fffffff, 0, 0 },
}
local impossible = { -1, -1, -1, -1, -1, -1 }

local SIGSYS = 31

-- Make each call of the list (with .nr, .args) in children, as many as it takes. put(entry, result, signal).
local function try_all(session, list, filtered, put)
  local from = 1
  while from <= #list do
    local b = session:batch()
    local to = math.min(from + 499, #list)
    for i = from, to do
      local a = list[i].args
      b:call(list[i].nr, a[1], a[2], a[3], a[4], a[5], a[6])
    end
    local r = b:go { child = true, filtered = filtered, wait = 2 }
    for i = 1, r.done do put(list[from + i - 1], r[i]) end
    if r.errno and r.errno ~= core.errno.ETIME then return end -- no process any more: the rest is evaluated
    from = from + r.done
    if from <= to then -- that one ended its maker, or is still at it
      put(list[from], nil, r.signal)
      from = from + 1
    end
  end
end

-- What the programs answer: "allow", "errno EPERM", ... Arguments may be negative. arch: AUDIT_ARCH_*; this machine's.
function M.decide(p, nr, args, arch)
  local list = {}
  for i, v in ipairs(args or {}) do
    if type(v) == "number" and v < 0 then v = ("0xffffffff%08x"):format(v + 4294967296) end
    list[i] = v
  end
  return p.answers:decide(nr, list, arch)
end

-- Such an answer as action and errno: "errno", "EPERM".
local function split(answer) return answer:match "^%S+", answer:match "^errno (%S+)" end

-- One call's row from the answers behind the filter and without it.
local function judge(p, e)
  local answers = p.answers:call(e.nr)
  local action, expected = split(e.answer)
  local row = { name = e.name, nr = e.nr, how = "policy" }
  if #answers > 1 then
    row.action, row.answers, row.text = "conditional", answers, p.answers:text(e.nr)
  else
    row.action, row.errno = split(answers[1].action)
  end
  local seen, plain = e.filtered, e.plain
  if seen == nil and e.signal == nil then return row end -- not tried
  if e.signal then
    if e.signal == SIGSYS and e.plain_signal ~= SIGSYS then
      row.how = "tried"
      if action:find "^kill" == nil and action ~= "trap" then row.action, row.odd = "kill_process", true end
    end
    return row
  end
  if plain == nil then return row end
  if plain < 0 then row.kernel = core.errno.name(-plain) end
  if seen ~= plain and seen < 0 then
    row.how = "tried"
    if action ~= "errno" or expected ~= core.errno.name(-seen) then
      row.action, row.errno, row.odd = "errno", core.errno.name(-seen), true
    end
  elseif action == "allow" or action == "log" then
    row.how = "tried" -- the kernel's own answer came through
  end
  return row
end

-- Rows of all calls that this machine has: { name, nr, action = "allow"|"log"|"errno"|"trap"|"kill_process"|"kill_thread"|
-- "notify"|"trace"|"conditional", errno, answers and text (of a conditional one: policy/answers.lua),
-- how = "tried"|"policy", kernel = the errno of the kernel's own }.
function M.all(p)
  local list = {}
  for name, nr in pairs(core.seccomp.syscalls()) do
    if nr >= 0 then list[#list + 1] = { name = name, nr = nr, args = arguments[name] or impossible } end
  end
  table.sort(list, function(a, b) return a.nr < b.nr end)
  local tried, plain = {}, {}
  for _, e in ipairs(list) do
    e.answer = M.decide(p, e.nr, e.args)
    local action = split(e.answer)
    -- whoever answers for a call is not to be bothered with one that nobody means
    if not never[e.name] then
      plain[#plain + 1] = e
      if action ~= "notify" and action ~= "trace" then tried[#tried + 1] = e end
    end
  end
  if not p.no_process then
    try_all(p.session, plain, false, function(e, result, signal) e.plain, e.plain_signal = result, signal end)
    try_all(p.session, tried, true, function(e, result, signal) e.filtered, e.signal = result, signal end)
  end
  local rows = {}
  for i, e in ipairs(list) do rows[i] = judge(p, e) end
  return rows
end

-- Does the call with these arguments come through the filters? And what they answer.
function M.passes(p, name, args)
  local nr = core.seccomp.number(name)
  if not nr or nr < 0 then return false end
  local answer = M.decide(p, nr, args)
  return answer == "allow" or answer == "log" or answer:find "^trace" ~= nil, answer
end

return M
