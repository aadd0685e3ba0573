local t = require "support"
local network = require "support.network"
local step, core = t.step, t.core

local function same(expected, code) assert.same(expected, network.host(code)) end

describe("A container's network", function()
  if not t.needs("network") then return end

  it("is a cable to the host's bridge, with addresses and routes", function()
    same("in: eth0 lo\n" .. [[
link 1400 02:42:0a:00:00:02 up
10.0.0.2/24 fd00::2/64
default via 10.0.0.1 eth0
10.1.0.0/16 via 10.0.0.9 metric 7
out: br0 veth*
veth* 1400 br0 up hairpin
after: br0
]], [[
      bridge("br0", "10.0.0.1/24")
      local out
      io.write((assert(run({ network = { { veth = "eth0", bridge = "br0", address = { "10.0.0.2/24", "fd00::2/64" }, gateway = "10.0.0.1",
        mac = "02:42:0a:00:00:02", mtu = 1400, hairpin = true } }, routes = { { to = "10.1.0.0/16", via = "10.0.0.9", metric = 7 } },
        hooks = { poststart = function()
          out = "out: " .. devices()
          for _, l in ipairs(core.link.list()) do
            if l.name:find "^veth" then
              out = out .. "\nveth* " .. l.mtu .. " " .. l.bridge .. (l.up and " up" or "") .. (l.hairpin and " hairpin" or "")
            end
          end
        end } }, [=[
        local names = {}
        for _, l in ipairs(core.link.list()) do names[#names + 1] = l.name end
        table.sort(names)
        print("in: " .. table.concat(names, " "))
        local l = link "eth0"
        print("link", l.mtu .. " " .. l.mac .. (l.up and " up" or ""))
        print(addresses "eth0")
        for _, r in ipairs(core.route.list()) do
          if r.via and r.family == "inet" then print(r.to .. " via " .. r.via .. (r.metric and " metric " .. r.metric or " " .. r.dev)) end
        end]=])):gsub("\t", " ")))
      print(out)
      print("after: " .. devices())]])
  end)

  it("reaches who is on its bridge, and nobody else", function()
    if not t.needs("perl") then return end
    same([[
neighbour: hello
host: hello
other bridge: no answer
no network: Network is unreachable
after its end: no answer
]], [[
      bridge("br0", "10.0.0.1/24")
      bridge("br1")
      local server = serve({ network = { { veth = "eth0", bridge = "br0", address = "10.0.0.2/24" } } }, "hello", 80)
      local function on(bridge_) return { network = { { veth = "eth0", bridge = bridge_, address = "10.0.0.3/24" } } } end
      print("neighbour: " .. ask(on "br0", "10.0.0.2", 80))
      print("host: " .. ask_from_host("10.0.0.2", 80))
      print("other bridge: " .. ask(on "br1", "10.0.0.2", 80))
      print("no network: " .. ask({}, "10.0.0.2", 80))
      server:close()
      print("after its end: " .. ask(on "br0", "10.0.0.2", 80))]])
  end)

  it("is over a device of the host's, whose neighbours it sees as the mode says", function()
    if not t.needs("perl") then return end
    same([[
macvlan up 02:42:0a:00:00:03 10.0.0.3/24
bridge: hello
private: no answer
]], [[
      cable "eth9"
      local function over(address, mode, mac)
        return { network = { { macvlan = "lan", parent = "eth9", address = address, mode = mode, mac = mac } } }
      end
      io.write((assert(run(over("10.0.0.3/24", nil, "02:42:0a:00:00:03"), [=[
        local l = link "lan"
        print(l.kind .. (l.up and " up " or " ") .. l.mac .. " " .. addresses "lan")]=]))))
      local server = serve(over("10.0.0.2/24", "bridge"), "hello", 80)
      print("bridge: " .. ask(over("10.0.0.3/24", "bridge"), "10.0.0.2", 80))
      print("private: " .. ask(over("10.0.0.3/24", "private"), "10.0.0.2", 80))
      server:close()]])
  end)

  it("is an ipvlan, where the kernel has it; where not, its absence is told", function()
    local out = network.host [[
      cable "eth9"
      local text, message, failure = run({ network = { { ipvlan = "lan", parent = "eth9", mode = "l3", address = "10.0.0.3/24" } } },
        [=[print(link("lan").kind, addresses "lan")]=])
      print(text or message .. "\n" .. failure.hint)]]
    if out:find "Unknown device type" then
      assert.equal("step 2, link.ipvlan[1] lan over eth9 mode l3: Unknown device type: Operation not supported (EOPNOTSUPP)\n"
        .. "the kernel has no ipvlan: as root, modprobe ipvlan\n", out)
    else
      assert.equal("ipvlan\t10.0.0.3/24\n\n", out)
    end
  end)

  it("is a device of the host's, renamed, with its addresses, which comes back", function()
    same([[
lan up 10.9.0.5/24 fd09::5/64 10.9.0.6/24 1300
meanwhile: eth8 eth8x eth9x
after: eth8 eth8x eth9 eth9x
10.9.0.5/24 fd09::5/64 up
eth8 stays down
]], [[
      cable("eth9", "10.9.0.5/24")
      assert(core.address.add { "fd09::5/64", dev = "eth9" })
      cable "eth8"
      core.link.set { "eth8", up = false }
      local out
      io.write((assert(run({ network = { { move = "eth9", name = "lan", address = "10.9.0.6/24", mtu = 1300 } },
        hooks = { poststart = function() out = "meanwhile: " .. devices() end } },
        [=[local l = link "lan"
        local v4, v6, more = addresses("lan"):match "^(%S+) (%S+) (%S+)$"
        local list = { v4, v6, more }
        table.sort(list, function(a, b) return (a:find "09::" and "10.9.0.5z" or a) < (b:find "09::" and "10.9.0.5z" or b) end)
        print("lan " .. (l.up and "up " or "down ") .. table.concat(list, " ") .. " " .. l.mtu)]=]))))
      print(out)
      print("after: " .. devices())
      print(addresses "eth9" .. (link("eth9").up and " up" or " down"))
      assert(run({ network = { { move = "eth8" } } }, "assert(link('eth8').up)"))
      print("eth8 stays " .. (link("eth8").up and "up" or "down"))]])
  end)

  it("gives a device back that the program has renamed, not another of its name", function()
    same("eth9 eth9x\n02:42:0a:00:00:09\n", [[
      cable "eth9"
      core.link.set { "eth9", mac = "02:42:0a:00:00:09" }
      assert(run({ network = { { move = "eth9", name = "lan" } } }, [=[
        assert(core.link.set { "lan", up = false })
        assert(core.link.set { "lan", rename = "mine" })
        assert(core.link.add { "lan", kind = "bridge" })]=]))
      print(devices())
      print(link("eth9").mac)]])
  end)

  it("doesn't give back another device that the program has made with its number", function()
    same("bridge \nveth \nfar veth \n", [[
      local function replaced(by)
        cable "eth9"
        assert(run({ network = { { move = "eth9", name = "lan" } } }, ([=[
          local l = link "lan"
          local by = %q
          assert(os.execute("/sbin/ip link del lan && exec 2>&1; " .. by:gsub("INDEX", l.index):gsub("PARENT", l.parent)))
          assert(link("lan").index == l.index)]=]):format(by)))
        return devices()
      end
      print("bridge " .. replaced "/sbin/ip link add lan index INDEX type bridge")
      print("veth " .. replaced "/sbin/ip link add lan index INDEX type veth peer name other")
      print("far veth " .. replaced("unshare -n sleep 3 & sleep 0.3; " ..
        "/sbin/ip link add lan index INDEX type veth peer name other index PARENT netns $!"))]])
  end)

  it("gives a created container's devices back when it is deleted, whatever has become of it", function()
    if not t.needs("root") then return end
    local root = t.sh("mktemp -d"):gsub("\n", "")
    finally(function() t.sh("umount -l " .. root .. "/*/netns 2> /dev/null; rm -rf " .. root) end)
    same([[
ended: eth9 eth9x 10.9.0.5/24 up
running: eth9 eth9x 10.9.0.5/24 up
waiting: eth9 eth9x 10.9.0.5/24 up
creation killed: eth9 eth9x
taken away: eth9 eth9x: network: eth9 is not given back: eth9 back from the container: nothing has its number there any more: No such device (ENODEV)
]], ([[
      local root = %q
      local function create(script, hooks)
        return caisson.create(caisson.recipe { network = { { move = "eth9", name = "lan" } }, hooks = hooks,
          namespaces = { net = true, pid = true } }, { id = "box", root = root, args = { "/bin/sh", "-c", script }, stdin = "null" })
      end
      local function after(what, c)
        assert(not devices():find("eth9 ", 1, true))
        local ok, warnings = c:delete { force = true }
        assert(ok, warnings)
        assert(#core.list(root) == 0)
        print(what .. devices() .. " " .. addresses "eth9" .. (link "eth9" and link("eth9").up and " up" or " down") .. table.concat(warnings))
        c:close()
      end
      cable("eth9", "10.9.0.5/24")
      local c = assert(create "true")
      assert(c:start())
      c:wait()
      after("ended: ", c)
      c = assert(create "sleep 100")
      assert(c:start())
      after("running: ", c)
      after("waiting: ", assert(create "true"))

      local f = assert(io.open(root .. ".lua", "w"))
      f:write(("package.path, package.cpath = %%q, %%q\n"):format(package.path, package.cpath), [=[
        local caisson = require "caisson"
        caisson.create(caisson.recipe { network = { { move = "eth9", name = "lan" } }, namespaces = { net = true, pid = true },
          hooks = { createRuntime = function() os.execute("kill -KILL " .. caisson.core.identity().pid) end } },
          { id = "box", root = ]=], ("%%q"):format(root), [=[, args = { "/bin/true" }, stdin = "null" })]=])
      f:close()
      os.execute(core.realpath("/proc/self/exe") .. " " .. root .. ".lua 2> /dev/null")
      os.remove(root .. ".lua")
      assert(require("caisson.container").delete("box", { root = root, force = true }))
      print("creation killed: " .. devices())

      cable "eth7"
      local ok, warnings
      c = assert(caisson.create(caisson.recipe { network = { { move = "eth7", name = "lan" } }, namespaces = { net = true, pid = true } },
        { id = "box", root = root, args = { "/bin/sh", "-c", "/sbin/ip link del lan" }, stdin = "null" }))
      assert(c:start())
      c:wait()
      ok, warnings = c:delete()
      print("taken away: " .. devices() .. ": " .. tostring(warnings[1]):gsub("eth7", "eth9"))
      assert(ok)]]):format(root))
  end)

  it("takes a device whose number is taken there", function()
    same("lan br0\neth9 eth9x\n", [[
      cable "eth9"
      io.write((assert(run({ network = { { move = "eth9", name = "lan" } }, script = function(plan)
        local index = link("eth9").index
        plan:before("link.move", plan.call(function()
          for i = 1, index do assert(core.link.add { i == 1 and "br0" or "br" .. i, kind = "bridge" }) end
        end, { side = "child" }))
      end }, [=[print((link "lan" and "lan " or "") .. (link "br0" and "br0" or ""))]=]))))
      print(devices())]])
  end)

  it("is joined, and has a device moved into it, which stays", function()
    same("10.9.0.5/24\neth9x\n", [[
      cable("eth9", "10.9.0.5/24")
      local holder = assert(caisson.start(recipe {}, { args = { "sleep", "20" } }))
      local joined = { namespaces = { net = "/proc/" .. holder:pid() .. "/ns/net" }, network = { { move = "eth9", name = "lan" } } }
      local started = assert(caisson.start(caisson.recipe(joined), { args = { "sleep", "20" } }))
      local out = run({ namespaces = { net = "/proc/" .. holder:pid() .. "/ns/net" } }, "print(addresses 'lan')")
      io.write(out)
      print(devices())
      started:close()
      holder:close()]])
  end)

  it("is there from create to delete, whatever process does them", function()
    same([[
created: br0 veth*
in it: eth0 lo
after its creator's end: br0 veth*
started, in it: eth0 lo
deleted: br0
]], [[
      bridge "br0"
      local root = os.tmpname()
      os.remove(root)
      local r = recipe { network = { { veth = "eth0", bridge = "br0", address = "10.0.0.2/24" } } }
      local c = assert(caisson.create(r, { root = root, id = "spec", args = { "sleep", "20" } }))
      print("created: " .. devices())
      local function names(pid)
        local list = {}
        for line in io.lines("/proc/" .. pid .. "/net/dev") do list[#list + 1] = line:match "^%s*(%w+):" end
        table.sort(list)
        return table.concat(list, " ")
      end
      print("in it: " .. names(c:state().pid))
      c:close()
      c = nil
      collectgarbage()
      collectgarbage()
      print("after its creator's end: " .. devices())
      c = assert(caisson.open("spec", { root = root }))
      assert(c:start())
      print("started, in it: " .. names(c:state().pid))
      assert(c:delete { force = true })
      -- the kernel takes its time
      local deadline = core.now() + 10e9
      while devices() ~= "br0" and core.now() < deadline do core.poll({}, 0.01) end
      print("deleted: " .. devices())
      os.execute("rm -rf " .. root)]])
  end)

  it("belongs to the container's user namespace where it has one", function()
    same("eth0 10.0.0.2/24 0\nbr0\n", [[
      bridge "br0"
      io.write((assert(run({ namespaces = { user = true, net = true, pid = true }, idmap = { uid = { { 0, 0, 1 } }, gid = { { 0, 0, 1 } } },
        network = { { veth = "eth0", bridge = "br0", address = "10.0.0.2/24" } } },
        [=[assert(core.link.set { "eth0", mtu = 1300 })
        print("eth0 " .. addresses "eth0" .. " " .. core.identity().euid)]=]))))
      print(devices())]])
  end)

  it("is there when the hooks run, with the host's end under its own name", function()
    same("eth0\n\nbox0 br0\n", [[
      bridge "br0"
      local outside
      print((assert(run({ network = { { veth = "eth0", bridge = "br0", host = "box0" } },
        hooks = { createRuntime = function() outside = devices() end, createContainer = function()
          if not link "eth0".up or devices() ~= "eth0" then return nil, "no eth0" end
        end } }, "print(devices())"))))
      print(outside)]])
  end)

  it("many at once have names of their own", function()
    same("21 devices\nbr0\n", [[
      bridge "br0"
      local list = {}
      for i = 1, 20 do
        list[i] = assert(caisson.start(recipe { network = { { veth = "eth0", bridge = "br0", address = ("10.0.0.%d/24"):format(i) } } },
          { args = { "sleep", "20" } }))
      end
      local _, n = devices():gsub("%S+", "")
      print(n .. " devices")
      for _, c in ipairs(list) do c:close() end
      print(devices())]])
  end)
end)

describe("A container's network that fails", function()
  if not t.needs("network") then return end

  it("leaves nothing on the host, at whatever step", function()
    local out = network.host [[
      bridge "br0"
      cable("eth9", "10.9.0.5/24")
      local r = recipe { network = { { veth = "eth0", bridge = "br0", address = "10.0.0.2/24", gateway = "10.0.0.1" },
        { macvlan = "m0", parent = "eth9x" }, { move = "eth9", name = "lan" } } }
      local built = assert(r:build { args = { "true" } })
      local before, index = devices(), link("eth9").index
      assert(run({}, "")) -- the runner's program is kept open
      local fds = #core.list "/proc/self/fd"
      for i = 1, #built.plan.steps do
        local ok, _, errno, failure = caisson.run(r, { args = { "true" }, fail = { step = i, errno = 71 } })
        assert(not ok and errno == 71 and failure.number == i)
        local l = link "eth9"
        local same = devices() == before and l and l.up and l.index == index and addresses "eth9" == "10.9.0.5/24"
        if not same then print(i, failure.step, devices(), addresses "eth9", l and l.up) end
      end
      collectgarbage()
      collectgarbage()
      print(#built.plan.steps, #core.list "/proc/self/fd" - fds)]]
    assert.matches("^%d%d\t0\n$", out)
  end)

  it("says in the kernel's words why", function()
    local out = network.host [[
      bridge "br0"
      cable "eth9"
      local function try(def)
        local ok, message, failure = run(def, "")
        print(ok and "?" or (message:gsub("veth%x+", "veth*")))
        if failure and failure.hint then print("  " .. failure.hint) end
      end
      try { network = { { veth = "eth0", bridge = "br9" } } }
      try { network = { { veth = "eth0", bridge = "eth9" } } }
      try { network = { { veth = "eth0", host = "br0" } } }
      try { network = { { veth = "lo" } } }
      try { network = { { macvlan = "m0", parent = "eth7" } } }
      try { network = { { move = "eth7" } } }
      try { network = { { move = "lo", name = "lo2" } } }
      try { network = { { move = "eth9", name = "lo" } } }
      try { network = { { veth = "eth0", address = { "10.0.0.2/24", "10.0.0.2/24" } } } }
      try { network = { { veth = "eth0", address = "10.0.0.2/24", gateway = "10.5.0.1" } } }
      try { routes = { { via = "10.0.0.1", dev = "eth3" } } }
      try { network = { { veth = "eth0", mac = "01:00:5e:00:00:01" } } }
      print(devices())]]
    local expected = [[
step 2, link.veth[1] eth0, veth* outside on br9: no device is called br9: No such device (ENODEV)
  the bridge is the host's to make: ip link add NAME type bridge; ip link set NAME up
step 2, link.veth[1] eth0, veth* outside on eth9: .*
step 2, link.veth[1] eth0, br0 outside: br0: a device has this name, on one of the sides: File exists (EEXIST)
step 2, link.veth[1] lo, veth* outside: .*: File exists (EEXIST)
step 2, link.macvlan[1] m0 over eth7: no device is called eth7: No such device (ENODEV)
step 2, link.move[1] eth7 into the container: no device is called eth7: No such device (ENODEV)
step 2, link.move[1] lo into the container as lo2: .*: Invalid argument (EINVAL)
step 2, link.move[1] eth9 into the container as lo: .*: File exists (EEXIST)
step 5, address.add[2] 10.0.0.2/24 on eth0: .*: File exists (EEXIST)
step 5, route.add[1] default via 10.5.0.1 dev eth0: Nexthop has invalid gateway: Network is unreachable (ENETUNREACH)
step 2, route.add[1] default via 10.0.0.1 dev eth3: no device is called eth3: No such device (ENODEV)
step 2, link.veth[1] eth0, veth* outside mac 01:00:5e:00:00:01: .*: Cannot assign requested address (EADDRNOTAVAIL)
br0 eth9 eth9x
]]
    local lines, n = {}, 0
    for line in out:gmatch "[^\n]+" do lines[#lines + 1] = line end
    for line in expected:gmatch "[^\n]+" do
      n = n + 1
      local pattern = line:gsub("[%(%)%[%]%-%%%+%?%$%^%*]", "%%%0"):gsub("%.%%%*", ".*")
      assert.matches("^" .. pattern .. "$", lines[n] or "")
    end
    assert.equal(n, #lines)
  end)

  it("without the right to it, says what there is instead", function()
    if t.is_root then return pending("needs an ordinary user") end
    local ok, message, errno, failure = require("caisson").run(require("caisson").recipe { namespaces = { net = true },
      network = { { veth = "eth0" } } }, { args = { "true" } })
    assert.is_nil(ok)
    assert.equal(1, errno)
    assert.matches("link.veth%[1%] eth0, veth%* outside: .*Operation not permitted", message)
    assert.matches("CAP_NET_ADMIN; without it join a namespace .* or have pasta serve one", failure.hint)
  end)

  it("goes with its host, at whatever step that is killed", function()
    local out = network.host [[
      bridge "br0"
      cable "eth9"
      local code = ("package.path, package.cpath = %q, %q\n"):format(package.path, package.cpath) .. [=[
        local caisson = require "caisson"
        local pid = io.open("/proc/self/stat"):read "*a":match "^%d+"
        local function die()
          for _, l in ipairs(caisson.core.link.list()) do if l.name:find "^veth" then io.stdout:write "cable" end end
          io.stdout:flush()
          os.execute("kill -KILL " .. pid)
        end
        caisson.start(caisson.recipe { namespaces = { net = true, pid = true }, network = {
          { veth = "eth0", bridge = "br0", address = "10.0.0.2/24" }, { macvlan = "m0", parent = "eth9x" } },
          script = function(plan)
            local at = tonumber(arg[1])
            if plan.steps[at] then plan:before(at, plan.call(die, { side = "parent" })) end
          end }, { args = { "sleep", "20" } })
        io.stdout:write "at its end: "
        die()]=]
      local path = os.tmpname()
      local f = io.open(path, "w")
      f:write(code)
      f:close()
      for step = 2, 11 do
        local p = io.popen(core.realpath "/proc/self/exe" .. " " .. path .. " " .. step .. " 2> /dev/null; :")
        local word = p:read "*a"
        p:close()
        local deadline = core.now() + 10e9
        while devices() ~= "br0 eth9 eth9x" and core.now() < deadline do core.poll({}, 0.01) end
        io.write(step, " ", word, " ", devices() == "br0 eth9 eth9x" and "" or devices(), ";")
      end
      os.remove(path)]]
    assert.equal("2  ;3 cable ;4 cable ;5 cable ;6 cable ;7 cable ;8 cable ;9 cable ;10 cable ;11 at its end: cable ;", out)
  end)
end)

describe("Network steps", function()
  if not t.needs("network") then return end
  local clone = t.contained { "net" }

  it("set up devices that the container makes itself", function()
    local r = assert(t.run(t.steps(clone, step("link.add", { "br0", kind = "bridge" }),
      step("link.veth", { "a", host = "b", bridge = "br0" }, { side = "child" }), step("link.set", { "a", mac = "02:42:0a:00:00:02", mtu = 1300, queue = 77 }),
      step("link.set", { "a", rename = "c", up = true }), step("link.set", { "br0", up = true }),
      step("address.add", { "10.0.0.9/29", dev = "c" }), step("route.add", { "10.7.0.0/16", dev = "br0" }),
      step("route.add", { "fd07::/64", dev = "br0", metric = 5 })),
      { argv = t.program [[
        local out = {}
        for _, l in ipairs(core.link.list()) do
          if l.name ~= "lo" then out[#out + 1] = l.name .. " " .. l.kind .. (l.up and " up" or "") .. (l.bridge and " on " .. l.bridge or "")
            .. (l.name == "c" and " " .. l.mac .. " " .. l.mtu .. " " .. l.queue or "") end
        end
        for _, a in ipairs(core.address.list()) do if a.global then out[#out + 1] = a.address .. " " .. a.dev .. " " .. a.broadcast end end
        for _, r in ipairs(core.route.list()) do
          if r.to:find "^10%.7" or r.to:find "^fd07" and r.unicast then out[#out + 1] = r.to .. " " .. r.dev .. " " .. (r.metric or "-") end
        end
        return table.concat(out, "\n")]] }))
    assert.equal([[
br0 bridge up
c veth up 02:42:0a:00:00:02 1300 77
b veth up on br0
10.0.0.9/29 c 10.0.0.15
10.7.0.0/16 br0 -
fd07::/64 br0 5]], (r.output:gsub("(br0 bridge up\n)(.-)(10%.0%.0%.9)", function(head, mid, tail)
      -- of a cable's ends either may come first
      local lines = {}
      for l in mid:gmatch "[^\n]+" do lines[#lines + 1] = l end
      table.sort(lines, function(a) return a:sub(1, 1) == "c" end)
      return head .. table.concat(lines, "\n") .. "\n" .. tail
    end)))
  end)

  it("take a name as it is, not its first 15 bytes", function()
    for _, s in ipairs { step("link.set", { "fifteen-lettersX", up = true }), step("address.add", { "10.0.0.2/24", dev = "fifteen-lettersX" }),
      step("route.add", { "10.0.0.0/24", dev = "fifteen-lettersX" }) } do
      local ok, message, errno = t.run(t.steps(clone, step("link.add", { "fifteen-letters", kind = "bridge" }), s))
      assert.is_nil(ok)
      assert.equal(core.errno.ENODEV, errno, message)
    end
  end)

  it("leave no number out because it is 0", function()
    local ok, message = t.run(t.steps(clone, step("link.add", { "br0", kind = "bridge" }), step("link.set", { "br0", mtu = 0 })))
    assert.is_nil(ok)
    assert.matches("mtu", message)
    local r = assert(t.run(t.steps(clone, step("link.add", { "br0", kind = "bridge" }), step("link.set", { "br0", queue = 0 })),
      { argv = t.program [[for _, l in ipairs(core.link.list()) do if l.name == "br0" then return l.queue end end]] }))
    assert.equal("0", r.output)
  end)

  it("bring a device down", function()
    local r = assert(t.run(t.steps(clone, step("net.loopback", {}), step("link.set", { "lo", up = false })),
      { argv = t.program [[return core.link.list()[1].up]] }))
    assert.equal("false", r.output)
  end)

  it("are never the host's", function()
    local before = #assert(core.link.list())
    local none = t.is_root and { step("clone", { "uts" }) } or t.contained { "uts" }
    for _, s in ipairs { step("link.add", { "csnspec0", kind = "bridge" }), step("link.set", { "lo", mtu = 65000 }),
      step("address.add", { "127.9.9.9/8", dev = "lo" }), step("route.add", { "10.99.0.0/16", dev = "lo" }),
      step("link.veth", { "csnspec0", host = "csnspec1" }), step("link.veth", { "csnspec0", host = "csnspec1" }, { side = "child" }),
      step("link.macvlan", { "csnspec0", parent = "lo" }), step("link.ipvlan", { "csnspec0", parent = "lo" }),
      step("link.move", { "lo", name = "csnspec0", netns = "netns", moved = "moved" }),
      step("link.set", { "lo", mtu = 65000 }, { side = "parent" }), step("address.add", { "127.9.9.9/8", dev = "lo" }, { side = "parent" }) } do
      local ok, message, errno = t.run(t.steps(none, s))
      assert.is_nil(ok, s.step)
      assert.equal(core.errno.EPERM, errno, message)
      assert.truthy(message:find("needs a net namespace of its own", 1, true), message)
    end
    assert.equal(before, #core.link.list())
  end)

  it("before clone make nothing", function()
    local ok, message, errno = t.run(t.steps(step("link.veth", { "csnspec0", host = "csnspec1" }), clone))
    assert.is_nil(ok)
    assert.equal(core.errno.EPERM, errno, message)
    ok, message, errno = t.run(t.steps(step("link.move", { "lo", name = "csnspec0", netns = "netns", moved = "moved" }), clone))
    assert.is_nil(ok)
    assert.equal(core.errno.EINVAL, errno, message)
  end)

  it("refuse what is wrong before they ask the kernel", function()
    for message, s in pairs {
      ["device's name has 1 to 15"] = step("link.add", { "a/b", kind = "bridge" }),
      ["rename: a device's name"] = step("link.set", { "lo", rename = "lo%d" }),
      ["no hardware address"] = step("link.set", { "lo", mac = "1:2:3:4:5:6" }),
      ["no address: 10.0.0"] = step("address.add", { "10.0.0", dev = "lo" }),
      ["prefix is missing"] = step("address.add", { "10.0.0.1", dev = "lo" }),
      ["no device is called eth7"] = step("address.add", { "10.0.0.1/24", dev = "eth7" }),
      ["no device is called lolololololololo"] = step("address.add", { "10.0.0.1/24", dev = ("lo"):rep(8) }),
      ["no device is called sixteen"] = step("link.set", { "sixteen-letters-and-more", up = true }),
      ["Invalid argument"] = step("link.set", { "lo", mtu = 4294967295 }),
      ["IPv4 and IPv6 in one route"] = step("route.add", { "default", via = "10.0.0.1", source = "fd00::1" }),
      ["one address is meant"] = step("route.add", { "default", via = "10.0.0.0/8" }),
      ["where to?"] = step("route.add", { "default" }),
      ["hairpin is of a bridge's port"] = step("link.veth", { "a", host = "b", hairpin = true }, { side = "child" }),
      ["host: a device's name"] = step("link.veth", { "a", host = "toolong*" }, { side = "child" }),
    } do
      local ok, text = t.run(t.steps(clone, s))
      assert.is_nil(ok, message)
      assert.truthy(text:find(message, 1, true), text)
    end
  end)
end)
