-- Mix-ins, seen from inside the container that they narrow.
local t = require "support"
local cli = require "support.cli"
local caisson = require "caisson"
local policy = caisson.policy

local function output(recipe, mix, script, opts)
  local r = assert(caisson.run(recipe, { mix = mix and { mix }, args = { "/bin/sh", "-c", script }, stdin = "null",
    stdout = "capture", stderr = "stdout", params = opts }))
  return r.stdout, r
end

-- Each part of a mix-in: what a script prints in the sandbox without it, and with it.
local tries = {
  { "seccomp", { seccomp = policy.default() - { "mkdir", "mkdirat" } },
    "mkdir /tmp/x && echo made", "made\n", "Operation not permitted" },
  { "capabilities", { capabilities = { "chown" } }, "sed -n 's/^CapBnd:.*\\(.\\)$/\\1/p' /proc/self/status", "3\n", "1\n",
    base = { extends = "sandbox", capabilities = { bounding = { "chown", "dac_override" } } } },
  { "mounts", { mounts = { { tmpfs = "/scratch" } } }, "ls -d /scratch 2>/dev/null || echo none", "none\n", "/scratch\n" },
  { "masked", { masked = { "/proc/meminfo" } }, "grep -c MemTotal /proc/meminfo", "1\n", "0\n" },
  { "readonly", { readonly = { "/tmp" } }, "echo x > /tmp/x && echo written", "written\n", "Read-only file system" },
  { "rlimits", { rlimits = { nofile = 17 } }, "ulimit -n; ulimit -c", "1024\n0\n", "17\n0\n" },
  { "rlimits that are larger", { rlimits = { nofile = 100000 } }, "ulimit -n", "1024\n", "1024\n" },
  { "namespaces", { namespaces = { net = true } }, "grep -c : /proc/net/dev", nil, "1\n", params = { network = true } },
  { "no_new_privs", { no_new_privs = true }, "sed -n 's/NoNewPrivs:.//p' /proc/self/status", "0\n", "1\n",
    base = { no_new_privs = false, capabilities = {} }, root = true },
  { "readonly_root", { readonly_root = true }, "sed -n 's/.* [/] [/] \\(r[ow]\\).*/\\1/p' /proc/self/mountinfo", "rw\n", "ro\n",
    base = { extends = "sandbox", readonly_root = false } },
}

describe("A mix-in", function()
  if not t.needs "userns" then return end

  for _, try in ipairs(tries) do
    it("narrows a container: " .. try[1], function()
      if try.root and not t.is_root then return end
      local recipe = try.base and caisson.recipe(try.base) or "sandbox"
      local before, after = output(recipe, nil, try[3], try.params), output(recipe, policy.mix(try[2]), try[3], try.params)
      if try[4] then assert.equal(try[4], before) end
      assert.truthy(try[5] == after or #try[5] > 5 and after:find(try[5], 1, true), after)
    end)
  end

  it("narrows what Landlock allows: every ruleset must allow it", function()
    if not t.needs "landlock" then return end
    local both = { execute = { "/usr", "/bin", "/lib", { path = "/lib64", optional = true } }, write = { "/dev/null" } }
    local function with(...)
      local spec = { write = { ... } }
      for k, v in pairs(both) do if k ~= "write" then spec[k] = v end end
      table.insert(spec.write, "/dev/null")
      return spec
    end
    local script = "for f in /tmp/x /dev/shm/x; do echo x 2>/dev/null >$f && echo $f; done"
    local base = caisson.recipe { extends = "sandbox", landlock = with("/tmp", "/dev/shm") }
    assert.equal("/tmp/x\n/dev/shm/x\n", (output(base, nil, script)))
    assert.equal("/tmp/x\n", (output(base, policy.mix { landlock = with "/tmp" }, script)))
    assert.equal("", (output(base, policy.mix { landlock = with "/tmp" } * policy.mix { landlock = with "/dev/shm" }, script)))
  end)

  it("narrows limits of groups", function()
    if not t.needs "root" then return end
    local base = caisson.recipe { extends = "sandbox", cgroup = { pids = { max = 100 } } }
    local script = "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 0.2 & done; wait"
    local function forks(mix) return (output(base, mix, script)):find("fork", 1, true) == nil end
    assert.is_true(forks(nil))
    assert.is_false(forks(policy.mix { cgroup = { pids = { max = 8 } } }))
    assert.is_true(forks(policy.mix { cgroup = { pids = { max = 1000 } } }))
  end)

  it("is one filter with the recipe's own, and two where one can't say it", function()
    local count = "sed -n 's/^Seccomp_filters:.//p' /proc/self/status"
    assert.equal("1\n", (output("sandbox", policy.mix { seccomp = policy.default() - "@aio" }, count)))
    assert.equal("1\n", (output("sandbox", policy.mix { seccomp = assert(policy.from_oci(policy.default():json())) }, count)))
    assert.equal("2\n", (output("sandbox", policy.mix { seccomp = policy.default():with { flags = "log" } }, count)))
  end)

  it("may know nothing of Landlock's own calls, also where denials are explained", function()
    if not t.needs "landlock" then return end
    local mix = policy.mix { seccomp = policy.new { "@system-service" } - { "mkdir", "mkdirat" },
      landlock = { execute = { "/usr", "/bin", "/lib", { path = "/lib64", optional = true } }, write = { "/tmp", "/dev/null" } } }
    local r = assert(caisson.run("sandbox", { mix = { mix }, args = { "/bin/sh", "-c", "echo x > /tmp/f && cat /tmp/f; mkdir /tmp/d" },
      stdin = "null", stdout = "capture", stderr = "null", explain = true }))
    assert.equal("x\n", r.stdout)
    local told
    for _, e in ipairs(r.explained) do if e.call and e.call:find("^mkdir") then told = e end end
    assert.same({ "EPERM", "seccomp" }, told and { told.code, told.causes[1].kind })
  end)

  it("is a file of --mix: Lua that returns a mix-in or a policy, or a profile", function()
    local dir = t.sh("mktemp -d"):match("[^\n]+")
    local function file(name, text)
      local f = assert(io.open(dir .. "/" .. name, "w"))
      f:write(text)
      f:close()
      return dir .. "/" .. name
    end
    t.sh("chmod 755 " .. dir)
    local mix = file("mix.lua", "return require('caisson').policy.mix { rlimits = { nofile = 33 } }\n")
    local rules = file("rules.lua", "local policy = require('caisson').policy\nreturn policy.default() - { 'mkdir', 'mkdirat' }\n")
    local profile = file("profile.json", (policy.default() - { "rmdir", "unlinkat" }):json())
    local r = cli.caisson { "run", "sandbox", "--mix", mix, "--mix", rules, "--mix", profile, "--", "/bin/sh", "-c",
      "ulimit -n; mkdir /tmp/x; rmdir /tmp" }
    assert.truthy(r.out == "33\n", r.out .. r.err)
    assert.truthy(r.err:find("mkdir: .*not permitted.*rmdir: .*not permitted"), r.err)
    r = cli.caisson { "plan", "sandbox", "--mix", mix }
    assert.truthy(r.out:find("nofile 33:33 +[^\n]*/mix.lua:1\n"), r.out)
    r = cli.caisson { "plan", "sandbox", "--mix", file("r.lua", "return require('caisson').recipe {}") }
    assert.equal(125, r.code)
    assert.equal("caisson: --mix: " .. dir .. "/r.lua: a mix-in, a policy or a profile expected, and this is a recipe\n", r.err)
    t.sh("rm -r " .. dir)
  end)
end)
