-- What policy:decide() understands and says; that it is the kernel's answer is in kernel/decide_spec.lua.
local t = require "support"
local policy = require "caisson.policy"
local values = require "caisson.policy.values"
local u64 = require "caisson.u64"

local function text(v, ...) return v and u64.text(v) or v, ... end

describe("values of arguments", function()
  it("are numbers, text of 64 bits, and constants by name", function()
    for said, expected in pairs { [0] = "0x0", [-1] = "0xffffffffffffffff", [-100] = "0xffffffffffffff9c", ["-100"] = "0xffffffffffffff9c",
      ["0x1F"] = "0x1f", ["18446744073709551615"] = "0xffffffffffffffff", ["0644"] = "0x1a4", AF_INET6 = "0xa",
      AT_FDCWD = "0xffffffffffffff9c", ["O_WRONLY|O_CREAT | O_EXCL"] = "0xc1", ["CLONE_NEWUSER|17"] = "0x10000011",
      TIOCSTI = "0x5412", NULL = "0x0", SIGKILL = "0x9", [true] = "0x1", [2 ^ 53] = "0x20000000000000" } do
      assert.equal(expected, (text(assert(values.parse(said), tostring(said)))), tostring(said))
    end
  end)

  it("are nothing else", function()
    for said, message in pairs { [1.5] = "a whole number", [2 ^ 60] = "a whole number", ["0x1ffffffffffffffff"] = "no number of 64 bits",
      AF_UNIXX = "no constant is called 'AF_UNIXX' (did you mean 'AF_UNIX'?)", ["AF_UNIX|"] = "'' is no number",
      [""] = "'' is no number", ["12a"] = "'12a' is no number" } do
      local v, why = values.parse(said)
      assert.is_nil(v, tostring(said))
      assert.truthy(why:find(message, 1, true), why)
    end
    assert.is_nil((values.parse({})))
  end)
end)

describe("policy:decide()", function()
  local p = policy.new {
    "@basic-io",
    { "socket", args = { { 0, "==", 1 } } },
    default = "EACCES",
  }
  local line = debug.getinfo(1, "l").currentline - 4
  local q = p - { "write" }

  it("says the action, the rule, and where that is written", function()
    local d = p:decide { "read", 0 }
    assert.same({ "allow", true, "clause", "@basic-io", "unit/decide_spec.lua:" .. line, "read", t.core.seccomp.number "read" },
      { d.action, d.permits, d.rule.kind, d.rule.word, d.at, d.call, d.number })
    assert.equal(("read(0): allow, by the rule for @basic-io (unit/decide_spec.lua:%d)"):format(line), d.text)
    d = p:decide("socket", { "AF_UNIX", "SOCK_STREAM|SOCK_CLOEXEC" })
    assert.same({ "allow", "domain == AF_UNIX", "unit/decide_spec.lua:" .. line + 1 }, { d.action, d.rule.condition, d.at })
    assert.same({ "0x1", "0x80001", "0x0", "0x0", "0x0", "0x0" }, d.args)
    assert.equal("socket(AF_UNIX, SOCK_STREAM|SOCK_CLOEXEC): allow, by the rule for socket where domain == AF_UNIX "
      .. ("(unit/decide_spec.lua:%d)"):format(line + 1), d.text)
    d = p:decide { "socket", 2 }
    assert.same({ "errno", "EACCES", 13, false, "default" }, { d.action, d.errno, d.data, d.permits, d.rule.kind })
    assert.same({ "allow where domain == AF_UNIX" }, d.rule.near)
    d = q:decide { "write", 1 }
    assert.same({ "errno", "clause", "unit/decide_spec.lua:" .. line + 5 }, { d.action, d.rule.kind, d.at })
  end)

  it("knows other reasons: another machine's calls, newer ones, and what nothing is said of", function()
    local d = p:decide { "read", arch = "aarch64" }
    assert.same({ "kill_process", "architecture" }, { d.action, d.rule.kind })
    d = policy.new({ "read", architectures = { "x86_64", "x86" } }):decide { "read", -1, arch = "x86" }
    assert.same({ "allow", 3, "0xffffffff" }, { d.action, d.number, d.args[1] })
    d = p:decide { 5000 }
    assert.same({ "errno", "ENOSYS", "newest", "5000" }, { d.action, d.errno, d.rule.kind, d.call })
    assert.equal("default", p:decide({ "mount" }).rule.kind)
    d = (p * { "write" }):decide "read"
    assert.equal("unit/decide_spec.lua:" .. debug.getinfo(1, "l").currentline - 1, d.at)
  end)

  it("knows the default policy, an OCI profile by its lines, and finished programs", function()
    local d = policy.default():decide { "ioctl", 0, "TIOCSTI" }
    assert.same({ "EPERM", "the default policy", "request == TIOCSTI" }, { d.errno, d.at, d.rule.condition })
    local path = os.tmpname()
    local f = assert(io.open(path, "w"))
    f:write('{ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [\n{ "names": ["read"],\n "action": "SCMP_ACT_LOG" },\n'
      .. '{ "names": ["write", "x]}"], "action": "SCMP_ACT_ERRNO" } ] }')
    f:close()
    local profile = assert(policy.from_oci(t.read_file(path), { file = path }))
    assert.truthy(profile:decide("write").at:find(path:match("[^/]*$") .. ":4", 1, true))
    assert.equal("log", profile:decide("read").action)
    os.remove(path)
    d = policy.decide(p:program(), { "mount" })
    assert.same({ "errno", 13, "program" }, { d.action, d.data, d.rule.kind })
  end)

  it("takes the strictest of several filters, as the kernel does", function()
    local a, b = policy.new { "read", default = "ENOSYS" }, policy.new { "read", "write", default = "EACCES" }
    assert.same({ "allow", 2 }, { policy.decide({ a, b }, "read").action, policy.decide({ a, b }, "read").filter })
    assert.same({ "ENOSYS", 1 }, { policy.decide({ a, b }, "write").errno, policy.decide({ a, b }, "write").filter })
    assert.equal("EACCES", policy.decide({ a, b }, "mount").errno)
    assert.equal("ENOSYS", policy.decide({ b, a }, "mount").errno)
    assert.equal("kill_process", policy.decide({ a, b:with { default = "kill_process" }, b }, "mount").action)
  end)

  it("shows a filter where the program stands", function()
    -- ld ip (low); jeq 5: errno 7 : allow
    local program = ("\32\0\0\0\8\0\0\0" .. "\21\0\0\1\5\0\0\0" .. "\6\0\0\0\7\0\5\0" .. "\6\0\0\0\0\0\255\127")
    assert.equal("errno", policy.decide(program, { "read", ip = 5 }).action)
    assert.equal("errno", policy.decide(program, { "read", ip = "0x5" }).action)
    assert.equal("allow", policy.decide(program, { "read", ip = "0x100000006" }).action)
    assert.equal("allow", policy.decide(program, { "read" }).action)
  end)

  it("refuses what it does not understand, at the caller's line", function()
    for message, call in pairs { ["unknown system call 'raed' (did you mean 'read'?)"] = { "raed" },
      ["unknown architecture 'x86-64' (did you mean 'x86_64'?)"] = { "read", arch = "x86-64" },
      ["unknown option 'arhc' (did you mean 'arch'?)"] = { "read", arhc = "x86" },
      ["six arguments at most"] = { "read", 1, 2, 3, 4, 5, 6, 7 },
      ["aarch64 has no system call 'open'"] = { "open", arch = "aarch64" },
      ["argument 0 of socket: no constant is called 'AF_UNX' (did you mean 'AF_UNIX'?)"] = { "socket", "AF_UNX" },
      ["a call's number is a whole number"] = { -1 } } do
      local ok, why = pcall(function()
        local _ = p:decide(call)
      end)
      assert.is_false(ok)
      assert.truthy(why:find("decide_spec.lua:%d+: policy.decide: "), why)
      assert.truthy(why:find(message, 1, true), why)
    end
    assert.has_error(function() local _ = policy.decide({}, "read") end)
  end)

  it("says conditions as people do", function()
    local function said(...) return values.conditions("socket", { ... }) end
    local function is(v) return { { 0, "==", ("0x%x"):format(v) } } end
    assert.equal("domain == AF_UNIX", said(is(1)))
    assert.equal("domain in AF_UNIX, AF_INET, AF_INET6", said(is(1), is(10), is(2)))
    assert.equal("domain in 0 to 31, AF_NFC", said({ { 0, "masked", "0xffffffe0", "0x0" } }, { { 0, "masked", "0xffffffff", "0x27" } }))
    assert.equal("domain == AF_UNIX and type != SOCK_STREAM", said { { 0, "==", "0x1" }, { 1, "!=", "0x1" } })
    assert.equal("flags without CLONE_NEWUSER", values.conditions("clone", { { { 0, "masked", "0x10000000", "0x0" } } }))
    assert.equal("arg0 < 5", values.conditions("close", { { { 0, "<", "0x5" } } }))
    assert.equal("", said({}))
  end)
end)
