local t = require "support"
local step = t.step

-- Words of a flags field, as the library describes them.
local function words_of(primitive, field)
  for _, f in ipairs(t.core.primitives[primitive].fields) do
    if f.name == field then return f.words end
  end
end

local capabilities = {}
for _, w in ipairs(words_of("capabilities", "bounding")) do
  if w ~= "all" then capabilities[#capabilities + 1] = w end
end

describe("capability names", function()
  it("are those of the kernel's header, in its order", function()
    local header = t.read_file("/usr/include/linux/capability.h")
    if not header then return pending("no kernel headers here") end
    for name, number in header:gmatch("#define CAP_(%u[%u_]+)%s+(%d+)") do
      assert.equal(name:lower(), capabilities[tonumber(number) + 1])
    end
  end)

  it("cover what this kernel has", function()
    assert.truthy(tonumber(t.read_file("/proc/sys/kernel/cap_last_cap")) <= #capabilities - 1,
      "this kernel has capabilities that caisson has no name for")
  end)

  it("are refused where unknown, naming the nearest", function()
    assert.has_error(function() t.core.check("capabilities", { effective = { "net_admn" } }) end,
      "option 'effective': unknown word 'net_admn' (did you mean 'net_admin'?)")
    for _, bad in ipairs { "CAP_CHOWN", "cap_chown", "Chown", "chown ", "", "chown\0" } do
      assert.has_error(function() t.core.check("capabilities", { bounding = { bad } }) end)
    end
    for _, bad in ipairs { { 1 }, 1, true, { chown = true }, { [2] = "chown" }, { { "chown" } } } do
      assert.has_error(function() t.core.check("capabilities", { ambient = bad }) end)
    end
    assert.has_error(function() t.core.check("capabilities", { efective = {} }) end,
      "capabilities: unknown option 'efective' (did you mean 'effective'?)")
  end)
end)

describe("capabilities", function()
  if not t.needs("userns") then return end

  local show = "awk '/^Cap/ { print $1 $2 }' /proc/self/status"
  -- { Inh, Prm, Eff, Bnd, Amb } as sets of names
  local function sets(output)
    local all = {}
    for set, hex in output:gmatch("Cap(%a+):(%x+)\n") do
      local names, n = {}, #hex
      for i = 0, 63 do
        local digit = tonumber(hex:sub(n - math.floor(i / 4), n - math.floor(i / 4)), 16)
        if math.floor(digit / 2 ^ (i % 4)) % 2 == 1 then names[#names + 1] = capabilities[i + 1] end
      end
      all[set] = table.concat(names, " ")
    end
    return all
  end
  local function run(...)
    local r, message, errno, failure = t.run(t.steps(t.contained { "user" }, ...), { script = show })
    return r and sets(r.output), message, errno, failure
  end

  it("drop all", function()
    local none = {}
    local s = assert(run(step("capabilities",
      { bounding = none, permitted = none, effective = none, inheritable = none, ambient = none })))
    assert.same({ Inh = "", Prm = "", Eff = "", Bnd = "", Amb = "" }, s)
  end)

  -- What a program has is the kernel's reckoning at exec; uid 0 gets all of the bounding set. So the sets
  -- themselves are read in a Lua step, before it.
  local function before_exec(...)
    local _, message = t.run(t.steps(t.contained { "user" }, { ... }, step("lua", { name = "look" })),
      { functions = { look = function()
        return nil, t.read_file("/proc/self/status"):match("CapInh.-CapAmb:%s*%x+\n"):gsub("[ \t]", "")
      end } })
    return sets(message)
  end

  it("set each of the five by itself", function()
    local s = before_exec(step("capabilities", { bounding = { "chown", "kill", "setuid", "bpf" },
      permitted = { "chown", "kill", "setuid" }, effective = { "kill" }, inheritable = { "chown", "setuid" },
      ambient = { "setuid" } }))
    assert.same({ Inh = "chown setuid", Prm = "chown kill setuid", Eff = "kill", Bnd = "chown kill setuid bpf",
      Amb = "setuid" }, s)
  end)

  it("leave alone what was not given", function()
    local before = before_exec()
    for field, short in pairs { bounding = "Bnd", effective = "Eff", inheritable = "Inh" } do
      local s = before_exec(step("capabilities", { [field] = { "sys_admin" } }))
      for k, v in pairs(before) do assert.equal(k == short and "sys_admin" or v, s[k], field .. ": " .. k) end
    end
  end)

  it("clear the ambient set, where it is given as empty, and otherwise not", function()
    local first = step("capabilities", { inheritable = { "chown", "kill" }, ambient = { "chown", "kill" } })
    assert.equal("chown kill", before_exec(first).Amb)
    assert.equal("", before_exec(first, step("capabilities", { ambient = {} })).Amb)
    assert.equal("kill", before_exec(first, step("capabilities", { ambient = { "kill" } })).Amb)
  end)

  it("take 'all' for every one that there is", function()
    local s = before_exec(step("capabilities", { inheritable = { "all" } }))
    assert.equal(table.concat(capabilities, " "), s.Inh)
    assert.equal(s.Inh, s.Bnd)
  end)

  it("reach the program by the ambient set, past uid 0's ways", function()
    local s = assert(run(step("securebits", { "noroot", "noroot_locked", "no_setuid_fixup", "no_setuid_fixup_locked" }),
      step("capabilities", { bounding = { "net_raw" }, permitted = { "net_raw" }, effective = { "net_raw" },
        inheritable = { "net_raw" }, ambient = { "net_raw" } })))
    assert.same({ Inh = "net_raw", Prm = "net_raw", Eff = "net_raw", Bnd = "net_raw", Amb = "net_raw" }, s)
  end)

  it("keep the inheritable set empty for a program unless asked", function()
    assert.equal("", assert(run()).Inh)
    assert.equal("", assert(run(step("capabilities", { bounding = { "chown" }, permitted = { "chown" },
      effective = { "chown" } }))).Inh)
  end)

  it("bound what uid 0 gets back at exec", function()
    local s = assert(run(step("capabilities", { bounding = { "chown", "kill" }, permitted = {}, effective = {} })))
    assert.equal("chown kill", s.Prm) -- the bounding set alone is what holds root
    assert.equal("", assert(run(step("capabilities", { bounding = {}, permitted = {}, effective = {} }))).Prm)
  end)

  it("fail, naming set and capability, for what can't be had", function()
    local drop = step("capabilities", { bounding = { "chown", "setpcap" } })
    local function fails(pattern, options)
      local ok, message, errno, failure = run(drop, step("capabilities", options))
      assert.is_nil(ok)
      assert.equal(1, errno)
      assert.matches(pattern, message)
      assert.equal(2, failure.index)
    end
    fails("bounding: kill: Operation not permitted", { bounding = { "chown", "kill" } })
    fails("ambient: kill: Operation not permitted", { ambient = { "kill" } }) -- not inheritable
    fails("effective=kill", { permitted = { "chown" }, effective = { "kill" } }) -- not permitted
    fails("inheritable=kill", { permitted = { "chown", "setpcap" }, effective = { "chown" }, inheritable = { "kill" } })
  end)

  it("can't lower the bounding set once the right to is gone", function()
    local ok, message, errno = run(step("capabilities", { permitted = { "chown" }, effective = { "chown" } }),
      step("capabilities", { bounding = { "chown" } }))
    assert.is_nil(ok)
    assert.equal(1, errno)
    assert.matches("bounding: dac_override", message)
  end)

  it("show themselves in the plan, and come back from it", function()
    local plan = t.core.plan { step("capabilities", { bounding = { "kill", "chown" }, ambient = {} }),
      step("capabilities", { inheritable = { "all" } }) }
    local s = plan:steps()
    assert.same({ bounding = { "chown", "kill" }, ambient = {} }, s[1].options)
    assert.equal("bounding=chown,kill ambient=", s[1].object)
    assert.same({ inheritable = { "all" } }, s[2].options)
  end)
end)

describe("securebits", function()
  if not t.needs("userns") then return end

  it("are set as asked, all eight of old", function()
    local words = { "noroot", "noroot_locked", "no_setuid_fixup", "no_setuid_fixup_locked", "keep_caps_locked",
      "no_cap_ambient_raise", "no_cap_ambient_raise_locked" }
    local r = assert(t.run(t.steps(t.contained { "user" }, step("securebits", words)), { script = "capsh --print" }))
    assert.matches("Securebits: 0357/0xef/", r.output)
    r = assert(t.run(t.steps(t.contained { "user" }, step("securebits", { flags = {} })), { script = "capsh --print" }))
    assert.matches("Securebits: 00/0x0/", r.output)
  end)

  it("noroot takes uid 0 its capabilities at exec", function()
    local show = "grep CapPrm /proc/self/status"
    local r = assert(t.run(t.steps(t.contained { "user" }, step("securebits", { "noroot" })), { script = show }))
    assert.equal("CapPrm:\t0000000000000000\n", r.output)
  end)

  it("keep locked what is locked", function()
    local ok, _, errno, failure = t.run(t.steps(t.contained { "user" }, step("securebits", { "noroot", "noroot_locked" }),
      step("securebits", { flags = {} })))
    assert.is_nil(ok)
    assert.same({ 1, 2 }, { errno, failure.index })
  end)

  it("need the right to", function()
    local ok, _, errno = t.run(t.steps(t.contained { "user" },
      step("capabilities", { permitted = {}, effective = {} }), step("securebits", { "noroot" })))
    assert.is_nil(ok)
    assert.equal(1, errno)
  end)

  it("are refused where unknown", function()
    for _, bad in ipairs { { "no_root" }, { "SECBIT_NOROOT" }, 1, { 1 }, true, { noroot = true } } do
      assert.has_error(function() t.core.check("securebits", { flags = bad }) end)
    end
  end)
end)
