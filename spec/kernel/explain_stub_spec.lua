-- Calls that --explain tells only where they fail: led round in the program itself, without a stop (core/stub.c).
local caisson = require "caisson"
local t = require "support"

local core = caisson.core
local x86 = core.seccomp.architecture() == "x86_64"

describe("a place led round", function()
  if not t.needs("userns", "cc") then return end
  local dir

  setup(function()
    dir = t.sh("mktemp -d"):match "%S+"
    local function cc(name, flags)
      local out = t.sh(("cc -O1 %s -o %s/%s spec/support/places.c -lpthread 2>&1"):format(flags, dir, name))
      if out ~= "" then error(out) end
    end
    cc("places", "")
    cc("fixed", "-no-pie -fno-pie")
    cc("static", "-static")
    t.sh("chmod 755 " .. dir)
  end)
  teardown(function() t.sh("rm -rf " .. dir) end)

  local function run(explain, seccomp, ...)
    local args = { ... }
    args[1] = "/mnt/" .. args[1]
    return assert(caisson.run(caisson.recipe { extends = "sandbox", mounts = { { bind = dir, at = "/mnt" } }, seccomp = seccomp },
      { args = args, stdout = "capture", stderr = "capture", explain = explain or nil }))
  end

  -- The same with and without. Returns what was told ("COUNT CALL = ERRNO"), and the output.
  local function both(seccomp, ...)
    local plain, with = run(false, seccomp, ...), run(true, seccomp, ...)
    assert.equal(nil, with.trace_error)
    assert.equal(plain.stdout, with.stdout)
    assert.same({ plain.stderr, plain.code, plain.signal }, { with.stderr, with.code, with.signal })
    local list = {}
    for _, e in ipairs(with.explained) do
      -- clone3 takes its flags from memory: the default policy has glibc use clone
      if e.call ~= "clone3" then list[#list + 1] = ("%d %s = %s"):format(e.count, e.text, e.code or e.signal) end
    end
    return list, with.stdout
  end

  local few = "1000 opened, 0 failed, few stops\n"
  local new = "openat(AT_FDCWD, \"/usr/new\", O_WRONLY|O_CREAT, 0640) = EROFS"

  it("stops once, not for each call: as PIE, at a fixed address, linked statically", function()
    for _, name in ipairs { "places", "fixed", "static" } do
      local list, out = both(nil, name, "many", "0")
      assert.same({ {}, few }, { list, out }, name)
    end
  end)

  it("tells each call that fails, with its arguments, and none that succeeds", function()
    for _, name in ipairs { "places", "fixed", "static" } do
      local list, out = both(nil, name, "denied", "9")
      assert.same({ "9 " .. new }, list)
      assert.equal("denied: EROFS\n", out)
    end
  end)

  it("may be one of many calls", function()
    local list, out = both(nil, "places", "syscall")
    assert.same({ "1 " .. new, "1 mkdirat(AT_FDCWD, \"/usr/new\", 0700) = EROFS" }, list)
    assert.equal(few .. "1 0\n", out)
  end)

  it("is of use to threads that come later, and not made where there are some", function()
    assert.same({ "100 " .. new, "2 mkdir(\"/usr/new\", 0700) = EROFS" }, (both(nil, "places", "threads")))
    for _, process in ipairs { "0", "1" } do
      local r = run(true, nil, "places", "beside", process)
      assert.equal((x86 and few:gsub("few", "many") or few) .. few .. few, r.stdout)
    end
  end)

  it("is its process's own: forks, vforks and what they execute", function()
    local list, out = both(nil, "places", "forks")
    assert.same({ "12 " .. new, "1 mkdir(\"/usr/vfork\", 0700) = EROFS", "2 rmdir(\"/usr\") = EROFS" }, list)
    assert.is_truthy(out:find(few, 1, true), out)
  end)

  it("leaves registers, flags, the stack and what is below it as the call does", function()
    if not x86 then return end
    local list, out = both(nil, "places", "machine")
    table.sort(list)
    assert.same({ "2 mkdirat(AT_FDCWD, \"/usr/c\", 0700) = EROFS", "2 openat(AT_FDCWD, \"/usr/a\", O_RDWR|O_CREAT, 037777777773) = EROFS",
      "2 openat(AT_FDCWD, \"/usr/b\", O_RDWR|O_CREAT, 037777777773) = EROFS" }, list, out)
    assert.equal(14, select(2, out:gsub("\n", "")), out)
  end)

  it("is left by signals, and returned to", function()
    local list, out = both(nil, "places", "handlers", "0")
    assert.equal("EINTR EINTR EINTR inside: EROFS\n", out)
    assert.equal(1, #list, table.concat(list, "\n"))
    assert.is_truthy(list[1]:find "/usr/new.* = EROFS", list[1])
    list, out = both(nil, "places", "handlers", "1")
    assert.equal("opened opened opened inside: EROFS\n", out)
    assert.equal(1, #list, table.concat(list, "\n"))
  end)

  local policy = caisson.policy
  local write = { { "openat", args = { { 2, "==", 1 } } }, "open" }
  local null = "openat(AT_FDCWD, \"/dev/null\", O_WRONLY) = "

  it("is judged by the policy as ever, and its denials are told once each", function()
    local list, out = both(policy.default():answer("EPERM", write), "places", "flags")
    assert.same({ { "5 " .. null .. "EPERM" }, "EPERM, 0 signals\n" }, { list, out })
    -- an errno that a kernel's would not be told for
    list, out = both(policy.default():answer("ENOTTY", write), "places", "flags")
    assert.same({ { "5 " .. null .. "ENOTTY" }, "ENOTTY, 0 signals\n" }, { list, out })
    list, out = both(policy.default():answer("kill_process", write), "places", "flags")
    assert.same({ { "1 " .. null .. "SIGSYS" }, "" }, { list, out })
    assert.equal(few, (run(true, policy.default():answer("EPERM", write), "places", "many", "0")).stdout)
  end)

  it("is none where the policy has others asked, or looks at what is changed", function()
    local list, out = both(policy.default():answer("trap", write), "places", "flags")
    assert.same({ { "5 " .. null .. "SIGSYS" }, "ENOSYS, 5 signals\n" }, { list, (out:gsub("%w+,", "ENOSYS,")) })
    local many = x86 and few:gsub("few", "many") or few
    for _, p in ipairs { policy.default():answer("trap", write), policy.default():answer("log", write),
      policy.default():answer("EPERM", { { "openat", args = { { 5, "==", 77 } } } }) } do
      assert.equal(many, run(true, p, "places", "many", "0").stdout)
      assert.equal(few, run(false, p, "places", "many", "0").stdout)
    end
  end)

  it("is asked about by the program's own filters, too", function()
    local list, out = both(nil, "places", "own", "1")
    assert.same({ {}, "EACCES, 0 signals\n" }, { list, out })
    list, out = both(nil, "places", "own", "2")
    assert.same({ {}, "ENOSYS, 0 signals\n" }, { list, out })
    list, out = both(nil, "places", "own", "3")
    assert.same({ {}, "opened, 0 signals\n" }, { list, out })
    if not x86 then return end
    list, out = both(nil, "places", "own", "4")
    assert.same({ {}, "EPERM, 5 signals\n" }, { list, out })
  end)

  it("is told of by a second tracer where the first one's fork was not to be used", function()
    local tracing = require("caisson.trace").Tracing
    local prepare, killed = tracing.prepare, 0
    local fds, children = t.count_fds(), t.count_children()
    function tracing.prepare(self)
      prepare(self)
      assert(core.pidfd.kill(self.pidfd, "KILL"))
      killed = killed + 1
    end
    local ok, list = pcall(both, nil, "places", "denied", "2")
    tracing.prepare = prepare
    assert.same({ true, { "2 " .. new }, 1 }, { ok, list, killed })
    assert.same({ fds, children }, { t.count_fds(), t.count_children() })
  end)
end)
