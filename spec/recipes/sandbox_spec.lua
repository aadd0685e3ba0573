local t = require "support"
local caisson = require "caisson"

local function sandbox(script, params, opts)
  local o = { args = { "/bin/sh", "-c", script }, params = params, stdin = "null", stdout = "capture",
    stderr = "stdout" }
  for k, v in pairs(opts or {}) do o[k] = v end
  return caisson.run("sandbox", o)
end

local function output(...)
  local r = assert(sandbox(...))
  assert.equal("exited", r.status)
  return r.stdout
end

describe("the sandbox recipe", function()
  if not t.needs "userns" then return end

  it("runs a program of this machine", function()
    local r = assert(sandbox "echo hello; exit 7")
    assert.same({ "exited", 7, "hello\n" }, { r.status, r.code, r.stdout })
  end)

  it("shows the system read-only, and neither homes nor the rest of the host", function()
    assert.equal("bin dev etc lib proc sbin tmp usr ",
      (output("ls / | tr '\\n' ' '"):gsub("lib%d+ ", ""):gsub("libx32 ", "")))
    for _, path in ipairs { "/usr/x", "/etc/x", "/x", "/bin/x", "/proc/sys/kernel/hostname" } do
      assert.truthy(output("echo 1 2>&1 >" .. path):find("Read%-only file system") or
        output("echo 1 2>&1 >" .. path):find("Permission denied"), path)
    end
    for _, path in ipairs { "/home", "/root", "/var", "/etc/shadow", "/sys" } do
      assert.equal("", output("ls -d " .. path .. " 2>/dev/null"), path)
    end
  end)

  it("gives it a /tmp of its own, and forgets it", function()
    assert.equal("x\n", output("echo x >/tmp/caisson-spec; cat /tmp/caisson-spec"))
    assert.is_nil(t.read_file("/tmp/caisson-spec"))
    assert.truthy(output("head -c 2M /dev/zero >/tmp/big", { tmp = "1M" }):find("No space left"))
  end)

  it("gives it neither capabilities, nor the way to any", function()
    assert.equal("0000000000000000\n0000000000000000\n0000000000000000\n0000000000000000\n0000000000000000\n",
      output "sed -n 's/^Cap...:[[:space:]]*//p' /proc/self/status")
    assert.equal("1\n", output "sed -n 's/^NoNewPrivs:[[:space:]]*//p' /proc/self/status")
    assert.equal(t.is_root and "65534:65534\n" or t.sh "echo $(id -u):$(id -g)", output "echo $(id -u):$(id -g)")
  end)

  it("lets no file become setuid on the host, in a directory that it may write to", function()
    local dir = t.sh("mktemp -d"):match("[^\n]+")
    local r = assert(caisson.run("sandbox", { params = { dir = dir, write = true }, stdin = "null", stdout = "capture",
      stderr = "capture", args = { "/usr/bin/perl", "-e", [[
        sub try { my ($name, $ok) = @_; print "$name=", $ok ? "done" : $!, "\n" }
        try("plain", sysopen(F, "plain", 65, 0755));
        for $bit (04000, 02000) {
          try("chmod", chmod($bit | 0755, "plain"));
          try("fchmod", chmod($bit | 0755, *F));
          try("create", sysopen(G, "b", 65, $bit | 0755));
          try("tmpfile", sysopen(G, ".", 4259841, $bit | 0755));
        }
        try("chmod", chmod(0700, "plain"));
        try("register", sysopen(G, "plain", 0, 06755));]] } }))
    local denied = ""
    for _, call in ipairs { "chmod", "fchmod", "create", "tmpfile" } do
      denied = denied .. call .. "=Operation not permitted\n"
    end
    assert.equal("plain=done\n" .. denied .. denied .. "chmod=done\nregister=done\n", r.stdout, r.stderr)
    assert.equal("plain 700\n", t.sh("cd " .. dir .. " && stat -c '%n %a' * && cd / && rm -r " .. dir))
  end)

  it("loads a filter, which denies what no program of a user needs", function()
    assert.equal("2\n", output "sed -n 's/^Seccomp:[[:space:]]*//p' /proc/self/status")
    assert.truthy(output("unshare -U true"):find("Operation not permitted"))
    assert.truthy(output("mount -t tmpfs x /tmp"):find("permission denied") or
      output("mount -t tmpfs x /tmp"):find("must be superuser"))
  end)

  it("shows it no other process", function()
    assert.equal("2\n", output "echo $$")
    assert.equal("", output "ls /proc | grep '^[0-9]' | grep -v '^[1-9]$'")
  end)

  it("has no network but the loopback, unless asked", function()
    assert.equal("lo\n", output "sed -n 's/^ *\\([a-z0-9]*\\):.*/\\1/p' /proc/net/dev")
    assert.equal(t.sh "readlink /proc/self/ns/net", output("readlink /proc/self/ns/net", { network = true }))
    assert.not_equal(t.sh "readlink /proc/self/ns/net", output "readlink /proc/self/ns/net")
  end)

  it("has its own devices", function()
    assert.equal("0\n", output "head -c 4 /dev/zero | tr -d '\\0' | wc -c")
    assert.equal("4\n", output "head -c 4 /dev/urandom | wc -c")
    assert.truthy(output("head -c 1 /dev/mem"):find("No such file"))
  end)

  it("shows a directory read-only, or writable, owned by the program's user", function()
    local dir = t.sh("mktemp -d /tmp/caisson.XXXXXX"):gsub("\n", "")
    t.sh("echo in >" .. dir .. "/file")
    assert.equal(dir .. "\nin\n", output("pwd; cat file", { dir = dir }))
    assert.truthy(output("echo x >out", { dir = dir }):find("Read%-only file system"))
    assert.equal("", output("echo made >out; chmod 600 file", { dir = dir, write = true }))
    assert.equal("made\n", t.read_file(dir .. "/out"))
    assert.equal(t.sh "id -u", t.sh("stat -c %u " .. dir .. "/out"))
    t.sh("rm -r " .. dir)
  end)

  it("passes only its own environment", function()
    local env = output "/usr/bin/env | sed 's/=.*//' | sort | tr '\\n' ' '"
    assert.equal("HOME PATH PWD USER ", (env:gsub("TERM ", ""):gsub("LANG ", ""):gsub("_ ", "")))
  end)

  it("has the same plan after a trip through JSON, and that runs the same", function()
    local recipe = assert(caisson.load "sandbox")
    local built = assert(recipe:build { args = { "/bin/sh", "-c", "id -u; ls /" } })
    local text = built.plan:json()
    local again = assert(caisson.plan.from_json(text))
    assert.equal(text, again:json())
    local function run(plan)
      local r, w = t.core.pipe()
      local null = t.core.open "/dev/null"
      local process = assert(t.core.spawn { plan = (plan:compile()), slots = { stdin = null, stdout = w, stderr = w } })
      w:close()
      local out = t.slurp(r)
      assert.equal(0, process:wait().code)
      process:close()
      return out
    end
    assert.equal(run(built.plan), run(again))
  end)

  it("leaves no mount and no process behind", function()
    local before = t.read_file "/proc/self/mountinfo"
    output "true"
    local sleep = "sleep 45." .. t.getpid()
    assert.truthy(sandbox(sleep .. " & " .. sleep, nil, { limits = { time = 0.1 } }))
    assert.equal(before, t.read_file "/proc/self/mountinfo")
    assert.equal("", t.sh("pgrep -f '^" .. sleep .. "$'"))
  end)
end)
