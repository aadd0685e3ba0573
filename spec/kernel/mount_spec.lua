local t = require "support"
local m = require "support.mounts"
local step = t.step

describe("a new root", function()
  teardown(m.clean)

  it("is a tmpfs with the system bound into it, and no mount of the host's is left", function()
    local before = t.read_file("/proc/self/mountinfo")
    local r = assert(m.run({}, { script = "cat /proc/self/mountinfo" }))
    local list = m.mounts(r.output)
    assert.equal("tmpfs", list["/"].type)
    assert.truthy(list["/usr"].flags:find(",ro,", 1, true))
    local bound = { ["/"] = 1, ["/usr"] = 1, ["/bin"] = 1, ["/lib"] = 1, ["/lib64"] = 1, ["/etc"] = 1, ["/proc"] = 1 }
    for _, entry in ipairs(list) do
      assert.truthy(bound[entry.at:match("^/[^/]*")], entry.at) -- or a mount of the host's below one of them
    end
    assert.equal(before, t.read_file("/proc/self/mountinfo"))
  end)

  it("names the source that is missing", function()
    local ok, message, errno, failure = m.run { step("mount.bind", { source = "/no/such", target = "/x" }) }
    assert.is_nil(ok)
    assert.equal(2, errno)
    assert.equal("/no/such -> /x", failure.object)
    assert.truthy(message:find("mount.bind[6] /no/such -> /x: source /no/such: No such file or directory (ENOENT)", 1, true), message)
  end)
end)
