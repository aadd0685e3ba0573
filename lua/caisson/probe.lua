-- Probing a recipe's container: a program of ours takes the place of its own, and what can be done from there is tried.
--
--   local report = caisson.probe.run("sandbox")
--   for _, f in ipairs(report.findings) do print(f.level, f.rule, f.evidence[1]) end
--
-- Nothing is written, and nothing of the host's is touched but what this process has put there for it (probe/bait.lua).
local core = require "caisson.core"
local rules = require "caisson.probe.rules"

local M = {}

---@class caisson.probe.Row
---@field key string
---@field value string
---@field level "danger"|"warning"|"note"|"ok"
---@field how "tried"|"read"|"policy"    tried: really done; read: asked of the kernel; policy: the filter's program was evaluated
---@field detail? string

---@class caisson.probe.Section
---@field key string
---@field title string
---@field rows caisson.probe.Row[]

---@class caisson.probe.Finding
---@field rule string
---@field level "danger"|"warning"|"note"
---@field title string
---@field why string
---@field fix string
---@field evidence string[]

---@class caisson.probe.Report
---@field recipe string
---@field params table<string, any>
---@field kernel string
---@field user string         who ran it
---@field sections caisson.probe.Section[]
---@field calls table[]       one for each system call
---@field findings caisson.probe.Finding[]
---@field rules table<string, string>  each rule's level: "ok" where it was not found, "unknown" where it could not be looked at
---@field untried string[]    what could not be tried, and why

local Probe = {}
Probe.__index = Probe

-- A rule is broken.
function Probe:found(name, level, evidence)
  local r = assert(rules.of(name), name)
  local f = self.by_rule[name]
  if not f then
    f = { rule = name, level = level, title = r.title, why = r.why, fix = r.fix, evidence = {} }
    self.by_rule[name] = f
    self.findings[#self.findings + 1] = f
  elseif rules.levels[level] > rules.levels[f.level] then
    f.level = level
  end
  for _, e in ipairs(f.evidence) do if e == evidence then return end end
  f.evidence[#f.evidence + 1] = evidence
end

-- A rule was looked at; not so where that takes a process, and none can be made.
function Probe:checked(name)
  if not (self.no_process and require("caisson.probe.reach").by_trial[name]) then self.looked[name] = true end
end

function Probe:untried(what, why) self.report.untried[#self.report.untried + 1] = what .. ": " .. why end

function Probe:section(key, title, rows) table.insert(self.report.sections, { key = key, title = title, rows = rows }) end

-- ---- sections ----

local function list_text(list) return #list > 0 and table.concat(list, " ") or "none" end

local function map_text(map)
  local parts = {}
  for i, m in ipairs(map) do parts[i] = ("%d:%d:%d"):format(m[1], m[2], m[3]) end
  return table.concat(parts, " ")
end

local function identity(p)
  local me, rows = p.identity, {}
  local function row(key, value, level, detail)
    rows[#rows + 1] = { key = key, value = value, level = level or "ok", how = "read", detail = detail }
  end
  local root = me.host_uid == 0
  row("user", ("%d:%d"):format(me.uid, me.gid), root and "warning" or "ok",
    me.host_uid and ("uid %d on the host"):format(me.host_uid) or "not mapped to any user of the host")
  if root then p:found("host-uid", "warning", "uid 0 of the host" .. (p.own.user and ", in a user namespace" or "")) end
  p:checked "host-uid"
  row("groups", #me.groups > 0 and table.concat(me.groups, " ") or "none")
  row("uid map", p.own.user and map_text(me.uid_map) or "the host's ids", "ok")
  row("no_new_privs", me.no_new_privs and "set" or "not set", me.no_new_privs and "ok" or "warning")
  if not me.no_new_privs then p:found("new-privileges", "warning", "no_new_privs is not set") end
  p:checked "new-privileges"
  row("securebits", list_text(me.securebits))
  row("security label", me.label or "none")
  row("landlock", p.landlock and "a ruleset" or "none")
  local n = #p.programs
  row("seccomp", n > 0 and ("%d filter%s"):format(n, n > 1 and "s" or "") or "none", n > 0 and "ok" or "warning")
  p:section("identity", "Identity", rows)
end

-- Is it as good as root on the host, where there is no user namespace between? Some are so by what else there is.
local as_root = { sys_admin = true, sys_module = true, sys_rawio = true, dac_read_search = true, bpf = true }

function as_root.sys_ptrace(p) return not p.own.pid end
function as_root.sys_boot(p) return not p.own.pid end
function as_root.net_admin(p) return not p.own.net end

-- Files of others can be written to, where there are any.
function as_root.dac_override(p)
  for _, m in ipairs(p.mounts) do
    if m.seen and m.host and not m.readonly and m.kind == "directory" and m.type ~= "devpts"
      and m.type ~= "mqueue" then return true end
  end
  return false
end

-- Disks can be made, where there is a place for them.
function as_root.mknod(p)
  for _, m in ipairs(p.mounts) do
    if m.seen and not m.flags.nodev and not m.readonly and m.kind == "directory" then return true end
  end
  return false
end

-- What no namespace has of its own.
local of_machine = { sys_time = true, audit_control = true, audit_read = true, syslog = true, block_suspend = true,
  mac_admin = true,
  mac_override = true, perfmon = true }

-- A set in words: of one that has nearly all, those that it lacks.
local function set_text(list, all)
  if #list < #all - 8 then return list_text(list) end
  local has, lacks = {}, {}
  for _, c in ipairs(list) do has[c] = true end
  for _, c in ipairs(all) do if not has[c] then lacks[#lacks + 1] = c end end
  return #lacks == 0 and ("all %d"):format(#list) or ("%d, all but %s"):format(#list, table.concat(lacks, " "))
end

local function capabilities(p)
  local rows, host = {}, not p.own.user
  for _, set in ipairs { "effective", "permitted", "inheritable", "bounding", "ambient" } do
    local list = p.caps[set]
    local bad = {}
    if set == "effective" or set == "permitted" then
      for _, c in ipairs(list) do
        local is = as_root[c]
        if is == true or is and is(p) then bad[#bad + 1] = c end
      end
    end
    local level = #list > 0 and set ~= "bounding" and (host and #bad > 0 and "danger" or "warning") or "ok"
    if set == "inheritable" or set == "ambient" then level = #list > 0 and "note" or "ok" end
    rows[#rows + 1] = { key = set, value = set_text(list, p.capability_names), level = level,
      how = "read", count = #list }
    if set == "effective" and host then
      local over = {}
      for _, c in ipairs(list) do if of_machine[c] then over[#over + 1] = c end end
      if #over > 0 then p:found("capability-machine", "warning", table.concat(over, " ")) end
    end
    if set == "effective" and #list > 0 then
      if host and #bad > 0 then
        p:found("capability-root", "danger", table.concat(bad, " "))
      end
      p:found("capabilities", "warning", "effective: " .. set_text(list, p.capability_names))
    end
  end
  if #p.caps.inheritable > 0 then p:found("inheritable-capabilities", "note", list_text(p.caps.inheritable)) end
  if #p.caps.ambient > 0 then p:found("ambient-capabilities", "note", list_text(p.caps.ambient)) end
  for _, name in ipairs { "capability-root", "capability-machine", "capabilities",
    "inheritable-capabilities", "ambient-capabilities" } do
    p:checked(name)
  end
  p:section("capabilities", "Capabilities", rows)
end

local function namespaces(p)
  local rows, shared = {}, {}
  for _, n in ipairs(p.namespaces) do
    local level = n.shared and (n.name == "time" and "ok" or n.name == "user" and p.identity.host_uid ~= 0 and "ok"
      or "note") or "ok"
    rows[#rows + 1] = { key = n.name, value = n.inode == nil and "unknown" or n.shared and "the host's" or "its own",
      level = level, how = "read", detail = n.inode and "inode " .. n.inode or nil }
    if level ~= "ok" then shared[#shared + 1] = n.name end
  end
  if #shared > 0 then p:found("shared-namespace", "note", list_text(shared)) end
  p:checked "shared-namespace"
  p:section("namespaces", "Namespaces", rows)
end

-- Of no use to what runs in a container.
local dangerous = { "init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load", "bpf", "mount",
  "umount2", "move_mount", "fsopen", "open_tree", "pivot_root", "setns", "swapon",
  "swapoff", "reboot", "settimeofday", "clock_settime", "acct", "quotactl", "open_by_handle_at", "userfaultfd", "add_key",
  "request_key", "keyctl", "perf_event_open", "io_uring_setup", "iopl", "ioperm", "lookup_dcookie", "vhangup",
    "chroot", "unshare" }

local function syscalls(p)
  local rows = require("caisson.probe.calls").all(p)
  p.report.calls = rows
  local by_name, counts, tried = {}, {}, 0
  for _, r in ipairs(rows) do
    by_name[r.name] = r
    local action = r.action == "errno" and r.errno or r.action
    counts[action] = (counts[action] or 0) + 1
    if r.how == "tried" then tried = tried + 1 end
  end
  local order, out = {}, {}
  for action in pairs(counts) do order[#order + 1] = action end
  table.sort(order, function(a, b) return counts[a] > counts[b] or counts[a] == counts[b] and a < b end)
  local words = { allow = "allowed", conditional = "by their arguments", kill_process = "kill the process",
    kill_thread = "kill the thread", trap = "raise SIGSYS", notify = "ask a handler", trace = "ask a tracer",
    log = "allowed and logged" }
  for _, action in ipairs(order) do
    local names = {}
    for _, r in ipairs(rows) do
      if (r.action == "errno" and r.errno or r.action) == action then names[#names + 1] = r.name end
    end
    local all = action == "allow" and #p.programs == 0
    out[#out + 1] = { key = words[action] or "answer " .. action, value = ("%d"):format(counts[action]), names = names,
      level = all and "warning" or "ok", how = "tried" }
  end
  local pass = {}
  for _, name in ipairs(dangerous) do
    local r = by_name[name]
    if r and (r.action == "allow" or r.action == "log") and r.kernel ~= "ENOSYS" then pass[#pass + 1] = name end
  end
  out[#out + 1] = { key = "of those that containers do not need",
    value = #pass > 0 and ("%d pass"):format(#pass) or "none pass", names = pass, how = "tried",
    level = #pass > 0 and "warning" or "ok" }
  out[#out + 1] = { key = "tried, not just evaluated", value = ("%d of %d"):format(tried, #rows), level = "ok",
    how = "tried" }
  if #p.programs == 0 then
    p:found("no-seccomp", "warning", "no filter is loaded")
  elseif #pass > 0 then
    p:found("dangerous-calls", "warning", table.concat(pass, " "))
  end
  local tracing = {}
  for _, name in ipairs { "ptrace", "process_vm_readv", "process_vm_writev" } do
    if by_name[name] and by_name[name].action == "allow" then tracing[#tracing + 1] = name end
  end
  if #tracing > 0 and #p.programs > 0 then p:found("trace-calls", "note", table.concat(tracing, " ")) end
  for _, name in ipairs { "no-seccomp", "dangerous-calls", "trace-calls" } do p:checked(name) end
  -- the other numbers that this machine takes calls by
  if p.machine == "x86_64" then
    local i386 = p.answers:decide(20, {}, core.seccomp.audit "x86")
    local x32 = p.answers:decide(0x40000000 + 39)
    for _, other in ipairs { { "of 32-bit programs (i386)", i386 }, { "of the x32 ABI", x32 } } do
      local passes = other[2] == "allow" or other[2] == "log"
      out[#out + 1] = { key = other[1], value = passes and "pass" or other[2]:gsub("_", " "), level = passes
        and "warning" or "ok",
        how = "policy" }
      if passes and #p.programs > 0 then p:found("foreign-calls", "warning", "calls " .. other[1] .. " pass") end
    end
  end
  p:checked "foreign-calls"
  p:section("syscalls", "System calls", out)
end

local function size_text(n)
  for _, unit in ipairs { { 2 ^ 30, "GiB" }, { 2 ^ 20, "MiB" }, { 2 ^ 10, "KiB" } } do
    if n >= unit[1] then return ("%.4g %s"):format(n / unit[1], unit[2]) end
  end
  return ("%d"):format(n)
end

local function limits(p)
  local rows, g = {}, p.group
  local function row(key, value, level, detail)
    rows[#rows + 1] = { key = key, value = value, level = level or "ok", how = "read", detail = detail }
  end
  local as = p.rlimits.as and p.rlimits.as.hard ~= "max"
  row("memory", g.memory and size_text(g.memory) or "not limited", not g.memory and "warning" or "ok", "cgroup")
  if not g.memory then
    p:found("no-memory-limit", as and "note" or "warning",
      as and "no cgroup limit (each process has RLIMIT_AS)" or "no cgroup limit")
  end
  row("processes", g.pids and ("%d"):format(g.pids) or "not limited", not g.pids and "warning" or "ok", "cgroup")
  if not g.pids then
    p:found("no-process-limit", "warning", "no cgroup limit")
  end
  p:checked "no-memory-limit"
  p:checked "no-process-limit"
  row("CPU", g.cpu and g.cpu .. " us" or "not limited", "ok", "cgroup")
  for _, name in ipairs { "nofile", "nproc", "fsize", "core", "as", "cpu", "stack", "memlock" } do
    local l = p.rlimits[name]
    if l then
      local soft, hard = tostring(l.soft), tostring(l.hard)
      row(name, soft == hard and soft or soft .. " of " .. hard, "ok", "rlimit")
    end
  end
  p:section("limits", "Limits", rows)
end

-- ---- the run ----

-- Steps that load filters, and those that are there for them alone; the prober loads them by itself, in its children.
local function take_filters(plan)
  local filters, kept = {}, {}
  for _, s in ipairs(plan.steps) do
    local of_notify = s.step == "courier" or s.step == "listener.send" or s.step == "send" and s.options.attend
      or s.step == "send" and s.key == "seccomp_listener"
    if s.step == "seccomp" then
      filters[#filters + 1] = s.options
    elseif not of_notify then
      kept[#kept + 1] = s
    end
  end
  plan.steps = kept
  return filters
end

-- The prober in the program's place.
local function put_prober(built)
  local plan = built.plan
  local filters = take_filters(plan)
  local exec = plan.steps[#plan.steps]
  local options = exec.options
  options.argv, options.fd, options.path = { "caisson-probe" }, "probe", nil
  local files = {}
  for i, slot in ipairs(options.files or { "stdin", "stdout", "stderr" }) do files[i <= 3 and i or i + 1] = slot end
  for i = 1, 3 do files[i] = files[i] or "-" end
  files[4] = "channel"
  options.files = files
  if built.notifier then
    built.notifier:close()
    built.notifier = nil
  end
  built.attendants = nil
  built.options.result, built.options.limits = nil, nil
  built:compile()
  return filters
end

local flag_values = { log = 2, spec_allow = 4 } -- of those that a copy of a filter may have

local function give_filters(session, filters)
  local programs = {}
  for i, f in ipairs(filters) do
    local flags = 0
    for _, word in ipairs(type(f.flags) == "table" and f.flags or { f.flags }) do
      flags = flags + (flag_values[word] or 0)
    end
    session:filter(f.program, flags)
    programs[i] = f.program
  end
  return programs
end

local function examine(p)
  local facts = require "caisson.probe.facts"
  local files, reach = require "caisson.probe.files", require "caisson.probe.reach"
  p.files, p.capability_names = files, facts.capabilities
  facts.namespaces(p)
  facts.process(p)
  facts.mounts(p)
  facts.rlimits(p)
  facts.cgroups(p)
  -- a process, and the filters in it
  local r = p.session:batch():go { filtered = true }
  if r.errno and r.errno ~= core.errno.ETIME then
    p.no_process = core.errno.name(r.errno) or tostring(r.errno)
    p:untried("what takes a process of its own behind the filters", ("there can't be one (%s); system calls are evaluated")
      :format(p.no_process))
  end
  identity(p)
  capabilities(p)
  syscalls(p)
  p:section("processes", "Kernel and processes", reach.processes(p))
  p:section("nested", "Nested namespaces", reach.nested(p))
  namespaces(p)
  p:section("mounts", "Mounts", files.mounts(p))
  p:section("exposure", "/proc and /sys", files.exposure(p))
  p:section("devices", "Devices", files.devices(p))
  p:section("files", "Sockets, secrets, setuid", files.others(p))
  p:section("network", "Network", reach.network(p))
  limits(p)
end

local function finish(p)
  local levels, report = rules.levels, p.report
  table.sort(p.findings, function(a, b)
    if a.level ~= b.level then return levels[a.level] > levels[b.level] end
    return rules.place(a.rule) < rules.place(b.rule)
  end)
  report.findings, report.rules = p.findings, {}
  for _, r in ipairs(rules) do
    local f = p.by_rule[r.name]
    report.rules[r.name] = f and f.level or p.looked[r.name] and "ok" or "unknown"
  end
end

---@class caisson.probe.Options
---@field params? table<string, any>
---@field env? table<string, string>
---@field name? string   what the report calls it
---@field mix? any        mix-ins that narrow it (caisson.policy.mix)
---@field cancel? integer|caisson.core.Fd  construction is given up when it becomes readable

-- Probe the container of a recipe (or of the one of that name or file).
---@param recipe caisson.Recipe|string
---@param opts? caisson.probe.Options
---@return caisson.probe.Report? report, string? message, integer? errno, table? failure
function M.run(recipe, opts)
  opts = opts or {}
  local run, session, machine = require "caisson.run", require "caisson.probe.session", require "caisson.machine"
  local name = opts.name or type(recipe) == "string" and recipe or "recipe"
  if type(recipe) == "string" then
    local message
    recipe, message = require("caisson.recipe").load(recipe)
    if not recipe then return nil, message, core.errno.ENOENT end
  end
  local report = { recipe = name, summary = recipe.summary, params = opts.params or {},
    kernel = "Linux " .. (machine.read("/proc/sys/kernel/osrelease") or "?"), user = ("uid %d"):format(core.identity().euid),
    time = os.date("%Y-%m-%d %H:%M"), sections = {}, calls = {}, findings = {}, rules = {}, untried = {} }
  local p = setmetatable({ report = report, findings = {}, by_rule = {}, looked = {} }, Probe)
  local program, message, errno = core.prober.program()
  if not program then return nil, message, errno end
  local slots
  slots, p.session = session.open()
  if not slots then
    program:close()
    return nil, p.session
  end
  slots.probe = program
  local filters
  local running, failure
  local how = { params = opts.params, env = opts.env, default_args = { "caisson-probe" }, slots = slots,
    cancel = opts.cancel, mix = opts.mix, without = { "trace", "ptrace" } }
  function how.alter(built)
    filters = put_prober(built)
    p.landlock = built.plan:find "landlock.restrict" ~= nil
    if not built.options.tty then how.stdin, how.stdout, how.stderr = "null", "null", "null" end
  end
  running, message, errno, failure = run.start(recipe, how)
  for _, fd in pairs(slots) do fd:close() end
  if not running then
    p.session:close()
    return nil, message, errno, failure
  end
  p.pid, p.machine = running:pid(), core.seccomp.architecture()
  local ok, err = xpcall(function()
    local why
    p.bait, why = require("caisson.probe.bait").new()
    if not p.bait then error({ gone = why }, 0) end
    p.programs = give_filters(p.session, filters)
    p.answers = require("caisson.policy.answers").of(p.programs)
    examine(p)
  end, function(e) return type(e) == "table" and e or debug.traceback(tostring(e), 2) end)
  if p.bait then p.bait:close() end
  p.session:close()
  if not ok then running:kill "KILL" end -- it may not come to its end by itself
  -- its program is at its end; hooks that clean up are run
  local ended, why = pcall(function()
    if running:wait() == nil then running:close() end
  end)
  if not ended then running:close() end
  if not ok then
    if type(err) == "table" and err.gone then return nil, "the probe has ended early: " .. err.gone, core.errno.ECHILD end
    error(err, 0)
  end
  if not ended then report.untried[#report.untried + 1] = "the end of the container: " .. tostring(why) end
  finish(p)
  return report
end

return M
