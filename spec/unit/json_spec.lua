-- What json writes can be read by whoever is strict about it (RFC 8259, RFC 3629).
local json = require "caisson.json"

describe("json", function()
  it("takes for UTF-8 what is UTF-8, as strictly as its readers", function()
    for _, s in ipairs { "", "x", "\194\128", "\223\191", "\224\160\128", "\237\159\191", "\238\128\128", "\239\191\191",
      "\240\144\128\128", "\244\143\191\191", "a\226\130\172b" } do
      assert.is_true(json.is_utf8(s))
      assert.equal('"' .. s .. '"', json.string(s))
    end
    for _, s in ipairs { "\128", "\192\175", "\193\191", "\224\159\191", "\237\160\128", "\237\191\191", "\240\143\191\191",
      "\244\144\128\128", "\245\128\128\128", "\255", "\226\130", "x\226\130" } do
      assert.is_false(json.is_utf8(s))
      assert.equal(json.bytes(s), json.string(s))
      assert.equal(s, json.decode(json.string(s)))
    end
  end)

  it("gives each value a name that is a string, whatever its bytes", function()
    assert.equal('{"\\ufffd\\ufffdx\\n\226\130\172":1}', json.value { ["\255\192x\n\226\130\172"] = 1 })
    assert.same({ ["a\239\191\189"] = { "b" } }, json.decode(json.document { ["a\237"] = { "b" } }))
  end)

  it("reads back a table with a name that says of bytes that they are some", function()
    for _, v in ipairs { { base64 = "x" }, { base64 = "" }, { { a = { base64 = "\255", b = "c" } } }, { base64 = { base64 = "eA==" } },
      { base64 = 1 } } do
      assert.same(v, json.decode(json.document(v)))
    end
  end)
end)
