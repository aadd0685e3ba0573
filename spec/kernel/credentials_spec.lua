local t = require "support"
local step = t.step

local status = [[awk '/^(Uid|Gid|Groups):/ { $1 = $1; print }' /proc/self/status]]

describe("groups, gid and uid", function()
  if not t.needs("root") then return end

  it("set all four ids each, and the groups, up to the last there is", function()
    local r = assert(t.run({ step("groups", { 7, 9, 4294967294 }), step("gid", 4294967294), step("uid", 4294967294) },
      { script = status }))
    assert.equal("Uid: 4294967294 4294967294 4294967294 4294967294\n" ..
      "Gid: 4294967294 4294967294 4294967294 4294967294\nGroups: 7 9 4294967294\n", r.output)
  end)

  it("clear the groups", function()
    local r = assert(t.run({ step("groups", { groups = {} }), step("gid", 5) }, { script = status }))
    assert.equal("Uid: 0 0 0 0\nGid: 5 5 5 5\nGroups:\n", r.output)
  end)

  it("take 65536 groups", function()
    local list, text = {}, {}
    for i = 1, 300 do list[i], text[i] = i, tostring(i) end
    local r = assert(t.run({ step("groups", list) }, { script = "grep ^Groups /proc/self/status" }))
    assert.equal("Groups:\t" .. table.concat(text, " ") .. " \n", r.output)
    for i = 301, 65536 do list[i] = i end
    assert(t.run({ step("groups", list) }, { argv = { "true" } }))
    list[65537] = 1
    local ok, message, errno = t.run { step("groups", list) }
    assert.is_nil(ok)
    assert.equal(22, errno)
    assert.matches("^step 1, groups%[1%] 1,2,3,.*,%.%.%. %(65537 in all%): the kernel takes 65536 groups: Inv", message)
  end)

  it("leave no way back: the uid is gone for good", function()
    local r = assert(t.run({ step("groups", { groups = {} }), step("gid", 1000), step("uid", 1000) },
      { script = "setpriv --reuid 0 true 2>/dev/null && echo root again; grep CapPrm /proc/self/status" }))
    assert.equal("CapPrm:\t0000000000000000\n", r.output)
  end)

  it("fail in the wrong order: groups and gid after uid", function()
    for _, late in ipairs { step("groups", { groups = {} }), step("gid", 5) } do
      local ok, _, errno, failure = t.run { step("uid", 1000), late }
      assert.is_nil(ok)
      assert.equal(1, errno)
      assert.equal(2, failure.number)
    end
  end)

  it("keep the permitted capabilities over the uid's change where asked, and only then", function()
    local show = "grep -E 'CapPrm|CapEff' /proc/self/status"
    local want = { "chown", "net_admin" }
    local function caps(keep)
      return t.run({ step("uid", { 1000, keep_capabilities = keep }), step("capabilities",
        { permitted = want, effective = want, inheritable = want, ambient = want }) }, { script = show })
    end
    assert.equal("CapPrm:\t0000000000001001\nCapEff:\t0000000000001001\n", assert(caps(true)).output)
    local ok, _, errno = caps(nil)
    assert.is_nil(ok)
    assert.equal(1, errno)
    ok = caps(false)
    assert.is_nil(ok)
  end)

  it("are ids of the container's user namespace", function()
    local map = { { 0, 100000, 1000 } }
    local r = assert(t.run({ step("clone", { "user" }), step("idmap", { uid = map, gid = map }), step("groups", { 3 }),
      step("gid", 20), step("uid", 10) }, { script = status .. "; sleep 0.01" }))
    assert.equal("Uid: 10 10 10 10\nGid: 20 20 20 20\nGroups: 3\n", r.output)
    for _, bad in ipairs { step("uid", 1000), step("gid", 1000), step("groups", { 1000 }) } do
      local ok, _, errno, failure = t.run { step("clone", { "user" }), step("idmap", { uid = map, gid = map }), bad }
      assert.is_nil(ok)
      assert.equal(22, errno)
      assert.equal(bad.step, failure.step)
    end
  end)
end)

describe("groups, gid and uid of bad input", function()
  it("are refused: -1 would mean 'unchanged'", function()
    for _, bad in ipairs { step("uid", 4294967295), step("gid", 4294967295), step("groups", { 4294967295 }),
      step("groups", { "18446744073709551615" }) } do
      local ok, message, errno = t.run { bad }
      assert.is_nil(ok)
      assert.equal(22, errno)
      assert.matches("at most 4294967294", message)
    end
  end)

  it("raise where they are no ids", function()
    for _, bad in ipairs { -1, 1.5, 4294967296, "0", "root", true, 1 / 0, 0 / 0 } do
      assert.has_error(function() t.core.check("uid", { uid = bad }) end)
      assert.has_error(function() t.core.check("gid", { gid = bad }) end)
      assert.has_error(function() t.core.check("groups", { groups = { tonumber(bad) and -1 or bad } }) end)
    end
    for _, bad in ipairs { 5, "5", { x = 1 }, { [2] = 1 } } do
      assert.has_error(function() t.core.check("groups", { groups = bad }) end)
    end
    assert.has_error(function() t.core.check("uid", { uid = 1, keep_capabilities = 1 }) end)
    assert.has_error(function() t.core.check("uid", {}) end)
  end)
end)
