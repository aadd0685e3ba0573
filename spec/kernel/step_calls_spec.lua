-- How many system calls a child's steps take, so that none creep back: what --trace counts. Bounds are a little above
-- what is needed; kernels that know less need a few more.
local t = require "support"
local cli = require "support.cli"

describe("the system calls of a child's steps", function()
  if not t.needs "userns" then return end
  local steps = {}

  setup(function()
    local r = cli.caisson({ "run", "--trace", "sandbox", "--", "/bin/true" }, {})
    assert.equal(0, r.code, r.err)
    for line in r.err:gmatch "[^\n]+" do
      local name, object, n = line:match "^ *%d+  child +(%S+) +(.-) +[%d.]+ %S+ +(%d+)[:,]"
      if name then steps[#steps + 1] = { name = name, object = object, calls = tonumber(n) } end
    end
    assert.truthy(#steps > 40, r.err)
  end)

  -- The most that one of these takes, and the least.
  local function range(name, pattern)
    local least, most = math.huge, 0
    for _, s in ipairs(steps) do
      if s.name == name and s.object:find(pattern or "") then
        least, most = math.min(least, s.calls), math.max(most, s.calls)
      end
    end
    assert.truthy(most > 0, name)
    return least, most
  end

  it("are few for a mount, and fewer behind one in the same directory", function()
    local least, most = range "mount.bind"
    assert.truthy(least <= 10, least)
    assert.truthy(most <= 32, most) -- two directories are missing
    local _, bind = range("mount.bind", "^/usr ")
    assert.truthy(bind <= 14, bind)
    local _, tmpfs = range "mount.tmpfs"
    assert.truthy(tmpfs <= 20, tmpfs)
    local _, devpts = range "mount.devpts"
    assert.truthy(devpts <= 17, devpts)
  end)

  it("are one for a link or a node in the directory of the last one", function()
    local least, most = range("symlink", "^/dev")
    assert.equal(1, least)
    assert.truthy(most <= 4, most)
    local _, device = range "device"
    assert.truthy(device <= (t.is_root and 12 or 20), device)
    least = range "device"
    assert.truthy(least <= (t.is_root and 7 or 14), least)
  end)

  it("are few for what is masked, read-only, or no capability any more", function()
    local _, readonly = range "readonly"
    assert.truthy(readonly <= 7, readonly)
    local _, mask = range "mask"
    assert.truthy(mask <= 15, mask)
    local _, capabilities = range "capabilities"
    assert.truthy(capabilities <= 66, capabilities) -- as many as the kernel knows, and a few
  end)
end)
