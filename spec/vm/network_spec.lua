-- What the kernels that specs meet elsewhere lack: ipvlan and dummy devices.
local t = require "support"
local network = require "support.network"

describe("Devices that are modules", function()
  if not t.needs("network") then return end

  it("ipvlan: addresses of the container's own behind one hardware address, apart or not as asked", function()
    if not t.needs("perl") then return end
    assert.equal([[
ipvlan up 10.0.0.3/24 same
bridge: hello
private: no answer
]], network.host [[
      cable "eth9"
      local function over(address, isolation, mode)
        return { network = { { ipvlan = "lan", parent = "eth9", address = address, isolation = isolation, mode = mode } } }
      end
      io.write((assert(run(over("10.0.0.3/24", nil, "l3"), ([=[
        local l = link "lan"
        print(l.kind .. (l.up and " up " or " ") .. addresses "lan" .. (l.mac == "%s" and " same" or " another"))]=]):format(link("eth9").mac)))))
      local server = serve(over("10.0.0.2/24", "bridge"), "hello", 80)
      print("bridge: " .. ask(over("10.0.0.3/24"), "10.0.0.2", 80))
      server:close()
      -- others, as an address is not free at once when its device goes
      server = serve(over("10.0.0.4/24", "private"), "hello", 80)
      print("private: " .. ask(over("10.0.0.5/24", "private"), "10.0.0.4", 80))
      server:close()]])
  end)

  it("dummy: a device that goes nowhere, for addresses", function()
    local r = assert(t.run(t.steps(t.contained { "net" }, t.step("link.add", { "d0", kind = "dummy" }),
      t.step("link.set", { "d0", up = true }), t.step("address.add", { "10.0.0.2/24", dev = "d0" })),
      { argv = t.program [[
        for _, l in ipairs(core.link.list()) do if l.name == "d0" then return l.kind .. " " .. tostring(l.up) end end]] }))
    assert.equal("dummy true", r.output)
  end)

  it("dummy: moved in, and given back", function()
    assert.equal("10.9.0.5/24\nd0\n10.9.0.5/24\n", network.host [[
      assert(core.link.add { "d0", kind = "dummy" })
      assert(core.link.set { "d0", up = true })
      assert(core.address.add { "10.9.0.5/24", dev = "d0" })
      io.write((assert(run({ network = { { move = "d0", name = "lan" } } }, "print(addresses 'lan')"))))
      print(devices())
      print(addresses "d0")]])
  end)
end)
