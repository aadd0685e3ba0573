local source = require "caisson.source"

describe("source.locate", function()
  local function locate(text, path, line)
    local name = os.tmpname()
    local f = assert(io.open(name, "w"))
    f:write(text)
    f:close()
    local at = source.locate(name, path, line)
    os.remove(name)
    return tonumber(at:match(":(%d+)$"))
  end

  it("finds an option, an item of a list, and what is inside of them", function()
    local text = "return recipe {\n  hostname = 'a',\n  mounts = {\n    { bind = '/usr' },\n    { tmpfs = '/tmp',\n      size = 1 },\n  },\n}\n"
    assert.equal(2, locate(text, { "hostname" }))
    assert.equal(3, locate(text, { "mounts" }))
    assert.equal(5, locate(text, { "mounts", 2 }))
    assert.equal(6, locate(text, { "mounts", 2, "size" }))
  end)

  it("is not misled by blocks, comments and strings", function()
    local text = [==[
return recipe {
  -- mounts = { "in a comment" }
  args = { "mounts = {", [[ mounts = { ]] },
  hooks = { poststop = function(s)
    for i = 1, 2 do if i then print "x" end end
    while s do repeat s = nil until true end
  end },
  mounts = { { proc = "/proc" } },
}
]==]
    assert.equal(8, locate(text, { "mounts", 1 }))
    assert.equal(3, locate(text, { "args" }))
  end)

  it("falls back to where the recipe begins, and to the file's name", function()
    assert.equal(7, locate("return recipe {}\n", { "mounts", 1 }, 7))
    assert.equal("no/file.lua:3", source.locate("/there/is/no/file.lua", { "x" }, 3))
    assert.equal("no/file.lua", source.locate("/there/is/no/file.lua", { "x" }))
  end)
end)
