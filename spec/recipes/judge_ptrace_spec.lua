local t = require "support"
local caisson = require "caisson"

describe("the judge recipe with mode=ptrace", function()
  if not t.needs "userns" then return end
  local dir

  local function judge(params, script)
    local p = { dir = dir, optional_limits = not t.is_root, mode = "ptrace" }
    for k, v in pairs(params) do p[k] = v end
    return assert(caisson.run("judge", { params = p, args = type(script) == "table" and script or { "/bin/sh", "-c", script } }))
  end

  setup(function()
    dir = t.sh("mktemp -d /tmp/caisson-judge.XXXXXX && chmod 755 /tmp/caisson-judge.*"):match("[^\n]+")
    t.sh(("cd %s; echo data > data; mkdir more; echo deep > more/deep; ln -s /proc/version link; chmod -R a+rX ."):format(dir))
  end)
  teardown(function() t.sh("rm -rf " .. dir) end)

  it("accepts what keeps to its files", function()
    local r = judge({}, "cat data more/deep ../" .. dir:match("[^/]+$") .. "/data /proc/self/status > /dev/null; cat data")
    assert.same({ "accepted", "data\n", "" }, { r.verdict, r.stdout, r.stderr })
    assert.is_nil(r.denied)
  end)

  it("ends what reads another file, and says which", function()
    local r = judge({}, "cat data; cat /proc/version; echo on")
    assert.same({ "forbidden system call", "denied_syscall", "data\n" }, { r.verdict, r.status, r.stdout })
    assert.same({ call = "openat", why = "read", path = "/proc/version" }, r.denied)
    assert.truthy(r.report:find("forbidden system call: openat, to read /proc/version", 1, true), r.report)
  end)

  it("is not led on by links, or by the directory that a path starts from", function()
    for _, way in ipairs { "cat link", "cd /proc; cat version", "cat /proc/self/../version", "cat more/../../../proc/version",
      "cat /proc/self/root/proc/version", "cat /proc/$$/cwd/link" } do
      local r = judge({}, way)
      assert.equal("denied_syscall", r.status, way)
      assert.equal("/proc/version", r.denied.path, way)
    end
  end)

  it("is not led on by links that the program makes", function()
    local r = judge({ writable = { "/tmp/" } }, "ln -s /proc/version /tmp/l; echo made; cat /tmp/l")
    assert.same({ "made\n", "openat", "/proc/version" }, { r.stdout, r.denied.call, r.denied.path })
    r = judge({ writable = { "/tmp/" } }, "ln /etc/passwd /tmp/l")
    assert.same({ "linkat", "write", "/etc/passwd" }, { r.denied.call, r.denied.why, r.denied.path })
  end)

  it("ends what writes, makes, removes or renames, unless the set says that it may", function()
    for call, script in pairs { open = "echo x > /tmp/x", mkdir = "mkdir /tmp/d", unlink = "rm -f /tmp/none", rename = "mv /tmp/x /tmp/d" } do
      local r = judge({}, script)
      assert.equal("denied_syscall", r.status, script)
      assert.equal("write", r.denied.why, script)
      assert.truthy(r.denied.call:find("^" .. call), r.denied.call)
      assert.matches("^/tmp/[xd]$", (r.denied.path:gsub("none", "x")))
    end
    local r = judge({}, "echo x > data") -- it may be read
    assert.same({ "write", dir .. "/data" }, { r.denied.why, r.denied.path })
    r = judge({ writable = { "/tmp/" } }, "echo x > /tmp/x; mkdir /tmp/d; mv /tmp/x /tmp/d; cat /tmp/d/x; rm -r /tmp/d")
    assert.same({ "accepted", "x\n", "" }, { r.verdict, r.stdout, r.stderr })
    r = judge({ writable = { "/tmp/a" } }, "echo x > /tmp/a; echo y > /tmp/b")
    assert.equal("/tmp/b", r.denied.path)
  end)

  it("denies what is banned softly: the program goes on", function()
    local r = judge({ banned = { "/proc/" } }, "cat /proc/version || cat data")
    assert.same({ "accepted", "data\n" }, { r.verdict, r.stdout })
    assert.matches("Permission denied", r.stderr)
  end)

  it("takes the sets from a command line, as lists", function()
    local r = judge({ readable = "/proc/version,/proc/uptime" }, "cat /proc/version /proc/uptime")
    assert.equal("accepted", r.verdict)
    local message = select(2, caisson.run("judge", { params = { dir = dir, mode = "other" }, args = { "/bin/true" } }))
    assert.matches("mode: seccomp or ptrace expected, got other", message)
  end)

  it("keeps the limits", function()
    assert.equal("time limit exceeded", judge({ time = "200ms" }, "while :; do :; done").verdict)
    assert.equal("time limit exceeded", judge({ wall = "300ms" }, { "/bin/sleep", "20" }).verdict)
    assert.equal("output limit exceeded", judge({ output = "1K" }, { "/usr/bin/yes" }).verdict)
    assert.equal("runtime error (exit status 3)", judge({}, "exit 3").verdict)
  end)
end)
