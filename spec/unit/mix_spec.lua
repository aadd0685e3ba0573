-- Mix-ins as values, and what they make of a recipe's options.
local t = require "support"
local caisson = require "caisson"
local policy = caisson.policy
local bpf = require "caisson.policy.bpf"

local root = t.is_root

local function merged(def, mixins)
  return caisson.recipe(def):merged { mix = mixins }
end

local function answer(p, name, ...)
  local program = type(p) == "string" and p or assert(p:program { cache = false })
  local action, data = bpf.run(program, { nr = t.core.seccomp.number(name), args = { ... },
    arch = bpf.arch[t.core.seccomp.architecture()] })
  return action == "errno" and action .. " " .. data or action
end

describe("policy.both", function()
  it("takes no guarantees and no more than its share", function()
    for text, cgroup in pairs { ["memory.low"] = { memory = { low = "1M" } }, ["memory.min"] = { memory = { min = "1M" } },
      ["cpu.weight"] = { cpu = { weight = 101 } }, ["cpu.shares"] = { cpu = { shares = 2000 } } } do
      local ok, message = pcall(require("caisson").policy.mix, { cgroup = cgroup })
      assert.is_false(ok)
      assert.truthy(message:find(text .. ": ", 1, true), message)
    end
    assert.truthy(require("caisson").policy.mix { cgroup = { cpu = { weight = 50 }, memory = { max = "64M" } } })
  end)

  it("answers as the kernel does where both are loaded: the stricter", function()
    local a = policy.new { "read", "write", "close", default = "ENOSYS" }:answer("log", "close"):answer("notify", "mkdir")
    local b = policy.new { "read", "close", "mkdir", default = "kill_process" }:answer("trap", "read")
    local p = assert(policy.both(a, b)):with { listener = "l" }
    assert.same({ "trap", "kill_process", "log", "notify", "kill_process" },
      { answer(p, "read"), answer(p, "write"), answer(p, "close"), answer(p, "mkdir"), answer(p, "getpid") })
  end)

  it("keeps an errno that somebody chose before one that is a default", function()
    local a = policy.new { "read" }:answer("ENOSYS", "clone3")
    local b = policy.new { "read", default = "EACCES" }
    for _, p in ipairs { assert(policy.both(a, b)), assert(policy.both(b, a)) } do
      assert.equal("errno 38", answer(p, "clone3"))
    end
  end)

  it("holds the conditions of both", function()
    local function socket(...)
      local list = {}
      for i, family in ipairs { ... } do list[i] = { "socket", args = { { 0, "==", family } } } end
      return policy.new(list)
    end
    local p = assert(policy.both(socket(1, 2), socket(2, 10)))
    assert.same({ "errno 1", "allow", "errno 1" }, { answer(p, "socket", 1), answer(p, "socket", 2), answer(p, "socket", 10) })
    p = assert(policy.both(policy.default(), socket(1, 38)))
    assert.same({ "allow", "errno 1", "errno 1" }, { answer(p, "socket", 1), answer(p, "socket", 38), answer(p, "socket", 2) })
    local deny = policy.new { default = "allow" } - { { "socket", args = { { 0, "==", 2 } } } }
    p = assert(policy.both(deny, socket(1, 2)))
    assert.same({ "allow", "errno 1", "errno 1" }, { answer(p, "socket", 1), answer(p, "socket", 2), answer(p, "read") })
  end)

  it("knows the calls and the machines that both know", function()
    local a, b = policy.new { "read", "getppid", newest = "getpid" }, policy.new { "read", "getppid", "write", newest = false }
    for _, p in ipairs { assert(policy.both(a, b)), assert(policy.both(b, a)) } do
      assert.same({ "getpid", "allow", "errno 1", "errno 38" }, { p.newest, answer(p, "read"), answer(p, "write"), answer(p, "getppid") })
    end
    local profile = assert(policy.from_oci { defaultAction = "SCMP_ACT_ERRNO", architectures = { "SCMP_ARCH_X86_64", "SCMP_ARCH_X86",
      "SCMP_ARCH_AARCH64" }, syscalls = { { names = { "read", "close" }, action = "SCMP_ACT_ALLOW" } } })
    local p = assert(policy.both(profile, policy.new { "read" }))
    assert.is_nil(p.architectures)
    assert.same({ "close", "allow", "errno 1", "errno 38" }, { p.newest, answer(p, "read"), answer(p, "close"), answer(p, "mount") })
  end)

  it("can't be where one filter has no words for it", function()
    local p, message = policy.both(policy.new { "read", flags = "log" }, policy.new { "read" })
    assert.is_nil(p)
    assert.equal("their flags differ", message)
    p, message = policy.both(policy.new { "read", newest = "getpid" }, policy.new { "read", default = "kill_process" })
    assert.is_nil(p)
    assert.equal("their newest calls differ", message)
    p, message = policy.both(policy.new { "read", architectures = { "x86_64", "x86" }, bad_architecture = "ENOSYS" },
      policy.new { "read", architectures = { "x86_64" } })
    assert.is_nil(p)
    assert.equal("their architectures differ", message)
    local function range(op, v) return policy.new { { "read", args = { { 0, op, v } } } } end
    p, message = policy.both(range("<", 9), range(">", 3))
    assert.is_nil(p)
    assert.truthy(message:find("read: argument 0: ", 1, true), message)
  end)
end)

describe("policy.mix", function()
  it("refuses what it does not understand, at the caller's line", function()
    local function refused(spec, expected)
      local ok, message = pcall(function()
        local _ = policy.mix(spec)
      end)
      assert.is_false(ok, expected)
      assert.truthy(message:find("mix_spec.lua:%d+: policy.mix: "), message)
      assert.truthy(message:find(expected, 1, true), message)
    end
    refused({ secomp = {} }, "unknown option 'secomp' (did you mean 'seccomp'?)")
    refused({ seccomp = { "read" } }, "seccomp: 'read' is no program; a list of calls is policy.new { … }")
    refused({ seccomp = { 5 } }, "seccomp: a policy, or a program as bytes, expected, got number (item 1)")
    refused({ seccomp = 5 }, "seccomp: a policy, or a list of some, expected, got number")
    refused({ landlock = { raed = {} } }, "landlock: unknown option 'raed' (did you mean 'read'?)")
    refused({ capabilities = { "net_raww" } }, "capabilities: unknown capability 'net_raww' (did you mean 'net_raw'?)")
    refused({ capabilities = { bounding = {} } }, "capabilities: a list of capabilities without holes or names expected")
    refused({ masked = "/x" }, "masked: a list of paths expected, got string")
    refused({ cgroup = { memory = { mx = 1 } } }, "cgroup: memory: unknown option 'mx' (did you mean 'max'?)")
    refused({ cgroup = { path = "x" } }, "cgroup: path: where the group is, is the recipe's to say")
    refused({ rlimits = { nofiel = 1 } }, "rlimits: ")
    refused({ limits = { tme = 1 } }, "limits: unknown option 'tme' (did you mean 'time'?)")
    refused({ namespaces = { net = "/proc/1/ns/net" } }, "namespaces: net: true expected")
    refused({ no_new_privs = false }, "no_new_privs: true expected: a mix-in only narrows")
    assert.error_matches(function() local _ = policy.mix "x" end, "policy.mix: table expected, got string")
  end)

  it("is what a recipe's option mix takes, and nothing else", function()
    local ok, message = caisson.recipe { mix = { {} } }:build { args = { "/bin/true" } }
    assert.is_nil(ok)
    assert.truthy(message:find("mix_spec.lua:%d+: mix%[1%]: a mix%-in %(policy.mix%) or a policy expected, got table"), message)
    ok, message = caisson.recipe { mix = { seccomp = policy.default() } }:build { args = { "/bin/true" } }
    assert.is_nil(ok)
    assert.truthy(message:find("mix: a list expected, got the name 'seccomp'", 1, true), message)
  end)

  it("narrows each of a recipe's options, and leaves what it does not speak of", function()
    local def = { seccomp = policy.new { "read", "write" }, capabilities = { "chown", "kill" }, hostname = "x",
      masked = { "/a" }, rlimits = { nofile = 100, core = { 5, 9 } }, limits = { time = 5 }, no_new_privs = false,
      cgroup = { memory = { max = "64M" }, pids = { max = 5 } }, landlock = { read = { "/" } },
      mounts = { { tmpfs = "/x" } }, namespaces = { mount = true, user = root and false or nil } }
    local m = policy.mix { seccomp = policy.new { "write", "close" }, capabilities = { "kill", "mknod" },
      masked = { "/b", "/a" }, rlimits = { nofile = 200, core = { 2, 20 } }, limits = { time = 9, output = 10 },
      no_new_privs = true, cgroup = { memory = { max = "32M", swap = 0 }, pids = { max = "max" } },
      landlock = { read = { "/usr" } }, mounts = { { tmpfs = "/y" } }, namespaces = { net = true } }
    local o = merged(def, { m })
    assert.same({ "errno 1", "allow", "errno 1" }, { answer(o.seccomp, "read"), answer(o.seccomp, "write"), answer(o.seccomp, "close") })
    assert.same({ "kill" }, o.capabilities)
    assert.same({ "/a", "/b" }, o.masked)
    assert.same({ nofile = 100, core = { soft = 2, hard = 9 } }, o.rlimits)
    assert.same({ time = 5, output = 10 }, o.limits)
    assert.is_true(o.no_new_privs)
    assert.same({ memory = { max = "32M", swap = 0 }, pids = { max = 5 } }, o.cgroup)
    assert.same({ { read = { "/" } }, { read = { "/usr" } } }, o.landlock)
    assert.same({ { tmpfs = "/x" }, { tmpfs = "/y" } }, o.mounts)
    assert.same({ true, true }, { o.namespaces.mount, o.namespaces.net })
    assert.equal("x", o.hostname)
    -- and the recipe's own tables are as they were
    assert.same({ "/a" }, def.masked)
    assert.same({ nofile = 100, core = { 5, 9 } }, def.rlimits)
    assert.same({ mount = true, user = root and false or nil }, def.namespaces)
  end)

  it("of a recipe is not lost where another extends it", function()
    local base = caisson.recipe { mix = policy.mix { capabilities = { "kill", "chown" } } }
    local over = caisson.recipe { extends = base, mix = policy.mix { capabilities = { "chown", "mknod" } } }
    assert.same({ "chown" }, (over:merged {}).capabilities)
    assert.same({}, (over:merged { mix = { policy.mix { capabilities = {} } } }).capabilities)
  end)

  it("may be a policy", function()
    local r = caisson.recipe { seccomp = policy.new { "read", "write" }, mix = policy.new { "write", "close" } }
    assert.same({ "errno 1", "allow" }, { answer((r:merged {}).seccomp, "read"), answer((r:merged {}).seccomp, "write") })
    assert.equal("allow", answer((caisson.recipe { mix = { policy.new { "read" } } }:merged {}).seccomp, "read"))
  end)

  it("narrows five sets of capabilities, and none of a recipe's that are not there", function()
    local m = policy.mix { capabilities = { "kill" } }
    local o = merged({ capabilities = { bounding = { "all" }, permitted = { "kill", "chown" }, ambient = { "chown" } } }, { m })
    assert.same({ bounding = { "kill" }, permitted = { "kill" }, ambient = {} }, o.capabilities)
  end)

  it("does not raise a resource limit above this process's own", function()
    local now = t.core.attributes().rlimits.nofile
    local o = merged({}, { policy.mix { rlimits = { nofile = 2 ^ 40, core = 0 } } })
    local v = o.rlimits.nofile
    assert.same({ now.soft, now.hard }, { type(v) == "table" and v.soft or v, type(v) == "table" and v.hard or v })
    assert.equal(0, o.rlimits.core)
  end)

  it("says which limits can't be compared", function()
    local function both(a, b)
      local r = caisson.recipe { cgroup = a }
      local ok, value = pcall(r.merged, r, { mix = { policy.mix { cgroup = b } } })
      return ok and value.cgroup or value
    end
    assert.same({ cpu = { max = 0.5 } }, both({ cpu = { max = 0.5 } }, { cpu = { max = "200000 100000" } }))
    assert.same({ cpuset = { cpus = "1,2" } }, both({ cpuset = { cpus = "0-2" } }, { cpuset = { cpus = "1-4" } }))
    assert.truthy(both({ cpuset = { cpus = "0" } }, { cpuset = { cpus = "1" } }):find("have none in common", 1, true))
    assert.same({ io = { max = { { device = "8:0", rbps = 5, wbps = 7 }, { device = "8:1", rbps = 1 } } } },
      both({ io = { max = { { device = "8:0", rbps = 5 } } } },
        { io = { max = { { device = "8:0", rbps = 6, wbps = 7 }, { device = "8:1", rbps = 1 } } } }))
    assert.truthy(both({ cpuset = { partition = "root" } }, { cpuset = { partition = "isolated" } })
      :find("mix_spec.lua:%d+: mix%[1%]: cgroup: cpuset.partition: both say it"))
    -- by its other name a limit would be written over
    for _, pair in ipairs { { { memory = { max = "1G" } }, { unified = { ["memory.max"] = "max" } } },
      { { unified = { ["memory.max"] = "5" } }, { memory = { max = "1G" } } } } do
      assert.matches("cgroup: unified.memory.max: it is memory.max, which the other says in these words", both(pair[1], pair[2]), 1, true)
    end
    assert.same({ memory = { max = "1G" }, unified = { ["memory.high"] = "5" } },
      both({ memory = { max = "1G" } }, { unified = { ["memory.high"] = "5" } }))
    assert.same({ unified = { ["memory.max"] = "5" } }, both({ unified = { ["memory.max"] = "max" } }, { unified = { ["memory.max"] = "5" } }))
    assert.same({ hugetlb = { ["2MB"] = "4M" } }, both({ hugetlb = { ["2MB"] = "4M" } }, { hugetlb = { ["2MB"] = "4M" } }))
    -- what a recipe can do without, a mix-in may not
    assert.same({ memory = { max = 5, optional = true }, pids = { max = 9 } },
      both({ optional = true, memory = { max = 5 } }, { pids = { max = 9 } }))
  end)

  it("of two makes one that holds both (*), or allows what either does (+)", function()
    local a = policy.mix { seccomp = policy.new { "read", "write" }, capabilities = { "kill" }, masked = { "/a", "/c" },
      rlimits = { nofile = 10, core = 0 }, landlock = { read = { "/a" }, connect = { 80 } }, cgroup = { pids = { max = 5 } } }
    local b = policy.mix { seccomp = policy.new { "write", "close" }, capabilities = { "chown" }, masked = { "/c" },
      rlimits = { nofile = 20 }, landlock = { read = { "/b" }, write = { "/w" } }, cgroup = { pids = { max = 7 } },
      no_new_privs = true }
    local both, either = a * b, a + b
    local function calls(m) return { answer(m.seccomp, "read"), answer(m.seccomp, "write"), answer(m.seccomp, "close") } end
    assert.same({ "errno 1", "allow", "errno 1" }, calls(both))
    assert.same({ "allow", "allow", "allow" }, calls(either))
    assert.same({ {}, { "chown", "kill" } }, { both.capabilities, either.capabilities })
    assert.same({ { "/a", "/c" }, { "/c" } }, { both.masked, either.masked })
    assert.same({ { nofile = 10, core = 0 }, { nofile = 20 } }, { both.rlimits, either.rlimits })
    assert.same({ { read = { "/a" }, connect = { 80 } }, { read = { "/b" }, write = { "/w" } } }, both.landlock)
    assert.same({ read = { "/a", "/b" }, write = { "/w" } }, either.landlock)
    assert.same({ 5, 7 }, { both.cgroup.pids.max, either.cgroup.pids.max })
    assert.same({ true, nil }, { both.no_new_privs, either.no_new_privs })
    assert.error_matches(function() return a + {} end, "^mix%-ins are added to mix%-ins")
  end)

  it("gives up calls, paths and capabilities (-)", function()
    local a = policy.mix { seccomp = policy.new { "read", "write" }, capabilities = { "kill", "chown" },
      landlock = { read = { "/a", "/b" }, connect = { 80, 443 } } }
    local m = a - { seccomp = { "write" }, capabilities = { "kill" }, landlock = { read = { "/a" }, connect = { 80 } } }
    assert.same({ "allow", "errno 1" }, { answer(m.seccomp, "read"), answer(m.seccomp, "write") })
    assert.same({ "chown" }, m.capabilities)
    assert.same({ read = { "/b" }, connect = { 443 } }, m.landlock)
    assert.same({ "/a", "/b" }, a.landlock.read)
    assert.error_matches(function() return a - { masked = {} } end, "can't be taken away.* 'masked'")
  end)

  it("is named by the plan as who asked for its steps", function()
    local m = policy.mix {
      rlimits = { nofile = 7 },
      landlock = { read = { "/" } },
      seccomp = policy.new { "@system-service", "execve" },
    }
    local line = debug.getinfo(1, "l").currentline - 4
    local b = assert(caisson.recipe { mix = { m } }:build { args = { "/bin/true" } })
    for step, at in pairs { rlimit = line, ["landlock.ruleset"] = line + 1, seccomp = line + 2 } do
      local s = b.plan.steps[b.plan:find(step)]
      assert.equal("unit/mix_spec.lua:" .. at, require("caisson.plan").at(s))
    end
  end)

  it("leaves it to a recipe's options to refuse what they are not", function()
    local m = policy.mix { seccomp = policy.default(), landlock = { read = { "/" } }, capabilities = {}, masked = { "/a" },
      mounts = { { tmpfs = "/x" } }, cgroup = { memory = { max = 5 } }, rlimits = { nofile = 5 }, limits = { time = 1 },
      namespaces = { net = true }, no_new_privs = true }
    for name, values in pairs { cgroup = { 5, "x", { memory = 5 }, { memory = { max = {} } } }, rlimits = { 5, { nofile = {} }, { nofile = "x" } },
      limits = { 5, { time = "x" }, { tme = 1 } }, masked = { 5, { 5 }, { x = 1 } }, mounts = { 5, { 5 }, { {} } },
      capabilities = { 5, { 5 }, { "nonesuch" }, { bounding = 5 } }, namespaces = { 5, { mount = 5 } },
      seccomp = { 5, "x", { 5 }, {} }, landlock = { 5, "x", { {} }, { raed = {} } }, no_new_privs = { "x" } } do
      for _, v in ipairs(values) do
        local def = { namespaces = { mount = true, user = not root or nil }, [name] = v }
        local ok, message = caisson.recipe(def):build { args = { "/bin/true" }, mix = { m } }
        local text = name .. " = " .. tostring(v) .. ": " .. tostring(message)
        assert.is_true(ok == nil, text)
        assert.truthy(message:find(name == "seccomp" and "seccomp" or name, 1, true), text)
        assert.is_nil(message:find("attempt to", 1, true), text)
        assert.is_nil(message:find("bad argument", 1, true), text)
      end
    end
  end)

  it("of any shape raises or is one, and never breaks in the library", function()
    local seed = tonumber(os.getenv("CAISSON_SEED")) or os.time()
    math.randomseed(seed)
    local pool = { 0, 1, -1, 2 ^ 53, 0.5, 0 / 0, 1 / 0, "", "x", "\0", "64M", "max", true, false, "/a", "net", "chown", policy.default() }
    local keys = { "read", "max", "memory", "soft", "nofile", "time", "net", "path", "access", "tmpfs", "unified", "devices" }
    local parts = { "seccomp", "landlock", "capabilities", "mounts", "masked", "readonly", "cgroup", "rlimits", "limits", "namespaces",
      "no_new_privs", "readonly_root", "limit_userns" }
    local function random(depth)
      if depth == 0 or math.random(3) == 1 then return pool[math.random(#pool)] end
      local v = {}
      for _ = 1, math.random(0, 3) do v[math.random(2) == 1 and #v + 1 or keys[math.random(#keys)]] = random(depth - 1) end
      return v
    end
    local made = {}
    for _ = 1, 600 do
      local spec = { [parts[math.random(#parts)]] = random(3), [parts[math.random(#parts)]] = random(2) }
      local ok, m = pcall(policy.mix, spec)
      if ok then
        made[#made + 1] = m
        local other = made[math.random(#made)]
        for _, operate in ipairs { function() return m * other end, function() return m + other end } do
          local fine, message = pcall(operate)
          assert.is_true(fine or message:find("policy.mix: ", 1, true) ~= nil, seed .. ": " .. tostring(message))
        end
        assert.is_string(m:diff(other):text() .. m:text())
      else
        assert.is_true(m:find("policy.mix: ", 1, true) ~= nil, seed .. ": " .. m)
      end
    end
  end)

  it("is named by the file that it is read from", function()
    local path = os.tmpname()
    local f = assert(io.open(path, "w"))
    f:write("local policy = require 'caisson.policy'\nreturn policy.mix {\n  rlimits = { nofile = 7 },\n"
      .. "  seccomp = policy.default() - 'ptrace',\n}\n")
    f:close()
    local b = assert(caisson.recipe { mix = { dofile(path) } }:build { args = { "/bin/true" } })
    local at = require("caisson.plan").at(b.plan.steps[b.plan:find("rlimit")])
    os.remove(path)
    assert.equal(path:match("[^/]*/[^/]*$"), (at:gsub(":%d+$", "")))
  end)

  it("is named by decide() where it is what denies, or allows less", function()
    local own = policy.default()
    local m = policy.mix { seccomp = policy.new { "read", "openat",
      { "socket", args = { { 0, "==", 1 } } },
    } }
    local line = debug.getinfo(1, "l").currentline - 3
    local p = (caisson.recipe { seccomp = own }:merged { mix = { m } }).seccomp
    local here = "unit/mix_spec.lua:"
    assert.equal(here .. line, p:decide("read").at)
    assert.equal(here .. line + 1, p:decide({ "socket", 1 }).at)
    assert.equal(here .. line, p:decide({ "socket", 2 }).at)
    assert.equal(here .. line, p:decide("write").at)
    assert.equal("the default policy", p:decide("clone3").at)
  end)

  it("loads a second filter where two can't be one, each so that the other can be loaded", function()
    local first, second = policy.new { "@basic-io", flags = "log" }, policy.new { "@basic-io", "seccomp" }
    local o = merged({ seccomp = first }, { policy.mix { seccomp = second } })
    assert.same({ second, first }, o.seccomp)
    local r = caisson.recipe { seccomp = first }
    local ok, message = pcall(r.merged, r, { mix = { policy.mix { seccomp = second - "seccomp" } } })
    assert.is_false(ok)
    assert.truthy(message:find("two filters, neither of which lets the other be loaded", 1, true), message)
  end)
end)
