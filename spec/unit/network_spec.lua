local t = require "support"
local caisson = require "caisson"
local core = t.core

local function le(n, bytes)
  local s = {}
  for i = 1, bytes do s[i], n = string.char(n % 256), math.floor(n / 256) end
  return table.concat(s)
end

local function pad(s) return s .. ("\0"):rep(-#s % 4) end
local function attribute(type, data) return pad(le(4 + #data, 2) .. le(type, 2) .. data) end
local function message(type, body, flags) return pad(le(16 + #body, 4) .. le(type, 2) .. le(flags or 0, 2) .. le(1, 4) .. le(0, 4) .. body) end

-- What a kernel says, of each kind that is decoded.
local samples = {
  link = message(16, "\0\0" .. le(1, 2) .. le(7, 4) .. le(1, 4) .. le(0, 4) .. attribute(3, "eth0\0") .. attribute(4, le(1400, 4))
    .. attribute(1, "\2\66\10\0\0\2") .. attribute(10, le(3, 4)) .. attribute(18, attribute(1, "veth\0") .. attribute(5, attribute(4, "\1")))),
  address = message(20, "\2\24\128\0" .. le(7, 4) .. attribute(1, "\10\0\0\2") .. attribute(2, "\10\0\0\2") .. attribute(8, le(128, 4))),
  route = message(24, "\2\16\0\0\254\4\0\1" .. le(0, 4) .. attribute(1, "\10\1\0\0") .. attribute(5, "\10\0\0\1") .. attribute(4, le(7, 4))),
  error = message(2, le(4294967295 - 16, 4) .. le(20, 4) .. ("\0"):rep(12) .. attribute(1, "no such\1thing\0"), 0x300),
  done = message(3, le(0, 4)),
}

describe("netlink.decode", function()
  local decode = core.netlink.decode

  it("reads links, addresses, routes, errors and the end", function()
    assert.same({ { type = "link", index = 7, up = true, name = "eth0", mtu = 1400, mac = "02:42:0a:00:00:02", bridge = 3,
      kind = "veth", hairpin = true } }, decode(samples.link))
    assert.same({ { type = "address", index = 7, family = "inet", address = "10.0.0.2/24", global = true, permanent = true,
      tentative = false } }, decode(samples.address))
    assert.same({ { type = "route", family = "inet", to = "10.1.0.0/16", via = "10.0.0.1", index = 7, table = 254, unicast = true } },
      decode(samples.route))
    assert.same({ { type = "error", errno = 17, message = "no such?thing" } }, decode(samples.error))
    assert.same({ { type = "done" } }, decode(samples.done))
    assert.same({ "link", "route", "done" }, (function()
      local types = {}
      for i, m in ipairs(decode(samples.link .. samples.route .. samples.done)) do types[i] = m.type end
      return types
    end)())
    assert.same({}, decode "")
  end)

  it("takes nothing that is cut short", function()
    for name, s in pairs(samples) do
      for n = 1, #s - 1 do
        local list, message_, errno = decode(s:sub(1, n))
        -- the padding behind the last attribute may be missing
        if list then
          assert.is_true(n > #s - 4, name .. " " .. n)
        else
          assert.equal("netlink: malformed: Bad message (EBADMSG)", message_)
          assert.equal(core.errno.EBADMSG, errno)
        end
      end
    end
  end)

  it("believes no length", function()
    for _, s in pairs(samples) do
      -- of the message, and of each attribute: too short for itself, past the end, huge
      for at = 1, #s - 1, 2 do
        for _, length in ipairs { 0, 1, 3, 15, 17, 255, 65535 } do
          local list, message_ = decode(s:sub(1, at - 1) .. le(length, 2) .. s:sub(at + 2))
          assert.is_true(type(list) == "table" or message_ ~= nil)
        end
      end
    end
    assert.is_nil((decode(le(15, 4) .. samples.done:sub(5))))
    assert.is_nil((decode(le(0, 4) .. samples.done:sub(5))))
    assert.is_nil((decode(le(4294967295, 4) .. samples.done:sub(5))))
  end)

  it("reads no attribute past its message", function()
    local head = "\0\0" .. le(1, 2) .. le(7, 4) .. le(1, 4) .. le(0, 4)
    for _, length in ipairs { 0, 1, 3, 13, 14, 200, 65535 } do
      local list, message_ = decode(message(16, head .. le(length, 2) .. le(3, 2) .. "eth0\0\0\0\0") .. samples.done)
      assert.is_nil(list, length)
      assert.equal("netlink: malformed: Bad message (EBADMSG)", message_)
      -- of one inside another nothing is taken
      list = decode(message(16, head .. attribute(18, le(length, 2) .. le(1, 2) .. "veth\0\0\0\0")) .. samples.done)
      assert.is_nil(list[1].kind, length)
      -- an error's words
      list = decode(message(2, le(4294967295 - 16, 4) .. le(20, 4) .. ("\0"):rep(12) .. le(length, 2) .. le(1, 2) .. "secret\0\0", 0x300))
      assert.is_nil(list, length)
      -- the request that it carries
      list = decode(message(2, le(4294967295 - 16, 4) .. le(length + 21, 4) .. ("\0"):rep(12), 0))
      assert.is_nil(list, length)
    end
  end)

  it("survives garbage", function()
    math.randomseed(42)
    local all = {}
    for _, name in ipairs { "link", "address", "route", "error", "done" } do all[#all + 1] = samples[name] end
    for _ = 1, 20000 do
      local s = all[math.random(#all)]
      for _ = 1, math.random(4) do
        local at = math.random(#s)
        s = s:sub(1, at - 1) .. string.char(math.random(0, 255)) .. s:sub(at + 1)
      end
      if math.random(3) == 1 then s = s:sub(1, math.random(#s)) end
      local list, message_, errno = decode(s)
      assert(list or message_ and errno == core.errno.EBADMSG)
    end
    for _ = 1, 2000 do
      local bytes = {}
      for i = 1, math.random(64) do bytes[i] = string.char(math.random(0, 255)) end
      decode(table.concat(bytes))
    end
  end)
end)

describe("address.parse", function()
  it("reads what is an address", function()
    for text, is in pairs {
      ["1.2.3.4"] = "inet 1.2.3.4", ["10.0.0.2/24"] = "inet 10.0.0.2/24", ["0.0.0.0/0"] = "inet 0.0.0.0/0", ["::"] = "inet6 ::",
      ["::1/128"] = "inet6 ::1/128", ["FD00::2/64"] = "inet6 fd00::2/64", ["1:2:3:4:5:6:7:8"] = "inet6 1:2:3:4:5:6:7:8",
      ["1:2:3:4:5:6:7::"] = "inet6 1:2:3:4:5:6:7:0", ["::2:3:4:5:6:7:8"] = "inet6 0:2:3:4:5:6:7:8", ["1::8"] = "inet6 1::8",
      ["::ffff:1.2.3.4"] = "inet6 ::ffff:1.2.3.4", ["1:2:3:4:5:6:1.2.3.4/96"] = "inet6 1:2:3:4:5:6:102:304/96",
    } do
      local a = assert(core.address.parse(text), text)
      assert.equal(is, a.family .. " " .. a.address .. (a.prefix and "/" .. a.prefix or ""))
    end
  end)

  it("and nothing else", function()
    for _, text in ipairs { "", "1", "1.2.3", "1.2.3.4.5", "1.2.3.", "1.2.3.256", "01.2.3.4", "1.2.3.4/33", "1.2.3.4/", "1.2.3.4/-1",
      "1.2.3.4/024", "1.2.3.4 ", " 1.2.3.4", ":", ":::", "1:", ":1", "1::2::3", "12345::", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9",
      "1:2:3:4:5:6:7:8::", "::1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:1.2.3.4", "::1.2.3", "::1.2.3.4.5", "::g", "::/129", "fe80::1%eth0",
      "example.org", "1.2.3.4\0", "/24", ("1"):rep(100000) } do
      assert.is_nil(core.address.parse(text), text)
    end
  end)
end)

describe("link.is_name", function()
  it("is what the kernel takes and no tool reads otherwise", function()
    for _, name in ipairs { "a", "eth0", "veth-0_1.2", ("x"):rep(15), "..." } do assert.is_true(core.link.is_name(name), name) end
    for _, name in ipairs { "", ".", "..", ("x"):rep(16), "a/b", "a:1", "a b", "a%d", "a*", "a\n", "a\0", "\195\164", "a\127" } do
      assert.is_false(core.link.is_name(name), name)
    end
  end)
end)

describe("A recipe's network", function()
  local function build(options)
    options.namespaces = options.namespaces or { net = true }
    return caisson.recipe(options):build { args = { "true" } }
  end

  local function fails(pattern, options)
    local ok, message_ = build(options)
    assert.is_nil(ok)
    assert.truthy(message_:find(pattern), message_)
  end

  local function device(d) return { network = { d } } end

  it("becomes steps: the host's first, then the container's own", function()
    local b = assert(build { network = { { veth = "eth0", bridge = "br0", address = { "10.0.0.2/24", "fd00::2/64" }, gateway = "10.0.0.1",
      mac = "02:42:0a:00:00:02", mtu = 1400, hairpin = true, host = "box*" }, { macvlan = "m0", parent = "ens3", mode = "vepa" },
      { ipvlan = "i0", parent = "ens3", mode = "l3s", isolation = "private" }, { move = "nothere9", name = "lan", address = "10.9.0.1/30" } },
      routes = { { to = "10.1.0.0/16", via = "10.0.0.9", metric = 7, source = "10.0.0.2" }, { dev = "lan", to = "10.2.0.0/16" } } })
    local lines = {}
    for _, row in ipairs(b.plan:rows()) do
      if row.phase == "network" then lines[#lines + 1] = row.side .. " " .. row.step .. " " .. row.object end
    end
    assert.same({
      "parent link.veth eth0, box* outside on br0 hairpin mac 02:42:0a:00:00:02 mtu 1400",
      "parent link.macvlan m0 over ens3 mode vepa",
      "parent link.ipvlan i0 over ens3 mode l3s private",
      "parent link.move nothere9 into the container as lan",
      "child link.set eth0 up", "child address.add 10.0.0.2/24 on eth0", "child address.add fd00::2/64 on eth0",
      "child link.set m0 up", "child link.set i0 up",
      "child link.set lan up", "child address.add 10.9.0.1/30 on lan",
      "child route.add default via 10.0.0.1 dev eth0",
      "child route.add 10.1.0.0/16 via 10.0.0.9 metric 7 src 10.0.0.2", "child route.add 10.2.0.0/16 dev lan" }, lines)
    local text = b.plan:json()
    assert.equal(text, assert(require("caisson.plan").from_json(text)):json())
  end)

  it("adds no step where there is none", function()
    for _, s in assert(build {}).plan:each() do assert.is_nil(s.step:match("^link") or s.step:match("^address") or s.step:match("^route")) end
  end)

  it("is a list that a recipe adds to", function()
    local base = caisson.recipe { namespaces = { net = true }, network = { { veth = "eth0" } } }
    local b = assert(caisson.recipe { extends = base, network = { { veth = "eth1" } } }:build { args = { "true" } })
    local names = {}
    for _, s in b.plan:each() do if s.step == "link.veth" then names[#names + 1] = s.options.name end end
    assert.same({ "eth0", "eth1" }, names)
  end)

  it("refuses what it does not know, naming the option", function()
    fails("network: table expected, got string", { network = "eth0" })
    fails("network: a list expected, got the name 'veth'", { network = { veth = "eth0" } })
    fails("network%[1%]: table expected, got string", device "eth0")
    fails("network%[1%]: what kind of device%? one of veth, macvlan, ipvlan, move", device {})
    fails("network%[1%]: one of .* expected, got both veth and move", device { veth = "a", move = "b" })
    fails("network%[1%]: unknown option 'brigde' %(did you mean 'bridge'%?%)", device { veth = "a", brigde = "br0" })
    fails("network%[1%]: unknown option 'mac'", device { ipvlan = "a", parent = "b", mac = "02:42:0a:00:00:02" })
    fails("network%[2%]: network%[1%] is called eth0 already", { network = { { veth = "eth0" }, { move = "x", name = "eth0" } } })
    fails("network%[1%]: .*unknown word 'bridgee' %(did you mean 'bridge'%?%)", device { macvlan = "a", parent = "b", mode = "bridgee" })
    fails("routes%[1%]: unknown option 'device'", { routes = { { to = "default", device = "eth0" } } })
  end)

  it("refuses names that no device can have", function()
    for _, name in ipairs { "", "sixteen-letters-", "a/b", "a%d", "..", "a\0b", "*" } do
      for _, d in ipairs { { veth = name }, { veth = "a", bridge = name }, { macvlan = "a", parent = name }, { ipvlan = name, parent = "a" },
        { move = name }, { move = "a", name = name } } do
        fails("network%[1%]%.%w+: a device's name has 1 to 15 printable bytes", device(d))
      end
    end
    for _, host in ipairs { "", "veth", "a*b*", "vethx*", "a:*" } do
      if host ~= "veth" then fails("network%[1%]%.host: .*one %* stands for 11 digits", device { veth = "a", host = host }) end
    end
    fails("network%[1%]%.veth: string expected, got number", device { veth = 5 })
  end)

  it("refuses what is no address, number or route", function()
    fails("network%[1%]%.address: an address with the length of its network's prefix", device { veth = "a", address = "10.0.0.2" })
    fails("network%[1%]%.address%[2%]: .* got '10.0.0/24'", device { veth = "a", address = { "10.0.0.2/24", "10.0.0/24" } })
    fails("network%[1%]%.address: string expected, got number", device { veth = "a", address = { 5 } })
    fails("network%[1%]%.gateway: an address, such as 10.0.0.1", device { veth = "a", gateway = "10.0.0.1/24" })
    fails("network%[1%]%.mac: a hardware address", device { veth = "a", mac = "02:42:0a:00:00" })
    fails("network%[1%]%.mtu: a whole number from 68", device { veth = "a", mtu = 67 })
    fails("network%[1%]%.mtu: .* got 1400", device { veth = "a", mtu = "1400" })
    fails("network%[1%]%.queue: a whole number from 1", device { veth = "a", queue = 1.5 })
    fails("network%[1%]%.hairpin: it is of a bridge's port", device { veth = "a", hairpin = true })
    fails("network%[1%]: over which of the host's devices", device { macvlan = "a" })
    fails("routes%[1%]%.to: a network such as", { routes = { { to = "everywhere", dev = "a" } } })
    fails("routes%[1%]: where to%?", { routes = { { to = "10.0.0.0/8" } } })
    fails("routes%[1%]%.via: an address", { routes = { { via = "10.0.0.1/8" } } })
    fails("routes%[1%]%.metric: a whole number", { routes = { { dev = "a", metric = -1 } } })
  end)

  it("takes no wrong value of anything, and raises for none", function()
    local wrong = { true, -1, 0.5, 1e300, 0 / 0, "", "a\0b", ("x"):rep(1000000), { {} }, { true }, { a = 1 }, function() end }
    local good = {
      { veth = "eth0", bridge = "br0", host = "h0", mac = "02:42:0a:00:00:02", mtu = 1400, queue = 5, hairpin = true,
        address = "10.0.0.2/24", gateway = "10.0.0.1" },
      { macvlan = "eth0", parent = "ens3", mode = "vepa" }, { ipvlan = "eth0", parent = "ens3", mode = "l3", isolation = "vepa" },
      { move = "eth0", name = "lan" },
    }
    for _, d in ipairs(good) do
      assert(build(device(d)))
      for key in pairs(d) do
        for i, v in ipairs(wrong) do
          local bad = {}
          for k, value in pairs(d) do bad[k] = value end
          bad[key] = v
          if not (key == "hairpin" and v == true) then
            local ok, message_ = build(device(bad))
            assert.is_nil(ok, key .. " " .. i)
            assert.truthy(message_:find("network[1]." .. key, 1, true) or message_:find("network[1]: option '" .. key, 1, true), message_)
            assert.is_true(#message_ < 400 or key == "mode" or key == "isolation")
          end
        end
      end
    end
    local r = { to = "10.0.0.0/8", via = "10.0.0.1", dev = "eth0", metric = 5, source = "10.0.0.2", onlink = true }
    for key in pairs(r) do
      for i, v in ipairs(wrong) do
        local bad = {}
        for k, value in pairs(r) do bad[k] = value end
        bad[key] = v
        if not (key == "onlink" and v == true) then
          local ok, message_ = build { routes = { bad } }
          assert.is_nil(ok, key .. " " .. i)
          assert.truthy(message_:find("routes[1]." .. key, 1, true), message_)
        end
      end
    end
  end)

  it("needs a network namespace", function()
    fails("network%[1%]: it needs a network namespace", { namespaces = { uts = true }, network = { { veth = "a" } } })
    fails("routes: they need a network namespace", { namespaces = { uts = true }, routes = { { dev = "a" } } })
    fails("network%[1%]: what is made for a container goes with its network namespace",
      { namespaces = { net = "/proc/self/ns/net" }, network = { { veth = "a" } } })
    assert(build { namespaces = { net = "/proc/self/ns/net" }, network = { { move = "nothere9" } } })
  end)
end)
