-- `make bench`: the library and the sandbox recipe, against the floor and bwrap. BENCH_ROUNDS (default 100) rounds.
--
--     luajit spec/bench/run.lua BUILD
package.path = "./spec/bench/?.lua;" .. package.path
local core = require "caisson.core"
local harness = require "harness"

local build = core.realpath(arg[1] or "build")
local bench = build .. "/bench"

local is_root = harness.is_root
local ask, command, compare, job, measure, ms = harness.ask, harness.command, harness.compare, harness.job, harness.measure,
  harness.ms
local server, write_file = harness.server, harness.write_file

-- Where an ordinary user's own caches are, as a login has it.
local runtime = bench .. "/runtime"
os.execute(("rm -rf %s && mkdir -m 700 %s"):format(runtime, runtime))
if is_root then os.execute("chown 65534:65534 " .. runtime) end

if not is_root then harness.runtime = runtime end

local root = bench .. "/root"
local floor = server { bench .. "/floor", root }
local small = server { "luajit", "spec/bench/server.lua", root }
local large = server { "luajit", "spec/bench/server.lua", root, "1024" }

-- ---- the sandbox recipe, and bwrap told to build the same ----

-- The recipe's own plan says what there is to build. Equal: namespaces (as a user with one for users, as
-- root without), every bind with ro, nosuid and nodev, links, files (bound from the disk), /proc with its
-- masked paths and (of themselves, in bwrap) its read-only ones, /dev, its devices and devpts, /dev/shm and /tmp with their sizes, host name,
-- session, loopback, environment, working directory, no_new_privs, no capabilities, the same filter.
-- bwrap alone: a pid 1 that reaps. The recipe alone: rlimits, and as root the change of uid, gid and groups.
local function bwrap_command(program, who)
  local built = assert(require("caisson").load("sandbox"):build { args = { program } })
  local filter
  local argv = { "bwrap", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup",
    "--hostname", "sandbox", "--new-session", "--die-with-parent", "--clearenv", "--cap-drop", "ALL" }
  local function add(...) for _, v in ipairs { ... } do argv[#argv + 1] = v end end
  if who == "user" then add "--unshare-user" end
  for _, s in built.plan:each() do
    local o = s.options
    if s.step == "mount.bind" then
      add("--ro-bind", o.source, o.target)
    elseif s.step == "symlink" and not o.at:find("^/dev") then
      add("--symlink", o.target, o.at)
    elseif s.step == "mount.proc" then
      add("--proc", o.target)
    elseif s.step == "mount.tmpfs" and o.target == "/dev" then
      add("--dev", "/dev")
    elseif s.step == "mount.tmpfs" then
      add("--perms", "1777", "--size", tostring(o.size), "--tmpfs", o.target)
    elseif s.step == "file" then
      add("--ro-bind", write_file(bench .. "/" .. o.path:gsub("/", "_"), o.data), o.path)
    elseif s.step == "mask" then
      local st = core.lstat(o.path)
      if st and st.type == "directory" then
        add("--perms", "0555", "--tmpfs", o.path, "--remount-ro", o.path)
      elseif st then
        add("--ro-bind", "/dev/null", o.path)
      end
    elseif s.step == "seccomp" then
      filter = write_file(bench .. "/seccomp.bpf", o.program)
    elseif s.step == "exec" then
      for _, e in ipairs(o.env) do
        local name, value = e:match("^(.-)=(.*)$")
        add("--setenv", name, value)
      end
    end
  end
  add("--remount-ro", "/", "--chdir", "/tmp", "--seccomp", "9", program)
  return "filtered\t" .. filter .. "\t" .. table.concat(argv, "\t")
end

local peaks = {}

-- ---- what is measured in each round ----

job(function() measure("floor own", floor, "own") end)
job(function() measure("small own", small, "own") end)
job(function() measure("large own", large, "own") end)
job(function() measure("floor sync", floor, "sync") end)
job(function() measure("small sync", small, "sync") end)
job(function() measure("floor bare", floor, "bare") end)
job(function() measure("small pool", small, "pool") end)
job(function() measure("policy memory", small, "policy memory") end)
job(function() measure("policy disk", small, "policy disk") end)
job(function() measure("policy compile", small, "policy compile") end)
compare("(a) spawn, 7 namespaces, pivot_root, proc, exec, wait / floor", "small own", "floor own", 1.2)
compare("(a) the same, id maps by the host at a sync / floor", "small sync", "floor sync", 1.2)
compare("(b) (a) from a 1 GB heap / from a small one", "large own", "small own", 1.1)
compare("(g) exec in a container of a pool / a bare vfork, exec and wait", "small pool", "floor bare", 1.3)
compare("(d) policy from memory, look up and load / compile and load", "policy memory", "policy compile", 0.2)
compare("(d) policy from disk, look up and load / compile and load", "policy disk", "policy compile", 0.2)

-- The same floor as an ordinary user, to start commands from.
local as_user = not is_root and floor or server({ "env", "XDG_RUNTIME_DIR=" .. runtime, bench .. "/floor", root },
  { { step = "clone", options = {} }, { step = "groups", options = { groups = {} } },
    { step = "gid", options = { gid = 65534 } }, { step = "uid", options = { uid = 65534 } } })

local function against_bwrap(who, starter)
  local ours, theirs = "caisson " .. who, "bwrap " .. who
  local run = command { build .. "/bin/caisson", "run", "sandbox", "--", "/bin/true" }
  local bwrap = bwrap_command("/bin/true", who)
  job(function() peaks[ours] = measure(ours, starter, run)[2] end)
  job(function() peaks[theirs] = measure(theirs, starter, bwrap)[2] end)
  compare("(c) caisson run sandbox / bwrap set up equally, as " .. who, ours, theirs, 1.0)
end

if harness.found "bwrap" then
  if is_root then against_bwrap("root", floor) end
  against_bwrap("user", as_user)
end

-- ---- run ----

harness.run()
harness.report()

local containers = tonumber(os.getenv("BENCH_CONTAINERS") or 1000)
if containers >= 40 then
  local function floor_now()
    local t = {}
    for i = 1, 20 do
      harness.pause()
      t[i] = ask(floor, "own")[1]
    end
    return harness.percentile(t, 0.5)
  end
  local floor_early = floor_now()
  local early, late, kib, fds = unpack(ask(small, "many " .. containers))
  local floor_late = floor_now()
  ask(small, "release")
  print(("%-62s %5.2f (aim 1.2)  %s / %s; the floor's, as many alive beside it: %.2f%s"):format(
    ("(e) start: the last 20 of %d live containers / the first 20"):format(containers), late / early, ms(late), ms(early),
    floor_late / floor_early, harness.verdict(late / early, 1.2)))
  print(("%-62s %5.0f KiB (PSS, the host's share with it), %.1f descriptors"):format("(e) each of them costs", kib, fds))
end

harness.report_peaks("(f) peak resident KiB of the command", peaks)
for _, s in ipairs { floor, small, large, as_user } do s.process:close() end
