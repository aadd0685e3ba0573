local t = require "support"
local bpf = require "caisson.policy.bpf"
local seccomp = t.core.seccomp
local unpack = table.unpack or unpack -- luacheck: ignore

local native = bpf.arch[seccomp.architecture()]

local function compile(options) return (assert(seccomp.compile(options))) end

-- What a program answers for a call of the native architecture: "errno 38".
local function ask(program, name, ...)
  local action, data = bpf.run(program, { nr = type(name) == "number" and name or seccomp.number(name), arch = native,
    args = { ... } })
  return data == 0 and action or action .. " " .. data
end

describe("seccomp.compile", function()
  it("gives each call its rule's action and all others the default", function()
    local p = compile { default = "kill_process", rules = {
      { "read", "write", action = "allow" }, { "getpid", action = "errno" },
      { "getppid", action = { "errno", "ENOSYS" } }, { "getuid", action = { "errno", 1234 } },
      { "geteuid", action = { "trace", 77 } }, { "getgid", action = "trap" }, { "getegid", action = "log" },
      { "uname", action = "notify" }, { "sync", action = "kill_thread" } } }
    assert.same({ "allow", "allow", "errno 1", "errno 38", "errno 1234", "trace 77", "trap", "log", "notify",
      "kill_thread", "kill_process" }, { ask(p, "read"), ask(p, "write"), ask(p, "getpid"), ask(p, "getppid"),
      ask(p, "getuid"), ask(p, "geteuid"), ask(p, "getgid"), ask(p, "getegid"), ask(p, "uname"), ask(p, "sync"),
      ask(p, "reboot") })
  end)

  it("kills calls of an architecture that was not asked for, or what option bad_architecture says", function()
    local other = native == bpf.arch.x86_64 and bpf.arch.aarch64 or bpf.arch.x86_64
    local rules = { { "read", action = "errno" } }
    assert.equal("kill_process", (bpf.run(compile { default = "allow", rules = rules }, { nr = 0, arch = other })))
    assert.equal("errno", (bpf.run(compile { default = "allow", rules = rules, bad_architecture = "errno" },
      { nr = 0, arch = other })))
  end)

  it("knows the numbers of every architecture asked for", function()
    local p = compile { default = "kill_process", architectures = { "x86_64", "x86", "aarch64" },
      rules = { { "getpid", action = "allow" } } }
    for arch, nr in pairs { x86_64 = 39, x86 = 20, aarch64 = 172 } do
      assert.equal("allow", (bpf.run(p, { nr = nr, arch = bpf.arch[arch] })), arch)
      assert.equal("kill_process", (bpf.run(p, { nr = nr + 1, arch = bpf.arch[arch] })), arch)
    end
  end)

  local big, bigger = "0x100000005", "0x100000006"
  for _, case in ipairs {
    -- operator, value, those that match, those that don't
    { "==", { big }, { big, "4294967301" }, { 5, "0x200000005", "0x100000004" } },
    { "!=", { big }, { 5, "0x200000005", "0x100000004", 0 }, { big } },
    { "<", { big }, { 0, 5, 6, "0x100000004" }, { big, bigger, "0x200000000", "0xffffffffffffffff" } },
    { "<=", { big }, { 0, 5, 6, "0x100000004", big }, { bigger, "0x200000000", "0xffffffffffffffff" } },
    { ">", { big }, { bigger, "0x200000000", "0xffffffffffffffff" }, { 0, 5, 6, "0xffffffff", "0x100000004", big } },
    { ">=", { big }, { big, bigger, "0x200000000", "0xffffffffffffffff" }, { 0, 5, 6, "0xffffffff", "0x100000004" } },
    { "masked", { "0xf0000000f", big:gsub("0x1", "0x1") }, { big, "0xf000000100000005", "0x1fffffff5" },
      { 5, bigger, "0x200000005", "0xf00000005" } },
    { "masked", { "0xffffffff", 5 }, { 5, big, "0xffffffff00000005" }, { 6, bigger } },
  } do
    local op, value = case[1], case[2]
    it(("compares 64 bits with %s %s"):format(op, tostring(value[1])), function()
      for index = 0, 5 do
        local p = compile { default = "errno", rules = { { "getpid", action = "allow",
          args = { { index, op, value[1], value[2] } } } } }
        for i, expected in ipairs { "allow", "errno 1" } do
          for _, v in ipairs(case[2 + i]) do
            local args = { 0, 0, 0, 0, 0, 0 }
            args[index + 1] = v
            assert.equal(expected, ask(p, "getpid", unpack(args)), ("%s %s %s"):format(tostring(v), op, value[1]))
          end
        end
      end
    end)
  end

  it("wants all comparisons of a rule, and one rule of several", function()
    local p = compile { default = "errno", rules = {
      { "getpid", action = "allow", args = { { 0, "==", 1 }, { 1, "==", 2 } } },
      { "getpid", action = "allow", args = { { 2, ">", 7 } } } } }
    assert.same({ "allow", "errno 1", "errno 1", "allow" }, { ask(p, "getpid", 1, 2, 0), ask(p, "getpid", 1, 3, 0),
      ask(p, "getpid", 2, 2, 7), ask(p, "getpid", 0, 0, 8) })
  end)

  it("answers ENOSYS above the newest call, whatever the default, and nothing else", function()
    local p = compile { default = "kill_process", newest = "openat2", rules = { { "read", "close_range",
      action = "allow" } } }
    local n = seccomp.number("openat2")
    assert.equal("kill_process", ask(p, n))
    assert.equal("errno 38", ask(p, n + 1))
    assert.equal("errno 38", ask(p, 100000))
    assert.equal("allow", ask(p, "close_range"))
    assert.equal("errno 38", ask(p, "faccessat2"))
    assert.equal("kill_process", ask(p, 0xffffffff)) -- -1: a tracer's way to skip a call
    p = compile { default = "kill_process", newest = true, rules = { { "read", "close_range", action = "allow" } } }
    assert.equal("errno 38", ask(p, seccomp.number("close_range") + 1))
    assert.equal("kill_process", ask(p, seccomp.number("close_range") - 1))
  end)

  it("counts each architecture's own newest, and keeps x32 apart", function()
    local p = compile { default = "kill_process", newest = true, architectures = { "x86_64", "x32", "x86" },
      rules = { { "getpid", "kill", action = "allow" } } }
    local function of(arch, nr) return (bpf.run(p, { nr = nr, arch = bpf.arch[arch] })) end
    assert.same({ "allow", "kill_process", "errno" }, { of("x86_64", 62), of("x86_64", 61), of("x86_64", 63) })
    assert.same({ "allow", "kill_process", "errno" }, { of("x86", 37), of("x86", 36), of("x86", 38) })
    local x32 = 0x40000000
    assert.same({ "allow", "kill_process", "errno" }, { of("x32", x32 + 62), of("x32", x32 + 61), of("x32", x32 + 63) })
    assert.equal("kill_process", of("x32", 0xffffffff))
    p = compile { default = "allow", newest = "kill", architectures = { "x86_64" }, rules = { { "read",
      action = "errno" } } }
    assert.equal("kill_process", (bpf.run(p, { nr = x32 + 1, arch = bpf.arch.x86_64 })))
  end)

  it("skips names that libseccomp does not know only when asked to, and says which", function()
    local rules = { { "read", "nonesuch", "unheard_of", action = "allow" } }
    local p, message, errno = seccomp.compile { default = "errno", rules = rules }
    assert.is_nil(p)
    assert.equal("seccomp rule 1: libseccomp knows no system call 'nonesuch': Invalid argument (EINVAL)", message)
    assert.equal(22, errno)
    local skipped
    p, skipped = assert(seccomp.compile { default = "errno", rules = rules, skip_unknown = true })
    assert.same({ "nonesuch", "unheard_of" }, skipped)
    assert.equal("allow", ask(p, "read"))
  end)

  it("takes rules that say what the default says", function()
    local p = compile { default = "errno", rules = { { "read", action = "errno" }, { "write", action = "allow" } } }
    assert.same({ "errno 1", "allow" }, { ask(p, "read"), ask(p, "write") })
  end)

  for what, case in pairs {
    ["no default"] = { { rules = {} }, "option 'default' is missing" },
    ["an unknown option"] = { { default = "allow", rule = {} }, "unknown option 'rule' %(did you mean 'rules'%?%)" },
    ["an unknown action"] = { { default = "alow" }, "unknown word 'alow' %(did you mean 'allow'%?%)" },
    ["an action that is no word"] = { { default = 5 }, "a word expected, got number" },
    ["a number for an action without one"] = { { default = { "allow", 5 } }, "{\"errno\", errno} or" },
    ["an unknown errno"] = { { default = { "errno", "EWHAT" } }, "an errno such as 'ENOSYS'" },
    ["too large an errno"] = { { default = { "errno", 4095 } }, "a number to 4094" },
    ["too large a trace number"] = { { default = { "trace", 65536 } }, "at most 65535" },
    ["an action with too much"] = { { default = { "errno", 1, 2 } }, "{\"errno\", errno} or" },
    ["rules that are no table"] = { { default = "allow", rules = "read" }, "option 'rules': table expected" },
    ["a rule that is no table"] = { { default = "allow", rules = { "read" } }, "table expected, got string" },
    ["a rule without names"] = { { default = "allow", rules = { { action = "errno" } } },
      "rule 1 names no system call" },
    ["a rule without action"] = { { default = "allow", rules = { { "read" } } }, "rule 1: option 'action' is missing" },
    ["a misspelt option of a rule"] = { { default = "allow", rules = { { "read", actoin = "errno" } } },
      "rules: unknown option 'actoin' %(did you mean 'action'%?%)" },
    ["a hole in a rule"] = { { default = "allow", rules = { { "read", nil, "write", action = "errno" } } },
      "without holes" },
    ["a name that is a number"] = { { default = "allow", rules = { { 5, action = "errno" } } },
      "name of a system call expected" },
    ["a name with a NUL"] = { { default = "allow", rules = { { "read\0", action = "errno" } } },
      "name of a system call expected" },
    ["args that are no list"] = { { default = "allow", rules = { { "read", action = "errno", args = 1 } } },
      "option 'args': table" },
    ["an argument that is no table"] = { { default = "allow", rules = { { "read", action = "errno", args = { 1 } } } },
      "a list of {index, operator, value} expected" },
    ["a seventh argument"] = { { default = "allow", rules = { { "read", action = "errno", args = { { 6, "==",
      1 } } } } },
      "index is 0 to 5" },
    ["an unknown operator"] = { { default = "allow", rules = { { "read", action = "errno", args = { { 0, "=",
      1 } } } } },
      "unknown word '='" },
    ["a missing value"] = { { default = "allow", rules = { { "read", action = "errno", args = { { 0, "==" } } } } },
      "number expected, got nil" },
    ["a value too many"] = { { default = "allow", rules = { { "read", action = "errno", args = { { 0, "==", 1,
      2 } } } } },
      "{index, operator, value} or" },
    ["a negative value"] = { { default = "allow", rules = { { "read", action = "errno", args = { { 0, "==",
      -1 } } } } },
      "a whole number from 0" },
    ["a fraction"] = { { default = "allow", rules = { { "read", action = "errno", args = { { 0, "==", 0.5 } } } } },
      "a whole number from 0" },
    ["65 bits"] = { { default = "allow", rules = { { "read", action = "errno", args = { { 0, "==",
      "0x10000000000000000" } } } } },
      "no number of 64 bits" },
    ["half a hexadecimal number"] = { { default = "allow", rules = { { "read", action = "errno", args = { { 0, "==",
      "0x" } } } } },
      "no number of 64 bits" },
    ["a signed hexadecimal number"] = { { default = "allow", rules = { { "read", action = "errno", args = { { 0, "==",
      "0x-1" } } } } },
      "no number of 64 bits" },
    ["a masked value outside its mask"] = { { default = "allow",
      rules = { { "read", action = "errno", args = { { 0, "masked", 1, 2 } } } } }, "bits outside its mask" },
    ["an argument compared twice"] = { { default = "allow",
      rules = { { "read", action = "errno", args = { { 0, ">", 1 }, { 0, "<", 5 } } } } },
        "argument 0 is compared twice" },
    ["an unknown architecture"] = { { default = "allow", architectures = { "x86-64" } },
      "unknown word 'x86%-64' %(did you mean 'x86_64'%?%)" },
    ["no architecture"] = { { default = "allow", architectures = {} }, "1 to 16 expected" },
    ["one architecture twice"] = { { default = "allow", architectures = { "x86_64", "x86_64" } }, "named twice" },
    ["newest as a number"] = { { default = "allow", newest = 5 }, "a name, or true, expected" },
  } do
    it("refuses " .. what, function() assert.error_matches(function() seccomp.compile(case[1]) end, case[2]) end)
  end

  it("answers with an error where libseccomp refuses", function()
    local p, message, errno = seccomp.compile { default = "allow", newest = "nonesuch" }
    assert.same({ nil, "option 'newest': libseccomp has no number for 'nonesuch': Invalid argument (EINVAL)", 22 },
      { p, message, errno })
  end)

  -- What libseccomp makes of such rules by itself, if it comes to an end at all, is something else.
  describe("asks rules in their order:", function()
    local function rule(action, ...) return { "read", action = action, args = { ... } } end

    for what, case in pairs {
      ["a condition before no condition"] = { { rule("log", { 0, "==", 1 }), rule("errno") }, "log", "errno 1",
        "errno 1" },
      ["the default on a condition, something else without"] = { { rule("allow", { 0, "==", 1 }), rule("errno") },
        "allow", "errno 1", "errno 1" },
      ["conditions that overlap"] = { { rule("trap", { 0, "<", 2 }), rule("errno", { 0, "<", 3 }), rule("log", { 0,
        "<=", 3 }) },
        "trap", "errno 1", "log" },
      ["the same condition twice"] = { { rule("trap", { 0, "==", 1 }), rule("errno", { 0, "==", 1 }) }, "trap",
        "allow", "allow" },
      ["several != (which hang libseccomp 2.5.4)"] = { { rule("errno", { 1, "!=", 0 }, { 2, "!=", 5 }),
        rule("errno", { 1, "!=", 0 }, { 2, "!=", 6 }), rule("log", { 0, "!=", 1 }, { 3, "!=", 1 }) }, "allow", "log",
          "log" },
      ["equalities of several actions"] = { { rule("trap", { 0, "==", 1 }), rule("errno", { 0, "masked", 3, 2 }),
        rule("trap", { 0, "==", 2 }), rule("log", { 0, "masked", 2, 2 }) }, "trap", "errno 1", "log" },
    } do
      it(what, function()
        local p = compile { default = "allow", rules = case[1] }
        assert.same({ case[2], case[3], case[4] }, { ask(p, "read", 1), ask(p, "read", 2), ask(p, "read", 3) })
        assert.equal("allow", ask(p, "write", 1))
        assert.equal("kill_process", (bpf.run(p, { nr = 0, arch = 1 })))
      end)
    end

    it("for each call by itself", function()
      local p = compile { default = "kill_process", rules = { { "read", "write", action = "errno", args = { { 0, "==",
        1 } } },
        { "write", "close", action = "trap" }, { "read", action = "log", args = { { 0, ">", 5 } } } } }
      assert.same({ "errno 1", "errno 1", "trap", "trap", "log", "kill_process" }, { ask(p, "read", 1), ask(p,
        "write", 1),
        ask(p, "write", 2), ask(p, "close", 1), ask(p, "read", 6), ask(p, "read", 2) })
    end)

    it("whatever trace numbers they use", function()
      local p = compile { default = { "trace", 0 }, rules = { rule({ "trace", 1 }, { 0, "==", 1 }), rule({ "trace",
        2 }, { 0, "<", 3 }),
        rule({ "trace", 3 }) } }
      assert.same({ "trace 1", "trace 2", "trace 3", "trace" }, { ask(p, "read", 1), ask(p, "read", 2), ask(p, "read",
        3),
        ask(p, "write") })
    end)

    it("refusing one that is never asked", function()
      local p, message, errno = seccomp.compile { default = "allow", rules = { rule("errno"), rule("log", { 0, "==",
        1 }) } }
      assert.is_nil(p)
      assert.equal("seccomp rule 2: read: never asked, since rule 1 always decides: File exists (EEXIST)", message)
      assert.equal(17, errno)
      assert(seccomp.compile { default = "allow", rules = { rule("errno"), rule("errno", { 0, "==", 1 }),
        rule("errno") } })
    end)

    it("up to a limit", function()
      local rules = {}
      for i = 1, 300 do rules[i] = rule(i % 2 == 0 and "errno" or "log", { 0, "<", i }) end
      local p, message, errno = seccomp.compile { default = "allow", rules = rules }
      assert.is_nil(p)
      assert.matches("too many rules for one call: Argument list too long", message)
      assert.equal(7, errno)
    end)
  end)

  it("has room for 4095 instructions", function()
    local rules = {}
    for i = 1, 2000 do rules[i] = { "read", action = "errno", args = { { 0, "==", i }, { 1, "==", i * 3 } } } end
    local p, message, errno = seccomp.compile { default = "allow", rules = rules }
    assert.is_nil(p)
    assert.matches("the seccomp program has more than 4095 instructions: Argument list too long", message)
    assert.equal(7, errno)
  end)

  it("leaves no descriptor behind, whatever happens", function()
    collectgarbage()
    collectgarbage()
    local before = t.count_fds()
    for _ = 1, 50 do
      pcall(seccomp.compile, { default = "allow", rules = { { "read", action = "errno" }, { "read" } } })
      seccomp.compile { default = "allow", rules = { { "nonesuch", action = "errno" } } }
      seccomp.compile { default = "allow", rules = { { "read", action = "errno" } } }
    end
    collectgarbage()
    collectgarbage()
    assert.equal(before, t.count_fds())
  end)
end)

describe("seccomp's queries", function()
  it("know names and numbers", function()
    assert.equal(39, seccomp.number("getpid", "x86_64"))
    assert.equal(20, seccomp.number("getpid", "x86"))
    assert.is_nil(seccomp.number("nonesuch"))
    assert.is_nil(seccomp.number("socketcall", "x86_64"))
    assert.is_true(seccomp.known("socketcall"))
    assert.is_false(seccomp.known("nonesuch"))
    assert.equal(62, seccomp.syscalls("x86_64").kill)
    assert.equal(0x40000000 + 62, seccomp.syscalls("x32").kill)
    assert.matches("^2%.%d+%.%d+$", seccomp.version())
  end)

  it("know what this kernel loads", function()
    local f = seccomp.features()
    assert.same({ "kill_process", "kill_thread", "trap", "errno", "notify", "trace", "log", "allow" }, f.actions)
    for _, flag in ipairs(f.flags) do assert.matches("^[%w_]+$", flag) end
    assert.equal(seccomp.architecture(), f.architecture)
  end)
end)
