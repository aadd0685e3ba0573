local t = require "support"
local step = t.step

local me = t.core.identity()
local clone = step("clone", { "user" })

local function fails(options, errno, pattern, extra)
  local ok, message, e, failure = t.run { clone, step("idmap", options, extra) }
  assert.is_nil(ok)
  assert.matches(pattern, message)
  assert.equal(errno, e)
  assert.equal("idmap", failure.step)
end

-- "0 1000 1\n..." as the kernel shows it, without its columns.
local function squeeze(s) return (s:gsub("[ \t]+", " "):gsub("\n ", "\n"):gsub("^ ", "")) end

describe("idmap", function()
  if not t.needs("userns") then return end

  for _, side in ipairs { "parent", "child" } do
    it("maps the caller's own ids, written by the " .. side, function()
      local r = assert(t.run({ clone, step("idmap", { uid = { { 7, me.euid, 1 } }, gid = { { 8, me.egid, 1 } },
        setgroups = "deny" }, { side = side }) },
        { script = "cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups; id -u; id -g" }))
      assert.equal(("7 %d 1\n8 %d 1\ndeny\n7\n8\n"):format(me.euid, me.egid), squeeze(r.output))
    end)
  end

  it("writes many ranges, and leaves setgroups as chosen", function()
    if not t.needs("root") then return end
    for _, word in ipairs { "allow", "deny" } do
      local r = assert(t.run({ clone, step("idmap", { uid = { { 0, 100000, 1000 }, { 1000, 0, 1 }, { 5000, 300000, 70000 } },
        gid = { { inside = 0, outside = 200000, count = 10 }, { inside = 10, outside = 0, count = 1 } }, setgroups = word }) },
        { script = "cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups" }))
      assert.equal("0 100000 1000\n1000 0 1\n5000 300000 70000\n0 200000 10\n10 0 1\n" .. word .. "\n", squeeze(r.output))
    end
  end)

  it("writes 340 lines, and refuses one more", function()
    if not t.needs("root") then return end
    local list = {}
    for i = 1, 340 do list[i] = { i, 2 * i, 1 } end
    local r = assert(t.run({ clone, step("idmap", { uid = list, gid = { { 0, 0, 1 } } }) }, { script = "wc -l < /proc/self/uid_map" }))
    assert.equal("340\n", r.output)
    list[341] = { 341, 1000, 1 }
    fails({ uid = list }, 22, "uid: the kernel takes 340 ranges")
    for i = 1, 340 do list[i] = { 4000000000 + 2 * i, 3000000000 + 2 * i, 2 } end
    list[341] = nil
    fails({ gid = list }, 22, "gid: the ranges fill more than a page")
  end)

  it("reaches the last id there is", function()
    if not t.needs("root") then return end
    local r = assert(t.run({ clone, step("idmap", { uid = { { 0, 0, 4294967295 } }, gid = { { 4294967294, 0, 1 } } }) },
      { script = "cat /proc/self/uid_map /proc/self/gid_map" }))
    assert.equal("0 0 4294967295\n4294967294 0 1\n", squeeze(r.output))
  end)

  it("names the ranges that overlap, inside or outside", function()
    fails({ uid = { { 0, 1000, 10 }, { 20, 3000, 5 }, { 9, 5000, 1 } } }, 22,
      "uid 0:1000:10 and 9:5000:1 overlap inside: Invalid argument")
    fails({ gid = { { 0, 1000, 10 }, { 20, 1009, 1 } } }, 22, "gid 0:1000:10 and 20:1009:1 overlap outside")
    fails({ uid = { { 5, 0, 1 }, { 0, 100, 4294967195 } } }, 22, "overlap inside")
  end)

  it("refuses empty ranges and such as go past the last id", function()
    fails({ uid = { { 0, 1000, 0 } } }, 22, "uid 0:1000:0 is empty")
    fails({ uid = { { 4294967295, 1000, 1 } } }, 22, "uid 4294967295:1000:1 goes past 4294967294")
    fails({ gid = { { 0, 4294967290, 6 } } }, 22, "gid 0:4294967290:6 goes past 4294967294")
  end)

  it("refuses what is no range", function()
    for _, bad in ipairs { "0 0 1", { { 0, 0 } }, { { "0", 0, 1 } }, { { 0, -1, 1 } }, { { 0, 4294967296, 1 } }, { { 0, 0, 1.5 } },
      { { 0, 0, 0 / 0 } }, { 0, 0, 1 }, { x = 1 }, true, { [2] = { 0, 0, 1 } } } do
      assert.has_error(function() t.core.check("idmap", { uid = bad }) end)
    end
    assert.has_error(function() t.core.check("idmap", { setgroups = "alow" }) end,
      "option 'setgroups': unknown word 'alow' (did you mean 'allow'?)")
    assert.has_error(function() t.core.check("idmap", { newuidmap = "a\0b" }) end)
  end)

  it("writes no map twice", function()
    local map = step("idmap", { uid = { { 0, me.euid, 1 } } })
    local ok, message, errno, failure = t.run { clone, map, map }
    assert.is_nil(ok)
    assert.same({ 1, 3, 2 }, { errno, failure.number, failure.index })
    assert.matches("uid_map", message)
  end)

  it("writes from inside but the own id", function()
    fails({ uid = { { 0, me.euid + 1, 1 } } }, 1, "from inside, and its own id alone", { side = "child" })
    fails({ uid = { { 0, me.euid, 1 }, { 1, me.euid + 1, 1 } } }, 1, "from inside", { side = "child" })
  end)
end)

describe("idmap of an ordinary user", function()
  if not t.needs("userns") then return end
  if t.is_root then return end

  it("says what more than the own id takes", function()
    fails({ uid = { { 0, me.euid + 1, 1 } } }, 1, "more than the caller's own uid takes CAP_SETUID, or newuidmap")
    fails({ uid = { { 0, me.euid, 1 } }, gid = { { 0, me.egid, 2 } }, setgroups = "deny" }, 1,
      "more than the caller's own gid takes CAP_SETGID, or newgidmap")
  end)

  it("has the helper's own words where it refuses", function()
    if t.sh("command -v newuidmap") == "" then return pending("no newuidmap (package uidmap)") end
    fails({ uid = { { 0, me.euid, 1 }, { 1, 4000000000, 7 } }, newuidmap = "/usr/bin/newuidmap" }, 1, "newuidmap: .*not allowed")
  end)

  it("fails where the helper is missing, lies, or is asked for by the child", function()
    local two = { { 0, me.euid, 1 }, { 1, 100000, 7 } }
    fails({ uid = two, newuidmap = "/no/such/helper" }, 2, "/no/such/helper")
    fails({ uid = two, newuidmap = "/bin/true" }, 1, "/bin/true")
    fails({ uid = two, newuidmap = "/usr/bin/newuidmap" }, 22, "serves the parent's side only", { side = "child" })
    assert.equal(0, t.count_children())
  end)

  it("writes its own single id without the helper", function()
    local r = assert(t.run({ clone, step("idmap", { uid = { { 0, me.euid, 1 } }, gid = { { 0, me.egid, 1 } },
      setgroups = "deny", newuidmap = "/no/such/helper", newgidmap = "/no/such/helper" }) }, { script = "id -u" }))
    assert.equal("0\n", r.output)
  end)

  it("has newuidmap and newgidmap write ranges of its own", function()
    if not t.needs("subids") then return end
    local function range(file)
      local name = t.sh("id -un"):match("%S+")
      return tonumber(("\n" .. t.read_file(file)):match("\n" .. name .. ":(%d+):"))
    end
    local u, g = range("/etc/subuid"), range("/etc/subgid")
    local fds = t.count_fds()
    local r = assert(t.run({ clone, step("idmap", { uid = { { 0, me.euid, 1 }, { 1, u, 1000 }, { 1001, u + 1000, 5 } },
      gid = { { 0, me.egid, 1 }, { 1, g, 1000 } }, newuidmap = "/usr/bin/newuidmap", newgidmap = "/usr/bin/newgidmap" }),
      step("groups", { 5, 6 }), step("gid", 30), step("uid", 40) },
      { script = "cat /proc/self/uid_map /proc/self/gid_map; awk '/^(Uid|Gid|Groups)/ { $1 = $1; print }' /proc/self/status" }))
    assert.equal(("0 %d 1\n1 %d 1000\n1001 %d 5\n0 %d 1\n1 %d 1000\nUid: 40 40 40 40\nGid: 30 30 30 30\nGroups: 5 6\n")
      :format(me.euid, u, u + 1000, me.egid, g), squeeze(r.output))
    assert.equal(fds, t.count_fds())
    assert.equal(0, t.count_children())
  end)
end)
