-- Device rules: the program that v2 is given is run here, instruction by instruction, and the files that v1 is given
-- are read as the kernel reads them; both must say what the rules mean.
local core = require "caisson.core"
local devices = require "caisson.cgroup.devices"

-- ---- what the rules mean, bit by bit ----

local function allowed(rules, kind, major, minor, access)
  for bit in access:gmatch(".") do
    local yes = false
    for _, r in ipairs(rules) do
      if (r.type == "a" or r.type == kind) and (r.major == "*" or r.major == major)
        and (r.minor == "*" or r.minor == minor) and r.access:find(bit, 1, true) then
        yes = r.allow
      end
    end
    if not yes then return false end
  end
  return true
end

-- ---- the program ----

local function band(a, b)
  local r, p = 0, 1
  while a > 0 and b > 0 do
    if a % 2 == 1 and b % 2 == 1 then r = r + p end
    a, b, p = math.floor(a / 2), math.floor(b / 2), p * 2
  end
  return r
end

local function run(program, kind, major, minor, access)
  local asked = (access:find("m") and 1 or 0) + (access:find("r") and 2 or 0) + (access:find("w") and 4 or 0)
  local context = { [0] = asked * 65536 + (kind == "b" and 1 or 2), [4] = major, [8] = minor }
  local r, at, steps = {}, 0, 0
  while true do
    assert.is_true(at >= 0 and at < #program / 8, "left the program")
    steps = steps + 1
    assert.is_true(steps <= #program / 8, "a loop")
    local code, registers, o1, o2, i1, i2, i3, i4 = program:byte(at * 8 + 1, at * 8 + 8)
    local dst, src, off = registers % 16, math.floor(registers / 16), o1 + o2 * 256
    local imm = i1 + i2 * 256 + i3 * 65536 + i4 * 16777216
    assert.is_true(off < 32768, "backwards")
    if code == 0x61 then
      assert.equal(1, src)
      r[dst] = assert(context[off])
    elseif code == 0xbf then r[dst] = assert(r[src])
    elseif code == 0xb7 then r[dst] = imm
    elseif code == 0x74 then r[dst] = math.floor(r[dst] / 2 ^ imm)
    elseif code == 0x54 then r[dst] = band(r[dst], imm)
    elseif code == 0x55 then if r[dst] ~= imm then at = at + off end
    elseif code == 0x15 then if r[dst] == imm then at = at + off end
    elseif code == 0x95 then return r[0] == 1
    else error(("instruction 0x%x"):format(code)) end
    at = at + 1
  end
end

-- ---- v1 ----

-- As security/device_cgroup.c does it: writes to a state { allowed, list }.
local function write(state, file, value)
  local allow = file == "devices.allow"
  if value == "a" then
    state.allowed, state.list = allow, {}
  elseif allow ~= state.allowed then
    local device, access = value:match("^(%S+ %S+) (%S+)$")
    state.list[device] = (state.list[device] or "") .. access
  else
    local device, access = value:match("^(%S+ %S+) (%S+)$")
    if state.list[device] then
      state.list[device] = state.list[device]:gsub("[" .. access .. "]", "")
      if state.list[device] == "" then state.list[device] = nil end
    end
  end
end

local function v1_allows(state, kind, major, minor, access)
  for bit in access:gmatch(".") do
    local found = false
    for device, bits in pairs(state.list) do
      local t, a, i = device:match("^(.) (.-):(.*)$")
      found = found or t == kind and (a == "*" or tonumber(a) == major) and (i == "*" or tonumber(i) == minor)
        and bits:find(bit, 1, true) ~= nil
    end
    if found == state.allowed then return false end
  end
  return true
end

local function list_text(state)
  if state.allowed then return "a *:* rwm\n" end
  local lines = {}
  for device, access in pairs(state.list) do lines[#lines + 1] = device .. " " .. access .. "\n" end
  return table.concat(lines)
end

local tables = {
  {},
  { { allow = true, type = "c", major = 10, minor = 229, access = "rw" } },
  { { allow = false, type = "c", major = 5, minor = 0 } },
  { { allow = true, type = "c", access = "m" }, { allow = true, type = "b", access = "m" } },
  { { allow = true, type = "b", major = 8 }, { allow = true, type = "b", minor = 3, access = "r" } },
  { { allow = true, type = "a", access = "m" } },
  { { allow = false }, { allow = true, type = "c", major = 1, minor = 3 } },
  { { allow = true } },
  { { allow = true }, { allow = false, type = "b" }, { allow = false, type = "c", major = 1, minor = 1, access = "w" } },
  { { allow = false } },
  { { allow = true, type = "c", major = 10 }, { allow = false, type = "c" } },
  { { allow = true, type = "c", major = 1, minor = 9, access = "r" }, { allow = false, type = "c", major = 1, minor = 9,
    access = "wm" } },
}
-- v1 has no words for these
local only_v2 = {
  { { allow = true, type = "c" }, { allow = false, type = "c", major = 1, minor = 1 } },
  { { allow = true, type = "b", major = 8 }, { allow = false, type = "b", minor = 3, access = "r" } },
  { { allow = false, type = "c", major = 136, minor = 7 } },
}

local kinds, majors, minors = { "b", "c" }, { 1, 5, 8, 10, 136 }, { 0, 1, 3, 7, 9, 229 }
local accesses = { "r", "w", "m", "rw", "rwm" }

local function each(fn)
  for _, kind in ipairs(kinds) do
    for _, major in ipairs(majors) do
      for _, minor in ipairs(minors) do
        for _, access in ipairs(accesses) do
          fn(kind, major, minor, access)
        end
      end
    end
  end
end

describe("device rules", function()
  it("deny what is no default, and allow the defaults", function()
    local rules = devices.all {}
    assert.is_true(allowed(rules, "c", 1, 3, "rwm"))
    assert.is_true(allowed(rules, "c", 136, 77, "rw"))
    assert.is_false(allowed(rules, "c", 1, 1, "m"))
    assert.is_false(allowed(rules, "c", 1, 1, "r"))
    assert.is_false(allowed(rules, "b", 1, 3, "r"))
  end)

  it("are a v2 program that answers as they say", function()
    for _, list in ipairs { tables, only_v2 } do
      for i, t in ipairs(list) do
        local rules = devices.all(t)
        local program = assert(core.cgroup.device_program(devices.texts(rules)))
        each(function(kind, major, minor, access)
          local want = allowed(rules, kind, major, minor, access)
          if run(program, kind, major, minor, access) ~= want then
            error(("table %d: %s %d:%d %s is not %s"):format(i, kind, major, minor, access, tostring(want)))
          end
        end)
      end
    end
  end)

  it("are v1 files that answer as they say", function()
    for i, t in ipairs(tables) do
      local rules, state = devices.all(t), { allowed = true, list = {} }
      for _, w in ipairs(devices.writes_v1(rules)) do write(state, w[1], w[2]) end
      each(function(kind, major, minor, access)
        assert.equal(allowed(rules, kind, major, minor, access), v1_allows(state, kind, major, minor, access),
          ("table %d: %s %d:%d %s"):format(i, kind, major, minor, access))
      end)
    end
    for _, t in ipairs(only_v2) do
      local ok, e = pcall(devices.writes_v1, devices.all(t))
      assert.is_false(ok)
      assert.equal("devices[" .. #t .. "]", e.key)
      assert.truthy(e.message:find("cgroup v1 can't take", 1, true))
    end
  end)

  it("change on v1 from any to any other without a moment in which more is allowed than by both", function()
    local function state_of(rules)
      local state = { allowed = true, list = {} }
      for _, w in ipairs(devices.writes_v1(rules)) do write(state, w[1], w[2]) end
      return state
    end
    local refused = 0
    for _, from in ipairs(tables) do
      for _, to in ipairs(tables) do
        local before, after = devices.all(from), devices.all(to)
        local state = state_of(before)
        local writes, message = devices.change_v1(list_text(state), after)
        if not writes then
          assert.truthy(message:find("for a moment", 1, true))
          refused = refused + 1
        else
          for _, w in ipairs(writes) do
            write(state, w[1], w[2])
            each(function(kind, major, minor, access)
              if not state.allowed and v1_allows(state, kind, major, minor, access) then
                for bit in access:gmatch(".") do
                  assert.is_true(allowed(before, kind, major, minor, bit) or allowed(after, kind, major, minor, bit))
                end
              end
            end)
          end
          each(function(kind, major, minor, access)
            assert.equal(allowed(after, kind, major, minor, access), v1_allows(state, kind, major, minor, access))
          end)
        end
      end
    end
    assert.equal(#tables, refused) -- to the one that allows all but a few
  end)

  it("allow the recipe's own nodes", function()
    local nodes = devices.of_nodes { "default", "/dev/null", { path = "/dev/fuse", major = 10, minor = 229 },
      { path = "/dev/sda", type = "block", major = 8, minor = 0 }, { path = "/dev/pipe", type = "fifo" } }
    assert.same({ "allow c 10:229 rwm", "allow b 8:0 rwm" }, devices.texts(nodes))
    local rules = devices.all({ { allow = false, type = "c", major = 10 } }, nodes)
    assert.is_true(allowed(rules, "b", 8, 0, "rw"))
    assert.is_false(allowed(rules, "c", 10, 229, "r")) -- the table has the last word
  end)

  it("are what is refused otherwise, by name", function()
    local function refuse(t, key, message)
      local ok, e = pcall(devices.check, t)
      assert.is_false(ok)
      assert.equal(key, e.key)
      assert.truthy(e.message:find(message, 1, true), e.message)
    end
    refuse(5, "devices", "a list of rules expected")
    refuse({ allow = true }, "devices", "unknown option 'allow'")
    refuse({ 5 }, "devices[1]", "got number")
    refuse({ {} }, "devices[1].allow", "true or false expected")
    refuse({ { allow = true, typ = "c" } }, "devices[1]", "unknown option 'typ' (did you mean 'type'?)")
    refuse({ { allow = true, type = "x" } }, "devices[1].type", "'a', 'b' or 'c'")
    refuse({ { allow = true, type = "c", major = -1 } }, "devices[1].major", "from 0 to 4095")
    refuse({ { allow = true, type = "c", major = 4096 } }, "devices[1].major", "from 0 to 4095")
    refuse({ { allow = true, type = "c", minor = 1.5 } }, "devices[1].minor", "from 0 to 1048575")
    refuse({ { allow = true, type = "c", minor = "1" } }, "devices[1].minor", "or '*'")
    refuse({ { allow = true, access = "" } }, "devices[1].access", "some of 'rwm'")
    refuse({ { allow = true, access = "rr" } }, "devices[1].access", "some of 'rwm'")
    refuse({ { allow = true, access = "x" } }, "devices[1].access", "some of 'rwm'")
    refuse({ optional = 1 }, "devices.optional", "true or false")
    for _, text in ipairs { "", "allow", "allow x", "allowc 1:3 r", "deny c 1 r", "allow c 1:3", "allow c 1:3 rr",
      "allow c 1:3 x", "allow c :3 r", "allow c 9999999999:3 r", "allow c 1:3 r ", "permit a" } do
      local program, _, errno = core.cgroup.device_program { text }
      assert.is_nil(program, text)
      assert.equal(core.errno.EINVAL, errno)
    end
    local many = {}
    for i = 1, 1000 do many[i] = ("allow c 1:%d r"):format(i) end
    local program, message, errno = core.cgroup.device_program(many)
    assert.is_nil(program)
    assert.equal(core.errno.E2BIG, errno)
    assert.truthy(message:find("too many rules", 1, true))
  end)
end)
