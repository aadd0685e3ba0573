-- What policy:decide() says is what the kernel does: both are asked about the same calls.
local t = require "support"
local policy = require "caisson.policy"
local u64 = require "caisson.u64"

local core = t.core
local folder

-- { name, number of random calls, the policy, a second way to make calls }
local function policies()
  local rules = policy.new { "@file-system", { "socket", args = { { 0, "==", 1 }, { 1, "masked", 0xf, 1 } } },
    { "socket", args = { { 0, "==", 2 } } }, { "lseek", args = { { 1, "<", "0x100000000" } } },
    { "kill", args = { { 1, ">=", 5 } } }, { "dup2", args = { { 1, "!=", 2 } } }, { "prctl", "ioctl", args = { { 1, ">",
      "0xfffffffffffffff0" } } } }
  return {
    { "the default", 400, policy.default() },
    { "the default, for capabilities", 200, policy.default { capabilities = { "sys_admin", "sys_ptrace" } } },
    { "a list with conditions", 400, rules },
    { "one that is narrowed", 300, policy.default() * rules - { { "socket", args = { { 2, "==", 7 } } } } },
    { "one of several answers", 300, rules:answer("ENOSYS", "@mount"):answer({ "errno", 7 },
      { "socket", args = { { 2, ">", 3 } } }):answer("log", "read"):answer({ "trace", 4 }, "write") },
    { "one that denies a list", 300, policy.new { default = "allow", deny = "EACCES" } - { "@mount", { "ioctl",
      args = { { 1, "masked", "0xffffffff", "0x5412" } } } } },
    { "one that is both", 300, assert(policy.both(policy.default(), (rules - "ioctl"):with { default = "EACCES" })) },
    { "one that is both, of a profile and a list", 300, assert(policy.both(assert(policy.from_oci(policy.default():json())),
      rules - "ioctl")) },
    { "one that kills", 60, policy.new { "@basic-io", "@file-system", default = "kill_process" }:answer("trap", "lseek")
      :answer("kill_thread", "@mount") },
    { "no setuid files", 300, policy.no_setuid() },
    { "a profile", 300, assert(policy.from_oci { defaultAction = "SCMP_ACT_ERRNO", defaultErrnoRet = 99, syscalls = {
      { names = { "read", "openat" }, action = "SCMP_ACT_ALLOW" },
      { names = { "clone", "personality" }, action = "SCMP_ACT_ALLOW", args = { { index = 0, value = 2080505856,
        valueTwo = 0, op = "SCMP_CMP_MASKED_EQ" } } },
      { names = { "socket" }, action = "SCMP_ACT_ERRNO", errnoRet = 22, args = { { index = 0, value = 16, op = "SCMP_CMP_EQ" },
        { index = 2, value = 9, op = "SCMP_CMP_EQ" } } } } }) },
  }
end

-- Values that conditions of a policy speak of, and those next to them.
local function interesting(p)
  local list = { "0x0", "0x1", "0x2", "0x10", "0xffffffff", "0xffffffffffffffff", "0x100000000", "0x8000000000000000" }
  for _, clauses in pairs(p.calls) do
    for _, c in ipairs(clauses) do
      for _, comparison in ipairs(c.args) do
        for k = 3, #comparison do
          local v = u64.parse(comparison[k])
          list[#list + 1] = comparison[k]
          list[#list + 1] = u64.text { v[1], (v[2] + 1) % 4294967296 }
          list[#list + 1] = u64.text { v[1] == 0 and 1 or 0, v[2] }
          list[#list + 1] = u64.text { v[1], (v[2] + 4294967295) % 4294967296 }
        end
      end
    end
  end
  return list
end

-- Calls by number: those of which the policy has conditions more often than all others, and numbers that are no calls.
local function random_calls(p, n)
  local own, others, values, list = {}, {}, interesting(p), {}
  for name in pairs(core.seccomp.syscalls()) do others[#others + 1] = name end
  for name, clauses in pairs(p.calls) do
    if core.seccomp.number(name) and #clauses[1].args > 0 then own[#own + 1] = name end
  end
  table.sort(own)
  table.sort(others)
  for i = 1, n do
    local from = #own > 0 and math.random(3) > 1 and own or others
    local number = core.seccomp.number(from[math.random(#from)])
    if math.random(30) == 1 then number = math.random(400, 600) end
    if math.random(30) == 1 and core.seccomp.architecture() == "x86_64" then number = number + 0x40000000 end
    list[i] = { number }
    for k = 2, 7 do list[i][k] = values[math.random(#values)] end
    if core.seccomp.architecture() == "x86_64" and math.random(40) == 1 then
      list[i].arch = "x86"
      for k = 2, 7 do list[i][k] = u64.text { 0, u64.parse(list[i][k])[2] } end
      list[i][7] = "0x0"
    end
  end
  return list
end

local function write(name, text)
  local f = assert(io.open(folder .. "/" .. name, "wb"))
  f:write(text)
  f:close()
  return folder .. "/" .. name
end

-- The kernel's answers: "4000" for a call that would happen, an errno, or "died".
local function ask_kernel(programs, calls)
  local lines = {}
  for i, c in ipairs(calls) do
    lines[i] = (c.arch == "x86" and "i" or "n") .. " " .. ("%.0f"):format(c[1])
    for k = 2, 7 do
      local v = u64.decimal(u64.parse(c[k]))
      lines[i] = lines[i] .. " " .. (type(v) == "number" and ("%.0f"):format(v) or v)
    end
  end
  local files, answers = {}, {}
  for i, program in ipairs(programs) do files[i] = write("program" .. i, program) end
  local out = t.sh(("%s/verdicts %s %s"):format(folder, write("queries", table.concat(lines, "\n") .. "\n"), table.concat(files, " ")))
  for word in out:gmatch("%S+") do answers[#answers + 1] = word end
  return answers
end

local function expected(d)
  if d.action == "errno" then return ("%d"):format(d.data) end
  if d.permits or d.action == "trace" or d.action == "notify" then return "4000" end
  return "died"
end

describe("policy:decide()", function()
  if not t.needs "cc" then return end
  setup(function()
    folder = t.sh("mktemp -d"):match("[^\n]+")
    assert.equal("", t.sh(("cc -O1 -o %s/verdicts spec/support/verdicts.c 2>&1"):format(folder)))
  end)
  teardown(function() os.execute("rm -rf " .. folder) end)

  for i, case in ipairs(policies()) do
    it("says of random calls what the kernel does: " .. case[1], function()
      local seed = tonumber(os.getenv("CAISSON_SEED")) or os.time() + i
      math.randomseed(seed)
      local p, calls = case[3], random_calls(case[3], case[2])
      local answers, seen, ruled = ask_kernel({ assert(p:program { cache = false }) }, calls), {}, 0
      assert.equal(#calls, #answers)
      for k, call in ipairs(calls) do
        local d = p:decide(call)
        seen[expected(d)] = true
        if d.rule.kind ~= "program" then ruled = ruled + 1 end
        if expected(d) ~= answers[k] then
          error(("seed %d: the kernel: %s; decide: %s\n%s"):format(seed, answers[k], d.text, table.concat(d.args, " ")))
        end
      end
      -- both were seen, and a rule was found for each
      assert.is_true(seen["4000"])
      assert.is_truthy(next(seen, next(seen)))
      assert.equal(#calls, ruled)
    end)
  end

  it("says of several filters what the kernel does that has them all, and policy.both is one that does the same", function()
    local seed = tonumber(os.getenv("CAISSON_SEED")) or os.time()
    math.randomseed(seed)
    local a = policy.new { "read", "write", { "socket", args = { { 0, "==", 1 } } }, "@sandbox", "@timer", default = "EACCES" }
      :answer("ENOSYS", { "@mount", "getpid" })
    local b = policy.default() - { "write", { "socket", args = { { 1, "==", 1 } } } }
    local c = policy.new { default = "allow", deny = "ENOSYS", newest = "known" } - { "getpid", "lseek", { "socket", args = { { 2, "==", 6 } } } }
    for _, list in ipairs { { a, b, c }, { b, a }, { c, b }, { a, c } } do
      local programs, both, names, calls = {}, list[1], {}, {}
      for i, p in ipairs(list) do
        programs[i] = p:program { cache = false }
        if i > 1 then both = assert(policy.both(both, p)) end
        for name in pairs(p.calls) do names[#names + 1] = core.seccomp.number(name) and name end
      end
      table.sort(names)
      for i = 1, 200 do
        calls[i] = { core.seccomp.number(i % 3 == 0 and "socket" or names[math.random(#names)]) }
        for k = 2, 7 do calls[i][k] = ("0x%x"):format(math.random(0, 7)) end
      end
      local answers, single = ask_kernel(programs, calls), ask_kernel({ both:program { cache = false } }, calls)
      assert.same({ #calls, #calls }, { #answers, #single })
      for k, call in ipairs(calls) do
        local d = policy.decide(list, call)
        assert.equal(answers[k], expected(d), ("seed %d: %s"):format(seed, d.text))
        -- of two errnos it takes the one that was chosen for the call
        local one = both:decide(call)
        assert.equal(d.permits, one.permits, ("seed %d: %s; %s"):format(seed, d.text, one.text))
        assert.equal(single[k], expected(one), ("seed %d: %s"):format(seed, one.text))
      end
    end
  end)
end)
