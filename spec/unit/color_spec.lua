-- Colours and widths of text.
local cli = require "support.cli"
local color = require "caisson.cli.color"

describe("caisson.cli.color", function()
  it("has no styles where there is no terminal, and says that nothing need be cut", function()
    local null = assert(io.open("/dev/null"))
    for _, c in ipairs { color.of(false), color.of(999), color.of(null) } do
      assert.is_false(c.on)
      assert.is_nil(c.columns)
      assert.equal("text", c.red "text")
      assert.equal("text", c.bold(c.green "text"))
    end
    null:close()
  end)

  it("ends each style by itself, so that one may stand in another", function()
    local c = color.of(true)
    assert.equal("\27[1mone \27[31mtwo\27[39m three\27[22m", c.bold("one " .. c.red "two" .. " three"))
    assert.equal("", c.red "")
  end)

  it("counts columns, not bytes", function()
    for text, n in pairs { [""] = 0, abc = 3, ["äöü"] = 3, ["\27[31mab\27[39m"] = 2, ["a…b"] = 3, ["\228\184\173x"] = 3,
      ["e\204\129"] = 1, ["\255\254"] = 2, ["\240\159\166\128"] = 2 } do
      assert.equal(n, color.width(text), text)
    end
  end)

  it("cuts what is too long, and ends its styles", function()
    assert.equal("abc", color.cut("abc", 3))
    assert.equal("ab…", color.cut("abcd", 3))
    assert.equal("ä…", color.cut("äöü", 2))
    assert.equal("\27[31mab…\27[0m", color.cut("\27[31mabcdef\27[39m", 3))
    assert.equal("a…", color.cut("a\228\184\173\228\184\173", 3)) -- no half of a wide one
    assert.equal("…", color.cut("abc", 1))
    assert.equal("", color.cut("abc", 0))
    assert.equal("ä  ", color.pad("ä", 3))
    assert.equal("abcd", color.pad("abcd", 3))
  end)

  it("is on at a terminal, unless NO_COLOR or TERM says no, and knows its width", function()
    local function at(...)
      local words = { "env", ... }
      local argv = cli.argv {}
      for _, w in ipairs { argv[1], "-e", [[
        local c = require("caisson.cli.color").of(io.stdout)
        print(tostring(c.on) .. " " .. c.columns .. " " .. c.red("x"):gsub("\27", "^") .. ".")]] } do
        words[#words + 1] = w
      end
      local terminal = cli.at_terminal(words, { rows = 10, columns = 61 })
      local line = terminal:expect(".")
      terminal:wait()
      terminal:close()
      return line
    end
    assert.equal("true 61 ^[31mx^[39m", at "TERM=xterm")
    assert.equal("false 61 x", at "TERM=dumb")
    assert.equal("false 61 x", at("TERM=xterm", "NO_COLOR=1"))
    assert.equal("true 61 ^[31mx^[39m", at("TERM=xterm", "NO_COLOR="))
  end)
end)
