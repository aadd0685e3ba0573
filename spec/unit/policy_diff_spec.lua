-- Differences of policies and mix-ins, and programs as listings.
local t = require "support"
local bpf = require "caisson.policy.bpf"
local policy = require "caisson.policy"

local native = bpf.arch[t.core.seccomp.architecture()]

local function line() return debug.getinfo(2, "l").currentline end

local function of(d, name)
  for _, c in ipairs(d.calls) do if c.call == name then return c end end
end

describe("policy:diff()", function()
  local base = policy.new { "@basic-io", "getpid", { "socket", args = { { 0, "==", 1 } } }, { "socket", args = { { 0, "==", 2 } } } }

  it("is the same where the same calls happen, however that is said", function()
    for _, p in ipairs { base, base + "read", base - "mount" + {}, (base - "read") + "read",
      policy.new { "getpid", "@basic-io", { "socket", args = { { 0, "==", 2 } } }, { "socket", args = { { 0, "==", 1 } } } },
      base + { "socket", args = { { 0, "==", 1 }, { 1, "==", 3 } } } } do
      local d = base:diff(p)
      assert.equal("no difference\n", d:text())
      assert.is_true(d.same)
    end
  end)

  it("tells each call whose answer changed, and where", function()
    local other = (base - { "read", "getpid" }):answer("ENOSYS", "@mount")
      + { "mkdir" }
    local at = line() - 2
    local d = base:diff(other)
    assert.is_false(d.same)
    assert.same({ call = "read", from = "allow", to = "errno EPERM", at = "unit/policy_diff_spec.lua:" .. at,
      was_at = "unit/policy_diff_spec.lua:" .. base.from.line }, of(d, "read"))
    assert.same({ "errno EPERM", "errno ENOSYS" }, { of(d, "mount").from, of(d, "mount").to })
    assert.same({ "errno EPERM", "allow", "unit/policy_diff_spec.lua:" .. at + 1 }, { of(d, "mkdir").from, of(d, "mkdir").to, of(d, "mkdir").at })
    assert.is_nil(of(d, "write"))
    local text = d:text()
    assert.truthy(text:find("- allow -> errno EPERM: 2 calls  unit/policy_diff_spec.lua:" .. at .. "\n    getpid read\n", 1, true), text)
    assert.truthy(text:find("~ errno EPERM %-> errno ENOSYS: %d+ calls  [^\n]*\n    @mount\n"), text)
    assert.truthy(text:find("+ mkdir: errno EPERM -> allow  unit/policy_diff_spec.lua:" .. at + 1 .. "\n", 1, true), text)
  end)

  it("tells which arguments count otherwise", function()
    local narrower = base - { { "socket", args = { { 0, "==", 2 } } } }
    local c = of(base:diff(narrower), "socket")
    assert.same({ { from = "allow", to = "errno EPERM", where = "domain == AF_INET" } }, c.changes)
    c = of(narrower:diff(base), "socket")
    assert.same({ { from = "errno EPERM", to = "allow", where = "domain == AF_INET" } }, c.changes)
    c = of(base:diff(base + "socket"), "socket")
    assert.same({ { action = "allow", where = "domain in AF_UNIX, AF_INET" }, { action = "errno EPERM" } }, c.before)
    assert.same({ { action = "allow" } }, c.after)
    assert.truthy(base:diff(base + "socket"):text():find("~ socket  [^\n]*\n    was allow where domain in AF_UNIX, AF_INET\n"
      .. "        errno EPERM else\n    now allow\n"))
    local few = policy.new { "getpid", { "prctl", args = { { 0, "==", 15 } } } }
    assert.truthy((few + "prctl"):diff(few + "prctl" - { { "prctl", args = { { 0, "==", 4 } } } }):text():find(
      "~ prctl  [^\n]*\n    allow %-> errno EPERM where option == PR_SET_DUMPABLE\n"))
    -- order comparisons can't be subtracted: both are shown
    local function range(op, v) return policy.new { { "lseek", args = { { 1, op, v } } } } end
    c = of(range("<", 9):diff(range(">", 3)), "lseek")
    assert.same({ "arg1 < 9", "arg1 > 3" }, { c.before[1].where, c.after[1].where })
  end)

  it("says where only the upper halves of arguments differ", function()
    local a = policy.new { { "socket", args = { { 0, "==", 1 } } } }
    local b = policy.new { { "socket", args = { { 0, "masked", "0xffffffff", 1 } } } }
    assert.is_true(of(a:diff(b), "socket").upper)
    assert.truthy(a:diff(b):text():find("the same, but for the upper 32 bits of its arguments", 1, true))
    -- and what the default's change says is not said again
    assert.same({}, a:diff(a:with { default = "ENOSYS" }).calls)
  end)

  it("tells what is of the policy as a whole", function()
    local d = base:diff(base:with { default = "kill_process", newest = false, flags = "log", architectures = { "x86_64", "x86" } })
    local names = {}
    for i, o in ipairs(d.options) do names[i] = o.name .. " " .. tostring(o.from) .. " " .. tostring(o.to) end
    assert.same({ "default errno EPERM kill_process", "newest known false", "architectures nil x86_64 x86", "flags nil log" }, names)
    assert.is_nil(of(d, "mount"))
    assert.truthy(d:text():find("default: errno EPERM -> kill_process\n", 1, true))
  end)

  it("is JSON that says the same", function()
    local other = base - { "read" }
    local doc = require("cjson").decode(base:diff(other):json())
    assert.is_false(doc.same)
    assert.same({ "read", "allow", "errno EPERM" }, { doc.calls[1].call, doc.calls[1].from, doc.calls[1].to })
  end)

  it("fits a terminal of 80 columns", function()
    local color = require "caisson.cli.color"
    local c = setmetatable({ columns = 80, on = true }, { __index = color.of(true) })
    local d = policy.default():diff(policy.new { "@system-service", "@mount" })
    for _, text in ipairs { d:text(c), policy.default():text(c), policy.default():bpf():text(c) } do
      for l in text:gmatch("[^\n]+") do assert.is_true(color.width(l) <= 80, l) end
    end
  end)

  it("agrees with what the programs answer", function()
    local pairs_of = { { policy.default(), policy.default { capabilities = { "sys_admin" } } }, { policy.default(), base },
      { base, policy.no_setuid() - "@mount" } }
    for _, pair in ipairs(pairs_of) do
      local d, a, b = pair[1]:diff(pair[2]), bpf.decode(pair[1]:program()), bpf.decode(pair[2]:program())
      local default = d.options[1] and d.options[1].name == "default"
      for name, nr in pairs(t.core.seccomp.syscalls()) do
        local differs = false
        for _, v in ipairs { 0, 1, 2, 16, 40, 0x5412, 0x10000000, "0xffffffff" } do
          local q = { nr = nr, arch = native, args = { v, v, v, v } }
          differs = differs or bpf.value(a, q) ~= bpf.value(b, q)
        end
        local c = of(d, name)
        if differs and not c then assert.is_true(default, name) end
        if c and c.from and c.to then assert.is_true(differs, name) end
      end
    end
  end)
end)

describe("mix:diff()", function()
  it("tells each part that differs", function()
    local a = policy.mix { seccomp = policy.new { "read", "write" }, masked = { "/a", "/b" }, rlimits = { nofile = 5 },
      cgroup = { memory = { max = "64M" } }, landlock = { read = { "/x" } }, no_new_privs = true }
    local b = policy.mix { seccomp = policy.new { "read" }, masked = { "/b", "/c" }, rlimits = { nofile = 7, core = 0 },
      cgroup = { memory = { max = "32M" } }, landlock = { read = { "/x", "/y" } }, capabilities = {} }
    local d = a:diff(b)
    assert.equal([[
masked
  - /a
  + /c
cgroup
  ~ memory.max: 64M -> 32M
rlimits
  + core  0
  ~ nofile: 5 -> 7
capabilities: as it was -> none
no_new_privs: limited -> as it was
  - true
landlock
  ~ read: /x -> /x /y
seccomp
  - write: allow -> errno EPERM]] , (d:text():gsub("  was: [^\n]*", ""):gsub("\n$", "")))
    assert.is_true(a:diff(a).same)
    assert.equal("no difference\n", (a * a):diff(a):text())
    local doc = require("cjson").decode(d:json())
    assert.equal("write", doc.parts[#doc.parts].calls.calls[1].call)
  end)
end)

-- bpf_asm in small: the listing back into bytes.
local function assemble(text)
  local rows, out = {}, {}
  for l in text:gmatch("[^\n]+") do
    local label, instruction = l:match("^l(%d+):%s+(.-)%s*;")
    if not label then label, instruction = l:match("^l(%d+):%s+(.-)%s*$") end
    rows[tonumber(label) + 1] = instruction
  end
  local ops = { jeq = 0x15, jgt = 0x25, jge = 0x35, jset = 0x45, ["and"] = 0x54, ["or"] = 0x44, ret = 0x06 }
  for n, i in ipairs(rows) do
    local word, rest = i:match("^(%S+) ?(.*)$")
    local op, jt, jf, k = ops[word], 0, 0, tonumber(rest:match("#0x(%x+)") or "0", 16)
    if word == "ld" and rest:find("^%[") then op, k = 0x20, tonumber(rest:match("%d+"))
    elseif word == "jmp" then op, k = 0x05, tonumber(rest:match("%d+")) - n
    elseif rest:find("l%d+, l%d+$") then
      local yes, no = rest:match("l(%d+), l(%d+)$")
      jt, jf = yes - n, no - n
    end
    assert(op, i)
    out[n] = string.char(op % 256, 0, jt, jf, k % 256, math.floor(k / 256) % 256, math.floor(k / 65536) % 256, math.floor(k / 2 ^ 24))
  end
  return table.concat(out)
end

describe("policy:bpf()", function()
  it("is the program, as bytes and as a listing that is the same program", function()
    for _, p in ipairs { policy.default(), policy.no_setuid(), policy.new { { "read", args = { { 0, "<", 5 } } } } } do
      local b = assert(p:bpf())
      assert.equal(p:program(), b.bytes)
      assert.equal(#b.bytes / 8, #b.instructions)
      assert.equal(b.bytes, assemble(b:text()))
      assert.equal(b:text(), tostring(b))
    end
  end)

  it("says calls, arguments, constants and actions by name", function()
    local text = policy.new { "getpid", { "socket", args = { { 0, "==", 1 } } }, { "ioctl", args = { { 1, "masked", "0xffffffff",
      "0x5412" } } } }:answer({ "trace", 7 }, "read"):bpf():text()
    for _, words in ipairs { "; socket\n", "; domain == AF_UNIX\n", "; request == TIOCSTI\n", "; errno EPERM\n", "; trace 7\n",
      "; allow\n", "; kill_process\n", "; machine\n", "; number\n" } do
      assert.truthy(text:find(words, 1, true), words .. text)
    end
  end)

  it("lists a finished program too, and as JSON", function()
    local bytes = policy.default():program()
    local doc = require("caisson.json").decode(policy.bpf(bytes):json())
    assert.equal(bytes, doc.bytes)
    assert.equal(#bytes / 8, #doc.instructions)
    assert.error_matches(function() policy.bpf("xyz") end, "1 to 4096 instructions")
  end)
end)
