-- caisson policy: as it is typed, and its programs in bwrap.
local t = require "support"
local cli = require "support.cli"

local folder

local function file(name, text)
  local path = folder .. "/" .. name
  local f = assert(io.open(path, "wb"))
  f:write(text)
  f:close()
  return path
end

local function run(...) return cli.caisson { "policy", ... } end

local function said(r)
  assert.equal("", r.err)
  return r.out, r.code
end

local function json(r) return require("cjson").decode((said(r))) end

describe("caisson policy", function()
  local rules, mix, recipe
  setup(function()
    folder = t.sh("mktemp -d"):match("[^\n]+")
    t.sh("chmod 755 " .. folder)
    rules = file("rules.lua", [[
local policy = require "caisson".policy
return policy.default() - {
  "mkdir",
  "mkdirat",
}
]])
    mix = file("mix.lua", [[
local policy = require "caisson".policy
return policy.mix { seccomp = dofile("]] .. rules .. [["), rlimits = { nofile = 40 }, masked = { "/proc/meminfo" } }
]])
    recipe = file("own.lua", [[
local caisson = require "caisson"
return caisson.recipe {
  params = { strict = { "boolean", default = false } },
  build = function(p)
    return {
      extends = "sandbox",
      seccomp = p.strict and caisson.policy.default() - { "ptrace" } or caisson.policy.default(),
    }
  end,
}
]])
  end)
  teardown(function() os.execute("rm -r " .. folder) end)

  it("decides, with the rule and its line, and a status", function()
    local out, code = said(run("decide", rules, "mkdirat", "AT_FDCWD", "0", "0755"))
    assert.equal('mkdirat(AT_FDCWD, 0, 0755): errno EPERM\n  by the rule for mkdirat (' .. rules:match("[^/]*/[^/]*$") .. ":4)\n", out)
    assert.equal(1, code)
    out, code = said(run("decide", rules, "read", "0"))
    assert.equal("read(0): allow\n  by the rule for @basic-io (the default policy)\n", out)
    assert.equal(0, code)
    out = said(run("decide", "sandbox", "socket", "AF_ALG"))
    assert.equal("socket(AF_ALG): errno EPERM\n  by default: none of its rules applies (the default policy)\n"
      .. "  there is: allow where domain in 0 to 37, AF_NFC, 41 to 63\n", out)
    local d = json(run("decide", rules, "socket", "AF_UNIX", "--json"))
    assert.same({ "allow", "socket", "clause" }, { d.action, d.call, d.rule.kind })
    out = said(run("decide", "sandbox", "read", "--arch", "x86"))
    assert.truthy(out:find("kill_process", 1, true), out)
  end)

  it("takes recipes with parameters, profiles, bundles' configurations and mix-ins", function()
    assert.equal(0, run("decide", recipe, "ptrace").code)
    assert.equal(1, run("decide", recipe .. " strict=yes", "ptrace").code)
    assert.equal(1, run("decide", recipe, "mkdir", "--mix", mix).code)
    local profile = file("profile.json", said(run("show", rules, "--oci")))
    assert.equal(1, run("decide", profile, "mkdir").code)
    assert.equal("newest: true -> known\n", (said(run("diff", profile, rules))))
    t.sh(("mkdir %s/bundle %s/bundle/rootfs"):format(folder, folder))
    file("bundle/config.json", [[{ "ociVersion": "1.0.2", "root": { "path": "rootfs" }, "process": { "cwd": "/", "args": ["/x"],
      "user": { "uid": 0, "gid": 0 } }, "linux": { "namespaces": [ { "type": "mount" } ], "seccomp": { "defaultAction": "SCMP_ACT_ALLOW",
      "syscalls": [ { "names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 7 } ] } } }]])
    local out, code = said(run("decide", folder .. "/bundle", "mkdir"))
    assert.equal("mkdir(): errno E2BIG\n  by the rule for mkdir (config.json: linux.seccomp.syscalls[1])\n", out)
    assert.equal(1, code)
  end)

  it("shows all that confines", function()
    local out = said(run("show", "sandbox"))
    for _, line in ipairs { "namespaces  cgroup ipc mount net pid ", "\n  tmpfs /tmp  mode=1777 size=67108864\n", "\ncapabilities  none\n",
      "\nno_new_privs  true\n", "\n  errno ENOSYS  clone3\n", "\n  nofile  1024\n" } do
      assert.truthy(out:find(line, 1, true), line .. out)
    end
    out = said(run("show", rules))
    assert.truthy(out:find("^allow +@aio "), out)
    assert.equal("table", type(json(run("show", mix, "--json")).seccomp[1].always))
  end)

  it("tells differences, call by call and part by part", function()
    local out, code = said(run("diff", recipe, recipe, "--mix", mix))
    assert.equal(("masked\n  + /proc/meminfo\nrlimits\n  ~ nofile: 1024 -> 40\nseccomp\n  - mkdir: allow -> errno EPERM  %s:3\n"
      .. "  - mkdirat: allow -> errno EPERM  %s:4\n"):format(rules:match("[^/]*/[^/]*$"), rules:match("[^/]*/[^/]*$")), out)
    assert.equal(0, code)
    assert.equal(1, run("diff", recipe, recipe .. " strict=on", "--exit-code").code)
    assert.equal(0, run("diff", recipe, recipe, "--exit-code").code)
    assert.is_false(json(run("diff", rules, recipe, "--json")).same)
  end)

  it("says what it can't do", function()
    for message, words in pairs {
      ["unknown system call 'mkdri' (did you mean 'mkdir'?)"] = { "decide", rules, "mkdri" },
      ["decide: a system call is expected"] = { "decide", rules },
      ["argument 0 of socket: no constant is called 'AF_UNX' (did you mean 'AF_UNIX'?)"] = { "decide", rules, "socket", "AF_UNX" },
      ["diff: two recipes, bundles, profiles or policies are expected"] = { "diff", rules },
      ["no recipe is called 'nonesuch'"] = { "show", "nonesuch" },
      ["--bytes is for `caisson policy bpf`"] = { "show", rules, "--bytes" },
      ["--filter 2: " .. rules .. " has 1"] = { "bpf", rules, "--filter", "2" },
      ["it has no seccomp filter"] = { "bpf", file("none.lua", "return require 'caisson'.recipe {}") },
    } do
      local r = run((table.unpack or unpack)(words)) -- luacheck: ignore
      assert.equal(125, r.code, message)
      assert.truthy(r.err:find(message, 1, true), r.err)
    end
  end)

  describe("bpf", function()
    it("lists the program", function()
      local out = said(run("bpf", rules))
      assert.truthy(out:find("^l0:    ld %[4%] +; machine\n"), out:sub(1, 200))
    end)

    it("has bytes that bwrap loads: what is denied fails, and what is allowed works", function()
      if not t.needs "bwrap" then return end
      local program = folder .. "/program"
      assert.equal("", said(run("bpf", rules, "--bytes", "--output", program)))
      assert.equal(t.read_file(program), said(run("bpf", rules, "--bytes")))
      local out = t.sh(("cd /; bwrap --bind / / --tmpfs /tmp --seccomp 9 sh -c 'grep -s ^Seccomp: /proc/self/status; touch /tmp/f && echo touched; "
        .. "mkdir /tmp/d && echo made' 2>&1 9<%s"):format(program))
      assert.truthy(out:find("^Seccomp:\t2\ntouched\nmkdir: [^\n]*Operation not permitted\n$"), out)
      out = t.sh("cd /; bwrap --bind / / --tmpfs /tmp sh -c 'mkdir /tmp/d && echo made' 2>&1")
      assert.equal("made\n", out)
    end)
  end)
end)
