local t = require "support"
local step = t.step

describe("groups, gid and uid", function()
  local status = [[awk '/^(Uid|Gid|Groups):/ { $1 = $1; print }' /proc/self/status]]

  it("set all four ids each, and the groups, in the container", function()
    if not t.needs("root") then return end
    local r = assert(t.run({ step("groups", { 7, 9, 4294967294 }), step("gid", 4294967294), step("uid", 4294967294) },
      { script = status }))
    assert.equal("Uid: 4294967294 4294967294 4294967294 4294967294\n" ..
      "Gid: 4294967294 4294967294 4294967294 4294967294\nGroups: 7 9 4294967294\n", r.output)
  end)
end)
