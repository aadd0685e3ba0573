-- `make bench`: one table of ratios. All that is compared is measured in one interleaved run, each next to
-- what it is compared with, with a pause before every single run. BENCH_ROUNDS (default 100) rounds.
--
--     luajit spec/bench/run.lua BUILD
local core = require "caisson.core"

local build = core.realpath(arg[1] or "build")
local bench = build .. "/bench"
local rounds = tonumber(os.getenv("BENCH_ROUNDS") or 100)
local pause = 0.02

local is_root = core.identity().euid == 0

-- Where an ordinary user's own caches are, as a login has it.
local runtime = bench .. "/runtime"
os.execute(("rm -rf %s && mkdir -m 700 %s"):format(runtime, runtime))
if is_root then os.execute("chown 65534:65534 " .. runtime) end

-- ---- processes that are measured ----

-- steps: what comes before its exec
local function server(argv, steps)
  local in_r, in_w = assert(core.pipe())
  local out_r, out_w = assert(core.pipe())
  local env = { "LUA_PATH=" .. package.path, "LUA_CPATH=" .. package.cpath }
  for _, name in ipairs { "PATH", "HOME", "LC_ALL" } do
    if os.getenv(name) then env[#env + 1] = name .. "=" .. os.getenv(name) end
  end
  if not is_root then env[#env + 1] = "XDG_RUNTIME_DIR=" .. runtime end
  local list = steps or { { step = "clone", options = {} } }
  list[#list + 1] = { step = "exec", options = { argv = argv, env = env, files = { "stdin", "stdout", "stderr" } } }
  local process = assert(core.spawn { plan = core.plan(list), slots = { stdin = in_r, stdout = out_w, stderr = 2 } })
  in_r:close()
  out_w:close()
  return { process = process, input = in_w, output = out_r }
end

-- Send a command; the numbers of its answer.
local function ask(s, command)
  assert(s.input:write(command .. "\n"))
  local text = ""
  while not text:find("\n", 1, true) do
    local part = assert(s.output:read())
    if part == "" then error("the measured process ended at: " .. command, 0) end
    text = text .. part
  end
  local numbers = {}
  for n in text:gmatch("%S+") do numbers[#numbers + 1] = tonumber(n) end
  if numbers[2] == -1 then error("failed: " .. command:gsub("\t", " "), 0) end
  return numbers
end

local root = bench .. "/root"
local floor = server { bench .. "/floor", root }
local small = server { "luajit", "spec/bench/server.lua", root }
local large = server { "luajit", "spec/bench/server.lua", root, "1024" }

local function command(argv) return "run\t" .. table.concat(argv, "\t") end

local function found(program)
  for dir in (os.getenv("PATH") or ""):gmatch("[^:]+") do
    if core.lstat(dir .. "/" .. program) then return true end
  end
  return false
end

local function write_file(name, text)
  local f = assert(io.open(name, "wb"))
  f:write(text)
  f:close()
  return name
end

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

-- ---- statistics ----

local function percentile(list, p)
  local t = {}
  for i, v in ipairs(list) do t[i] = v end
  table.sort(t)
  return t[math.max(1, math.ceil(#t * p))]
end

local series = {} -- name -> list of ns

local function measure(name, who, what)
  core.poll({}, pause)
  local answer = ask(who, what)
  series[name] = series[name] or {}
  table.insert(series[name], answer[1])
  return answer
end

local pairs_of = {} -- rows: { text, measured, against, aim }
local peaks = {}

local function compare(text, a, b, aim) pairs_of[#pairs_of + 1] = { text, a, b, aim } end

-- ---- what is measured in each round ----

local jobs = {
  function() measure("floor own", floor, "own") end,
  function() measure("small own", small, "own") end,
  function() measure("large own", large, "own") end,
  function() measure("floor sync", floor, "sync") end,
  function() measure("small sync", small, "sync") end,
  function() measure("floor bare", floor, "bare") end,
  function() measure("small pool", small, "pool") end,
  function() measure("policy memory", small, "policy memory") end,
  function() measure("policy disk", small, "policy disk") end,
  function() measure("policy compile", small, "policy compile") end,
}
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
  jobs[#jobs + 1] = function() peaks[ours] = measure(ours, starter, run)[2] end
  jobs[#jobs + 1] = function() peaks[theirs] = measure(theirs, starter, bwrap)[2] end
  compare("(c) caisson run sandbox / bwrap set up equally, as " .. who, ours, theirs, 1.0)
end

if found "bwrap" then
  if is_root then against_bwrap("root", floor) end
  against_bwrap("user", as_user)
end

-- crun refuses machines with a v2 hierarchy beside v1: it gets a mount namespace without that one.
local crun_starter
if is_root and found "crun" then
  local folder = bench .. "/bundle"
  os.execute(("mkdir -p %s/rootfs/proc %s/rootfs/dev %s/rootfs/sys && cp %s/true %s/rootfs && cd %s && rm -f config.json && crun spec")
    :format(folder, folder, folder, root, folder, folder))
  local config = assert(io.open(folder .. "/config.json")):read("*a")
  write_file(folder .. "/config.json", (config:gsub('"sh"', '"/true"'):gsub('"terminal": true', '"terminal": false')))
  crun_starter = server({ "/bin/sh", "-c", "umount /sys/fs/cgroup/unified 2>/dev/null; exec " .. bench .. "/floor " .. root },
    { { step = "clone", options = { "mount" } },
      { step = "mount.propagation", options = { path = "/", propagation = "private", recursive = true } } })
  local run = command { "crun", "--root", bench .. "/crun", "run", "-b", folder, "bench" }
  jobs[#jobs + 1] = function() peaks.crun = measure("crun", crun_starter, run)[2] end
end

-- ---- run ----

-- In another order each round: what one leaves for the kernel to clear up shall not always meet the same.
math.randomseed(1)
for round = 1, rounds + 2 do
  if round == 3 then series = {} end -- the first two only warm up
  for i = #jobs, 2, -1 do
    local k = math.random(i)
    jobs[i], jobs[k] = jobs[k], jobs[i]
  end
  for _, job in ipairs(jobs) do job() end
end

local function ms(ns) return ("%.3f"):format(ns / 1e6) end

local function verdict(value, aim) return value <= aim and "" or "  MISSED" end

print(("%d rounds, %d ms before each run; ratio of medians, quartiles of the ratios of neighbours, and ms: p50 p99 of both")
  :format(rounds, pause * 1000))
for _, row in ipairs(pairs_of) do
  local a, b = series[row[2]], series[row[3]]
  local ratios = {}
  for i = 1, math.min(#a, #b) do ratios[i] = a[i] / b[i] end
  local ratio = percentile(a, 0.5) / percentile(b, 0.5)
  print(("%-62s %5.2f (aim %.1f)  %.2f..%.2f  %s %s / %s %s%s"):format(row[1], ratio, row[4], percentile(ratios, 0.25),
    percentile(ratios, 0.75), ms(percentile(a, 0.5)), ms(percentile(a, 0.99)), ms(percentile(b, 0.5)),
    ms(percentile(b, 0.99)), verdict(ratio, row[4])))
end

local containers = tonumber(os.getenv("BENCH_CONTAINERS") or 1000)
if containers >= 40 then
  local function floor_now()
    local t = {}
    for i = 1, 20 do
      core.poll({}, pause)
      t[i] = ask(floor, "own")[1]
    end
    return percentile(t, 0.5)
  end
  local floor_early = floor_now()
  local early, late, kib, fds = unpack(ask(small, "many " .. containers))
  local floor_late = floor_now()
  ask(small, "release")
  print(("%-62s %5.2f (aim 1.2)  %s / %s; the floor's, as many alive beside it: %.2f%s"):format(
    ("(e) start: the last 20 of %d live containers / the first 20"):format(containers), late / early, ms(late), ms(early),
    floor_late / floor_early, verdict(late / early, 1.2)))
  print(("%-62s %5.0f KiB (PSS, the host's share with it), %.1f descriptors"):format("(e) each of them costs", kib, fds))
end

local names = {}
for name in pairs(peaks) do names[#names + 1] = name end
table.sort(names)
for i, name in ipairs(names) do names[i] = ("%s %d"):format(name, peaks[name]) end
print(("%-62s %s"):format("(f) peak resident KiB of the command", table.concat(names, ", ")))
for _, s in ipairs { floor, small, large, as_user, crun_starter } do s.process:close() end
