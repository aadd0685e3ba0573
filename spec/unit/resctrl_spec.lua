local resctrl = require "caisson.resctrl"

describe("resctrl.line", function()
  it("is a schema as the kernel prints it", function()
    assert.equal("L3:0=f;1=f0", resctrl.line "L3:0=f;1=f0")
    assert.equal("L3:0=f;1=f0", resctrl.line " L3 : 00=f ; 1 = f0 ")
    assert.equal("L3CODE:0=FFFFF", resctrl.line "L3CODE:0=FFFFF")
    assert.equal("L2:0=1", resctrl.line "L2:0=1")
    assert.equal("MB:0=50;1=100", resctrl.line "MB:0=50;1=100")
    assert.equal("MB:0=2048MBps", resctrl.line "MB:0=2048MBps")
    assert.equal("SMBA:0=2048", resctrl.line "SMBA:0=2048")
  end)

  it("says what is wrong with it", function()
    for text, message in pairs {
      ["L3"] = "a schema such as L3:0=f;1=f expected, got 'L3'",
      ["l3:0=f"] = "a schema such as L3:0=f;1=f expected, got 'l3:0=f'",
      ["L3:"] = "L3: DOMAIN=VALUE expected, got ''",
      ["L3:0=f;"] = "L3: DOMAIN=VALUE expected, got ''",
      ["L3:f"] = "L3: DOMAIN=VALUE expected, got 'f'",
      ["L3:-1=f"] = "L3: DOMAIN=VALUE expected, got '-1=f'",
      ["L3:0=0x1"] = "L3: a mask in hexadecimal digits expected, got '0x1'",
      ["L3:0=g"] = "L3: a mask in hexadecimal digits expected, got 'g'",
      ["L3:0=00"] = "L3: the mask of domain 0 is empty",
      ["L3:0=f;00=f"] = "L3: domain 0 is given twice",
      ["MB:0=f"] = "MB: a number expected, got 'f'",
      ["MB:0=5%"] = "MB: DOMAIN=VALUE expected, got '0=5%'",
    } do
      assert.same({ nil, message }, { resctrl.line(text) })
    end
    assert.is_nil(resctrl.line "L3:0=f\nL3:0=1")
    assert.is_nil(resctrl.line "L3:0=f\0")
    assert.is_nil(resctrl.line(5))
  end)
end)

describe("resctrl.lines", function()
  it("puts an option's parts together", function()
    assert.same({ "L3:0=f", "MB:0=70", "L2:0=3" },
      resctrl.lines { l3 = "0=f", memory_bandwidth = "MB:0=70", schemata = { "L2:0=3" } })
    -- as the OCI's l3CacheSchema may be
    assert.same({ "L3CODE:0=f", "L3DATA:0=f0", "MB:0=20" },
      resctrl.lines { l3 = "L3CODE:0=f\nL3DATA:0=f0\nMB:0=10", memory_bandwidth = "MB:0=20" })
    assert.same({}, resctrl.lines {})
  end)

  it("names the part that is wrong", function()
    assert.same({ nil, "l3: string expected, got table" }, { resctrl.lines { l3 = {} } })
    assert.same({ nil, "l3: an empty string" }, { resctrl.lines { l3 = "" } })
    assert.same({ nil, "memory_bandwidth: MB: a number expected, got 'x'" }, { resctrl.lines { memory_bandwidth = "0=x" } })
    assert.same({ nil, "schemata[2]: string expected, got number" }, { resctrl.lines { schemata = { "L3:0=f", 5 } } })
    assert.same({ nil, "schemata: a list expected, got string" }, { resctrl.lines { schemata = "L3:0=f" } })
    assert.same({ nil, "schemata: a list without holes or names expected" }, { resctrl.lines { schemata = { a = 1 } } })
  end)
end)
