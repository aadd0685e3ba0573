-- What a container's program was denied, and by what: run with option explain, and without, where it has to be the same.
local caisson = require "caisson"
local t = require "support"

local core, policy = caisson.core, caisson.policy

describe("run with explain", function()
  if not t.needs("userns", "cc") then return end
  local dir

  setup(function()
    dir = t.sh("mktemp -d"):match "%S+"
    local out = t.sh("cc -O1 -o " .. dir .. "/denied spec/support/denied.c -lpthread 2>&1; chmod 755 " .. dir)
    if out ~= "" then error(out) end
  end)
  teardown(function() t.sh("rm -rf " .. dir) end)

  -- A recipe in a file of its own, so that it has lines; `more` are its options, as source.
  local function recipe(more)
    local path = dir .. "/r.lua"
    local f = assert(io.open(path, "w"))
    f:write("local caisson = require \"caisson\"\nlocal policy = caisson.policy\nreturn caisson.recipe {\n  extends = \"sandbox\",\n",
      "  mounts = { { bind = \"", dir, "\", at = \"/mnt\" } },\n", more or "", "\n}\n")
    f:close()
    return assert(caisson.load(path))
  end

  local function run(r, explain, ...)
    return assert(caisson.run(r, { args = { "/mnt/denied", ... }, stdout = "capture", stderr = "capture", explain = explain }))
  end

  -- With and without: the program's output and end are the same. Returns what was explained.
  local function explained(more, ...)
    local r = recipe(more)
    local plain, with = run(r, nil, ...), run(r, true, ...)
    assert.equal(nil, with.trace_error)
    assert.equal(plain.stdout, with.stdout)
    assert.equal(plain.stderr, with.stderr)
    assert.same({ plain.status, plain.code, plain.signal }, { with.status, with.code, with.signal })
    assert.equal(nil, plain.explained)
    return with.explained, with
  end

  local function only(list)
    assert.equal(1, #list, require("caisson.json").document(list))
    assert.equal(1, #list[1].causes, require("caisson.json").document(list))
    return list[1], list[1].causes[1]
  end

  it("says nothing of what is allowed", function()
    assert.same({}, explained(nil, "mkdir", "/tmp/x"))
    assert.same({}, explained(nil, "open", "/dev/null"))
    assert.same({}, explained(nil, "socket", "1"))
    assert.same({}, explained("seccomp = policy.default() + { \"unshare\" },", "mkdir", "/tmp/x"))
  end)

  it("denies calls of another architecture, too", function()
    local out = t.sh("cc -m32 -O1 -fno-pic -fno-stack-protector -nostdlib -static -o " .. dir .. "/denied32 "
      .. "spec/support/denied32.c >/dev/null 2>&1 && " .. dir .. "/denied32; rmdir /tmp/denied32-made 2>/dev/null")
    if not out:find ", there" then return pending "needs 32-bit programs" end
    local more = "  seccomp = policy.new { default = \"allow\", architectures = { \"x86_64\", \"x86\" } } - { \"mkdir\" },"
    for _, explain in ipairs { false, true } do
      local r = assert(caisson.run(recipe(more), { args = { "/mnt/denied32" }, stdout = "capture", explain = explain or nil }))
      assert.equal("EPERM, not there\n", r.stdout)
      assert.equal(explain and 1 or nil, r.explained and #r.explained)
    end
  end)

  it("goes on where more threads are in a call than it can follow", function()
    local list, r = explained(nil, "at-once", "1100")
    assert.same({}, list)
    assert.equal("open 1100 \n", r.stdout)
  end)

  it("lets a container be made whose policy denies what makes it", function()
    local e = only(explained([[  landlock = { bind = {} }, mix = { policy.mix { seccomp = policy.default() - { "landlock_create_ruleset",
      "landlock_restrict_self", "seccomp", "unshare" } } },]], "unshare"))
    assert.equal("unshare", e.call)
  end)

  it("names the policy that does not list a call, with the line and what would allow it", function()
    local e, cause = only(explained("  seccomp = policy.default() - { \"ptrace\" },", "unshare"))
    assert.equal("unshare(CLONE_NEWNS)", e.text)
    assert.same({ "unshare", "EPERM", 1, "denied" }, { e.call, e.code, e.count, e.comm })
    assert.equal("/mnt/denied", e.exe)
    assert.equal("seccomp", cause.kind)
    assert.is_truthy(cause.at:find "r%.lua:6$", cause.at)
    assert.equal("seccomp = policy.default() - { \"ptrace\" } + { \"unshare\" }", cause.fix)
    -- and so it does: what is denied then is the kernel's
    local list = explained("  " .. cause.fix .. ",", "unshare")
    assert.equal("capability", list[1].causes[1].kind)
  end)

  it("names the rule that denies a call for its arguments", function()
    local source = "  seccomp = policy.default() - { \"socket\" } + { { \"socket\", args = { { 0, \"==\", 1 } } } },"
    assert.same({}, explained(source, "socket", "1"))
    local e, cause = only(explained(source, "socket", "2"))
    assert.equal("socket(AF_INET, SOCK_DGRAM, IPPROTO_IP)", e.text)
    assert.equal("seccomp", cause.kind)
    assert.is_truthy(cause.fix:find('+ { { "socket", args = { { 0, "==", 2 } } } }  -- AF_INET', 1, true), cause.fix)
    assert.same({}, explained("  " .. cause.fix:gsub("%s*%-%-.*", "") .. ",", "socket", "2"))
  end)

  it("has every errno of a policy's answered as the filter would", function()
    for _, name in ipairs { "ENOSYS", "EACCES", "ENOMEM", "EXDEV" } do
      local e = only(explained(("  seccomp = policy.default():answer(%q, \"unshare\"),"):format(name), "unshare"))
      assert.equal(name, e.code)
    end
    -- no error at all
    assert.same({}, explained("  seccomp = policy.default():answer({ \"errno\", 0 }, \"unshare\"),", "unshare"))
  end)

  it("tells what a filter killed for, and a trap", function()
    for _, action in ipairs { "kill_process", "kill_thread", "trap" } do
      local list, r = explained(("  seccomp = policy.default():answer(%q, \"unshare\"),"):format(action), "unshare")
      local e, cause = only(list)
      assert.same({ "SIGSYS", "unshare(CLONE_NEWNS)", "denied" }, { e.signal, e.text, e.comm })
      assert.equal("seccomp", cause.kind)
      assert.is_truthy(cause.why:find(action, 1, true), cause.why)
      assert.equal(31, r.signal or r.code - 128)
    end
  end)

  it("names the mount that is read-only, by its entry", function()
    local e, cause = only(explained(nil, "mkdir", "/mnt/x"))
    assert.same({ "EROFS", "/mnt/x", "mount" }, { e.code, e.path, cause.kind })
    assert.is_truthy(cause.at:find "r%.lua:5$", cause.at)
    assert.equal(('mounts: { bind = "%s", at = "/mnt", writable = true }'):format(dir), cause.fix)
    local root = select(2, only(explained(nil, "mkdir", "/new")))
    assert.equal('mounts = { { tmpfs = "/new" } }', root.fix)
    root = select(2, only(explained(nil, "create", "/etc/new")))
    assert.equal('mounts = { { tmpfs = "/etc", copyup = true } }', root.fix)
  end)

  it("speaks of the parameter write where that is about the mount, and no escape of the program's comes through", function()
    t.sh(("chmod 755 %s"):format(dir))
    local place = dir .. "/a\194\155b"
    t.sh(("mkdir -p '%s'"):format(place))
    local _, r = only(assert(caisson.run("sandbox", { params = { dir = dir }, stdout = "capture", stderr = "capture",
      explain = true, args = { "/bin/mkdir", place .. "/x" } })).explained)
    assert.matches("^the parameter write=yes; or mounts: ", r.fix)
    local list = assert(caisson.run("sandbox", { stdout = "capture", stderr = "capture", explain = true,
      args = { "/bin/mkdir", "/usr/x\194\155" } })).explained
    local e
    e, r = only(list)
    assert.equal('mounts: { bind = "/usr", writable = true }', r.fix)
    assert.equal("/usr/x\194\155", e.path)
    e.comm = "a\nfix: none"
    local text = require("caisson.cli.explain").text({ explained = list }, require("caisson.cli.color").of(false))
    assert.falsy(text:find "\194\155" or text:find "\nfix")
  end)

  it("names a masked path", function()
    local list = explained("  mounts = { { tmpfs = \"/m\" }, { bind = \"" .. dir .. "\", at = \"/mnt\" } }, masked = { \"/m\" },", "mkdir", "/m/x")
    local _, cause = only(list)
    assert.equal("masked", cause.kind)
    assert.equal("masked: without \"/m\"", cause.fix)
  end)

  it("names a mount on which nothing is executed", function()
    local list = explained("  mounts = { { bind = \"" .. dir .. "\", at = \"/mnt\" }, { bind = \"" .. dir .. "\", at = \"/no\", exec = false } },",
      "exec", "/no/denied")
    local e, cause = only(list)
    assert.same({ "execve", "EACCES", "mount" }, { e.call, e.code, cause.kind })
    assert.is_truthy(cause.fix:find("exec = true", 1, true), cause.fix)
  end)

  it("names the right that Landlock does not give", function()
    if not t.needs "landlock" then return end
    local source = "  landlock = { execute = { \"/usr\", \"/lib\", \"/lib64\", \"/bin\", \"/mnt\" }, read = { \"/dev\", \"/etc\" }, write = { \"/tmp\" } },"
    assert.same({}, explained(source, "mkdir", "/tmp/x"))
    local e, cause = only(explained(source, "open", "/proc/version"))
    assert.same({ "EACCES", "landlock", "landlock: read = { \"/proc/version\" }" }, { e.code, cause.kind, cause.fix })
    assert.is_truthy(cause.at:find "r%.lua:6$", cause.at)
    cause = select(2, only(explained(source, "mkdir", "/dev/shm/x")))
    assert.same({ "landlock", "landlock: write = { \"/dev/shm\" }" }, { cause.kind, cause.fix })
  end)

  it("names the file's own mode, and the capability that is missing", function()
    t.sh(("mkdir -p %s/d; echo x > %s/d/secret; chmod 000 %s/d/secret"):format(dir, dir, dir))
    local e, cause = only(explained(nil, "open", "/mnt/d/secret"))
    assert.same({ "EACCES", "mode", "/mnt/d/secret" }, { e.code, cause.kind, e.path })
    assert.is_truthy(cause.why:find("0000", 1, true), cause.why)
    e, cause = only(explained(nil, "chown", "/tmp"))
    if not t.is_root then -- who has one id only has no other to give a file to
      return assert.same({ "EINVAL", "userns" }, { e.code, cause.kind })
    end
    assert.same({ "EPERM", "capability" }, { e.code, cause.kind })
    assert.equal("CAP_CHOWN is missing", cause.why)
    assert.is_truthy(cause.at:find "sandbox%.lua:%d+$", cause.at)
    assert.same({}, explained("  " .. cause.fix .. ",", "chown", "/tmp"))
  end)

  it("says what no capability inside is enough for", function()
    local source = "  namespaces = { user = true }, idmap = { uid = { { 0, %d, 1 } }, gid = { { 0, %d, 1 } }, setgroups = \"deny\" }, user = 0,"
    local id = core.identity()
    local e, cause = only(explained(source:format(id.euid, id.egid), "nice"))
    assert.same({ "setpriority(PRIO_PROCESS, 0, -5)", "EACCES", "userns" }, { e.text, e.code, cause.kind })
    assert.is_truthy(cause.why:find("CAP_SYS_NICE over the host", 1, true), cause.why)
  end)

  it("says what a network of its own does not have", function()
    local _, cause = only(explained(nil, "bind", "80"))
    assert.equal("capability", cause.kind)
    assert.equal('sysctl = { ["net.ipv4.ip_unprivileged_port_start"] = "80" }', cause.fix)
    assert.same({}, explained("  " .. cause.fix .. ",", "bind", "80"))
  end)

  it("names limits: descriptors, the size of files, processes", function()
    local e, cause = only(explained("  rlimits = { nofile = 32 },", "files"))
    assert.same({ "EMFILE", "rlimit" }, { e.code, cause.kind })
    assert.equal("rlimits = { nofile = 64 }", cause.fix)
    assert.is_truthy(cause.at:find "r%.lua:6$", cause.at)
    e, cause = only(explained("  rlimits = { fsize = 100000 },", "write"))
    assert.same({ "SIGXFSZ", "rlimit", "write" }, { e.signal, cause.kind, e.call })
    assert.equal("rlimits = { fsize = 200000 }", cause.fix)
  end)

  it("names the group's limits", function()
    if not t.needs "root" then return end -- an ordinary user has no group of its own here
    local e, cause = only(explained("  cgroup = { pids = { max = 8 } },", "processes", "20"))
    assert.same({ "EAGAIN", "cgroup", "cgroup = { pids = { max = 16 } }" }, { e.code, cause.kind, cause.fix })
    local list, r = explained("  cgroup = { memory = { max = \"32M\", swap = 0 } },", "memory", "100")
    e, cause = only(list)
    assert.is_true(r.oom)
    assert.same({ "SIGKILL", "memory", "denied", "cgroup = { memory = { max = \"64M\" } }" }, { e.signal, cause.kind, e.comm, cause.fix })
  end)

  it("follows threads, forks and what they execute, and counts", function()
    local list = explained(nil, "threads")
    local texts = {}
    for _, e in ipairs(list) do
      -- clone3 takes its flags from memory: the default policy has glibc use clone
      if e.call ~= "clone3" then texts[#texts + 1] = e.count .. " " .. e.text end
    end
    assert.same({ "3 unshare(CLONE_NEWNS)", "1 unshare(CLONE_NEWUTS)", "1 unshare(CLONE_NEWIPC)" }, texts)
  end)

  it("leaves signals and masks as they are", function()
    local _, r = explained(nil, "handler")
    assert.equal("unshare -1 EPERM\n1 1 handled 0 \n", r.stdout)
  end)

  it("lets no filter of the program's own loosen the policy", function()
    local _, r = explained(nil, "trace")
    assert.equal("getpgid -1 ENOSYS\n", r.stdout)
    local recipe_ = recipe(nil)
    assert.equal("seccomp 1 \n", run(recipe_, nil, "listener").stdout)
    local with = run(recipe_, true, "listener")
    assert.equal("seccomp 0 \n", with.stdout)
    local e, cause = only(with.explained)
    assert.same({ "EBUSY", "explain" }, { e.code, cause.kind })
  end)

  it("works beside functions that answer for calls", function()
    local list, r = explained("  seccomp_notify = { unshare = function(call) return call:fake(0) end },\n"
      .. "  seccomp = policy.default() + { \"unshare\" },", "unshare")
    assert.same({}, list)
    assert.equal("unshare 0 \n", r.stdout)
  end)

  it("ends with a limit as without", function()
    local r = assert(caisson.run(recipe(nil), { args = { "/bin/sh", "-c", "/mnt/denied mkdir /mnt/x; sleep 100" }, stdout = "null",
      limits = { time = 0.5 }, explain = true }))
    assert.same({ "time_limit", nil, "mkdir" }, { r.status, r.trace_error, (r.explained[1] or {}).call })
  end)

  it("leaves nothing, whatever the end", function()
    local fds, children = t.count_fds(), t.count_children()
    for _ = 1, 5 do run(recipe(nil), true, "processes", "3") end
    assert.same({ fds, children }, { t.count_fds(), t.count_children() })
    for number = 1, 60, 3 do -- a step that fails, before and behind the one that has it traced
      assert.equal(nil, (caisson.run(recipe(nil), { args = { "/bin/true" }, explain = true, fail = { step = number, errno = 5 } })))
    end
    assert.equal(nil, (caisson.run(recipe(nil), { args = { "/no/such" }, explain = true })))
    assert.same({ fds, children }, { t.count_fds(), t.count_children() })
    local none, message = caisson.run(recipe "  hostname = (\"x\"):rep(100),", { args = { "/bin/true" }, explain = true })
    assert.equal(nil, none)
    assert.is_truthy(message:find "hostname", message)
    assert.same({ fds, children }, { t.count_fds(), t.count_children() })
  end)

  it("does not ask all the time for an end that its tracer has not seen", function()
    local running = assert(caisson.start(recipe(nil), { args = { "/bin/sleep", "100" }, explain = true }))
    -- as a process is that has ended, and that its tracer has not waited for
    local process, r, w = running.process, core.pipe()
    w:close()
    running.process = { end_fd = function() return r end, wait = function() return nil, "timeout" end }
    local steps, till = 0, core.now() + 3e8
    while core.now() < till do
      assert.equal(nil, running:step())
      steps = steps + 1
      assert(core.poll(running:fds(), math.min(running:timeout() or 1, math.max(till - core.now(), 0) / 1e9)))
    end
    assert.is_true(steps < 50, tostring(steps))
    running.process = process
    r:close()
    assert(running:kill "KILL")
    assert.equal("signalled", running:wait().status)
    running:close()
  end)

  describe("of the command", function()
    local cli = require "support.cli"

    it("tells at the end, on standard error, and leaves the program's status", function()
      recipe(nil)
      local r = cli.caisson { "run", "--explain", dir .. "/r.lua", "--", "sh", "-c", "/mnt/denied mkdir /mnt/x; exit 7" }
      assert.equal(7, r.code)
      assert.equal("mkdir -1 EROFS\n", r.out)
      assert.is_truthy(r.err:find("explain: one thing was denied\n  mkdir(\"/mnt/x\", 0755) = EROFS  denied[", 1, true), r.err)
      assert.is_truthy(r.err:find("r.lua:5: mounts[", 1, true), r.err)
      assert.is_truthy(r.err:find("\n    fix:  mounts: { bind = ", 1, true), r.err)
      r = cli.caisson { "run", "--explain", "sandbox", "--", "true" }
      assert.same({ 0, "", "explain: nothing was denied\n" }, { r.code, r.out, r.err })
      r = cli.caisson { "run", "sandbox", "--", "true" }
      assert.same({ 0, "", "" }, { r.code, r.out, r.err })
    end)

    it("has it in the result as JSON", function()
      recipe(nil)
      local r = cli.caisson { "run", "--explain", "--json", "--result", dir .. "/result.json", dir .. "/r.lua", "--",
        "/mnt/denied", "unshare" }
      local document = require("cjson").decode(r.out:match "{.*")
      assert.equal("unshare(CLONE_NEWNS)", document.explained[1].text)
      assert.same({ "EPERM", "seccomp" }, { document.explained[1].code, document.explained[1].causes[1].kind })
      assert.same(document, require("cjson").decode(t.read_file(dir .. "/result.json")))
    end)

    it("tells what has one cause together", function()
      recipe(nil)
      local r = cli.caisson { "run", "--explain", dir .. "/r.lua", "--", "sh", "-c", "for i in 1 2 3 4 5 6; do mkdir /mnt/$i; done 2>&1" }
      assert.is_truthy(r.err:find("explain: 6 things were denied\n", 1, true), r.err)
      assert.equal(1, select(2, r.err:gsub("why:", "")), r.err)
      assert.is_truthy(r.err:find('also: mkdir("/mnt/4", 0777)\n    ... and 2 more like it\n', 1, true), r.err)
    end)

    it("keeps to the columns of a terminal", function()
      local text = require("caisson.cli.explain").text({ explained = { { call = "openat", code = "EACCES", count = 3, comm = "x",
        pid = 3, text = 'openat(AT_FDCWD, "' .. ("/long"):rep(30) .. '", O_RDONLY)',
        causes = { { kind = "mode", why = ("word "):rep(40), at = "r.lua:1", rule = "mounts[1]", fix = ("fix "):rep(40) } } } } },
        setmetatable({ columns = 80 }, { __index = function() return function(s) return s end end }))
      for line in text:gmatch "[^\n]+" do assert.is_true(require("caisson.cli.color").width(line) <= 80, line) end
      assert.is_truthy(text:find("= EACCES\n      x[3], 3 times\n", 1, true), text)
    end)
  end)

  it("is refused for a saved plan, which has no lines", function()
    local plan = assert(recipe(nil):build { args = { "/mnt/denied" } }).plan
    local none, message = require("caisson.run").run(require("caisson.saved").recipe(plan), { explain = true })
    assert.equal(nil, none)
    assert.is_truthy(message:find("run its recipe", 1, true), message)
  end)

  it("says nothing of what is no denial", function()
    assert.same({}, explained(nil, "again-later"))
  end)

  it("is refused where the recipe has a tracer", function()
    local r = caisson.recipe { extends = "sandbox", args = { "/bin/true" }, ptrace = true }
    local none, message = caisson.run(r, { explain = true })
    assert.equal(nil, none)
    assert.is_truthy(message:find("a process has one tracer", 1, true), message)
    assert.is_truthy(core and policy)
  end)

  it("is of the program, not of what makes its container: a policy without what that takes", function()
    if not t.needs "landlock" then return end
    local path = dir .. "/tight.lua"
    local f = assert(io.open(path, "w"))
    f:write([[
      local caisson = require "caisson"
      local policy = caisson.policy
      return caisson.recipe { extends = "sandbox", mix = { policy.mix {
        seccomp = policy.default() - { "seccomp", "landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self",
          "execveat", "unlink", "unlinkat" },
        landlock = { execute = { "/" }, write = { "/tmp" } },
      } } }]])
    f:close()
    local opts = { args = { "/bin/sh", "-c", "rm /etc/passwd; echo x >/etc/new; echo done" }, stdout = "capture",
      stderr = "capture", explain = true }
    local r = assert(caisson.run(assert(caisson.load(path)), opts))
    assert.same({ "done\n", 0 }, { r.stdout, r.code })
    local seen = {}
    for _, e in ipairs(r.explained) do seen[#seen + 1] = e.name or tostring(e.call) end
    assert.truthy(#r.explained >= 2, table.concat(seen, " "))
  end)
end)
