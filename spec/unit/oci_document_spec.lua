-- Documents of the OCI runtime specification: reading, and the check.
local document = require "caisson.oci.document"

local max = "18446744073709551615"

-- Messages are compared without the words before.
local function refused(text, pattern)
  local t, message, number = document.decode(text, "config.json")
  assert.is_nil(t, text)
  assert.truthy(message:find(pattern), ("%s: %s"):format(text:sub(1, 60), message))
  assert.truthy(message:find("^config.json: "))
  assert.equal(22, number)
end

describe("oci.document.decode", function()
  it("keeps every bit of 64-bit numbers, and leaves strings alone", function()
    local t = document.decode(('{"a":%s,"b":-9223372036854775808,"c":9007199254740992,"d":9007199254740993,'
      .. '"e":"x 18446744073709551615, \\"9223372036854775807","f":[9223372036854775807,7],"g":-0.5e1}'):format(max))
    assert.same({ a = max, b = "-9223372036854775808", c = 9007199254740992, d = "9007199254740993",
      e = 'x 18446744073709551615, "9223372036854775807', f = { "9223372036854775807", 7 }, g = -5 }, t)
  end)

  it("tells empty lists from empty objects, and null from what is there", function()
    local t = document.decode '{"a":[],"b":{},"c":null,"d":{"e":null}}'
    assert.equal(document.list, getmetatable(t.a))
    assert.equal(document.object, getmetatable(t.b))
    assert.is_nil(t.c)
    assert.equal(document.object, getmetatable(t.d))
  end)

  it("reads every escape, and refuses what is no text", function()
    assert.equal('"\\/\b\f\n\r\té😀\127', document.decode('{"a":"\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\ud83d\\uDe00\127"}').a)
    refused('{"a":"\\ud83d"}', "surrogate")
    refused('{"a":"\\udc00"}', "surrogate")
    refused('{"a":"\\x"}', "no such escape")
    refused('{"a":"\1"}', "byte 0x01")
    refused('{"a":"\255"}', "UTF%-8")
  end)

  for name, case in pairs {
    ["a key that stands twice"] = { '{"a":1,\n "a":2}', 'line 2, column 2: the key "a" stands twice' },
    ["one whose first value is null"] = { '{"a":null,"a":2}', "stands twice" },
    ["what follows the document"] = { "{} {}", "the value has ended, but then stands '{'" },
    ["a NUL after it"] = { "{}\0", "NUL" },
    ["a NUL in a string"] = { '{"a":"b\\u0000c"}', "NUL" },
    ["a byte order mark"] = { "\239\187\191{}", "byte order mark" },
    ["UTF-16"] = { "\255\254{\0}\0", "UTF%-8" },
    ["deep lists"] = { '{"a":' .. ("["):rep(1000), "deep" },
    ["deep objects"] = { ('{"a":'):rep(1000), "deep" },
    ["a huge text"] = { (" "):rep(16 * 1024 * 1024 + 1), "longer than" },
    ["nothing"] = { "", "empty" },
    ["a list"] = { "[1]", "object expected" },
    ["a string"] = { '"x"', "object expected" },
    ["null"] = { "null", "object expected" },
    ["a broken document"] = { "{]", "line 1, column 2: a key expected, found '%]'" },
    ["an end that is missing"] = { '{"a":[1,2', "the end of the text" },
    ["a comma too many"] = { '{"a":1,}', "a key expected" },
    ["a number in octal"] = { '{"a":0644}', "zeros" },
    ["a number of no end"] = { '{"a":' .. ("9"):rep(400) .. "}", "out of range" },
    ["infinity"] = { '{"a":1e999}', "out of range" },
    ["null in a list"] = { '{"a":[null]}', "null in a list" },
  } do
    it("refuses " .. name, function() refused(case[1], case[2]) end)
  end
end)

describe("damaged text", function()
  local text = assert(document.encode(require("caisson.oci.default").config {}))

  it("is refused at whichever byte it ends", function()
    for i = 0, #text - 2 do
      local t, message = document.decode(text:sub(1, i))
      assert.is_nil(t)
      assert.is_string(message)
    end
  end)

  it("is a document or an error, and the document is checked without an error of ours", function()
    math.randomseed(4)
    local bytes = { '"', "{", "}", "[", "]", ",", ":", "0", "-", "1e9", "null", "\\", "\0", "\255", "99999999999999999999", "true", "" }
    for _ = 1, 2000 do
      local i = math.random(#text)
      local t, message = document.decode(text:sub(1, i - 1) .. bytes[math.random(#bytes)] .. text:sub(i + math.random(0, 3)))
      if t then
        local ok, why = document.check(t)
        assert.is_true(ok or type(why) == "string")
        if not ok then assert.truthy(why:find "^[%w.%[%]_/]*: ") end
      else
        assert.is_string(message)
      end
    end
  end)
end)

describe("oci.document.read", function()
  it("reads a file, and says which it could not", function()
    local path = os.tmpname()
    finally(function() os.remove(path) end)
    local f = assert(io.open(path, "wb"))
    f:write '{"ociVersion":"1.2.0"}'
    f:close()
    assert.same({ ociVersion = "1.2.0" }, document.read(path))
    assert.same({ nil, "/nowhere/config.json: No such file or directory", 2 }, { document.read "/nowhere/config.json" })
    local t, message = document.read "/"
    assert.is_nil(t)
    assert.truthy(message:find "directory")
  end)
end)

describe("oci.document.encode", function()
  it("writes the specification's order, and every bit of a number", function()
    local text = '{\n\t"ociVersion": "1.2.0",\n\t"process": {\n\t\t"args": [\n\t\t\t"123456789012345678901"\n\t\t],\n\t\t"cwd": "/",\n'
      .. '\t\t"rlimits": [\n\t\t\t{\n\t\t\t\t"type": "RLIMIT_AS",\n\t\t\t\t"hard": 18446744073709551615,\n\t\t\t\t"soft": 7\n\t\t\t}\n\t\t]\n\t},\n'
      .. '\t"mounts": [],\n\t"annotations": {},\n\t"also": {\n\t\t"a": 18446744073709551615,\n\t\t"b": "18446744073709551615"\n\t}\n}\n'
    local t = assert(document.decode(text))
    assert.equal(text, document.encode(t))
    t.annotations, t.mounts = {}, {} -- without what tells them apart
    assert.equal(text, document.encode(t))
  end)

  it("says what JSON can't hold", function()
    assert.same({ nil, "hostname: no UTF-8, and JSON has nothing else" }, { document.encode { hostname = "\255" } })
  end)
end)

describe("oci.default.config", function()
  local default = require "caisson.oci.default"

  for _, rootless in ipairs { false, true } do
    it("is a good configuration" .. (rootless and ", rootless" or ""), function()
      assert.same({ true, nil, {} }, { document.check(default.config { rootless = rootless }) })
    end)

    -- what newer versions of runc have changed, and the name
    it("is what runc writes" .. (rootless and " with --rootless" or ""), function()
      local dir = os.tmpname()
      os.remove(dir)
      finally(function() os.execute("rm -rf " .. dir) end)
      local done = os.execute(("mkdir %s && cd %s && runc spec %s 2> runc.log"):format(dir, dir, rootless and "--rootless" or ""))
      if not (done == true or done == 0) then pending "needs runc" return end
      local theirs, ours = assert(document.read(dir .. "/config.json")), default.config { rootless = rootless }
      theirs.process.capabilities.ambient = nil
      for _, path in ipairs(theirs.linux.maskedPaths) do
        if path == "/sys/devices/virtual/tpm" then theirs.linux.maskedPaths[#theirs.linux.maskedPaths] = nil end
      end
      table.remove(ours.linux.maskedPaths)
      theirs.ociVersion, theirs.hostname = ours.ociVersion, ours.hostname
      assert.equal(document.encode(theirs), document.encode(ours))
    end)
  end
end)
