-- What is told to systemd, as data; spec/systemd/ has what it then does.
local systemd = require "caisson.systemd"

describe("systemd.parse_cgroups_path", function()
  it("reads slice, prefix and name as OCI's cgroupsPath has them", function()
    assert.same({ driver = "systemd", slice = "machine.slice", scope = "libpod-12ab.scope" },
      systemd.parse_cgroups_path("machine.slice:libpod:12ab"))
    assert.same({ driver = "systemd", scope = "runc-box.scope" }, systemd.parse_cgroups_path(":runc:box"))
    assert.same({ driver = "systemd", slice = "a-b.slice", scope = "box.scope" }, systemd.parse_cgroups_path("a-b.slice::box"))
    assert.same({ driver = "systemd", slice = "-.slice", scope = "cri-x.scope" }, systemd.parse_cgroups_path("-:cri:x"))
  end)

  it("escapes what a unit's name can't have", function()
    assert.equal("runc-a\\x2bb.scope", systemd.parse_cgroups_path(":runc:a+b").scope)
  end)

  it("refuses what is no such path, by name", function()
    for text, why in pairs {
      ["/a/b"] = "slice:prefix:name expected", ["a:b"] = "slice:prefix:name expected", ["a:b:c:d"] = "slice:prefix:name expected",
      ["x.slice:a:"] = "is empty", ["x.slice:a:y.slice"] = "a slice holds no processes", ["x:a:b"] = ".slice at its end",
      ["a--b.slice:a:b"] = "single dashes", ["/x.slice:a:b"] = "letters, digits",
      [":a:" .. ("x"):rep(300)] = "more than 239 bytes" } do
      local r, message = systemd.parse_cgroups_path(text)
      assert.is_nil(r)
      assert.truthy(message:find(why, 1, true), text .. ": " .. message)
    end
  end)
end)
