-- The manual pages, and what make install puts where.
local t = require "support"
local cli = require "support.cli"
local man = require "caisson.cli.man"

local function has(program) return t.sh("command -v " .. program .. " || true"):find "/" ~= nil end

local function with_file(text, fn)
  local path = os.tmpname()
  local f = assert(io.open(path, "w"))
  f:write(text)
  f:close()
  local ok, message = pcall(fn, path)
  os.remove(path)
  assert(ok, message)
end

for _, name in ipairs { "caisson", "caisson-oci" } do
  describe("the manual page of " .. name, function()
    local page = man.page(name)

    it("is one that mandoc finds nothing in", function()
      if not has "mandoc" then return pending "no mandoc here" end
      with_file(page, function(path)
        local said = t.sh("mandoc -Tlint " .. path .. " 2>&1; true")
        -- pages of other packages may be absent, or be taken for the system's own
        said = said:gsub("[^\n]*referenced manual not found[^\n]*\n", "")
        assert.equal("", said)
      end)
    end)

    it("is one that groff warns of nothing in", function()
      if not has "groff" then return pending "no groff here" end
      with_file(page, function(path) assert.equal("", t.sh("groff -man -ww -z -Tutf8 " .. path .. " 2>&1")) end)
    end)
  end)
end

describe("caisson(1)", function()
  -- As it is read.
  local page = man.page "caisson":gsub("\\f[BIR]", ""):gsub("\\%-", "-"):gsub("\\e", "\\")
  local flat = page:gsub("%s+", " ")

  it("has every command, with every option and what it is", function()
    local root, commands = require("caisson.cli.arguments").parser()
    for name, c in pairs(commands) do
      local from = assert(page:find("\n.SS caisson " .. name .. "[ \n]"), name)
      local section = page:sub(from + 1, (page:find("\n%.S[SH]", from + 1)))
      for _, o in ipairs(c._options) do
        if not o._hidden and o._aliases[2] ~= "--help" then
          assert.truthy(section:find("\n" .. table.concat(o._aliases, ", "), 1, true), name .. " " .. o._aliases[1])
          local about = o._description:gsub("`", ""):gsub("%s+", " ")
          assert.truthy(flat:find(about, 1, true), about)
        end
        if o._hidden then assert.is_nil(section:find("\n" .. o._aliases[1], 1, true), o._aliases[1]) end
      end
    end
    for _, o in ipairs(root._options) do assert.truthy(page:find("\n" .. table.concat(o._aliases, ", "), 1, true)) end
  end)

  it("and the help are made of sentences", function()
    local root, commands = require("caisson.cli.arguments").parser()
    local function check(element, name)
      for _, list in ipairs { element._options, element._arguments } do
        for _, o in ipairs(list) do
          if not o._hidden then
            assert.truthy(o._description and o._description:find "%.%)?$", ("%s %s: %s"):format(name, o._name, tostring(o._description)))
          end
        end
      end
    end
    check(root, "caisson")
    for name, c in pairs(commands) do
      assert.truthy(c._description:find "%.$", name)
      check(c, name)
    end
  end)

  it("is what the command writes, as is the other one", function()
    assert.same({ man.page "caisson", 0 }, { cli.caisson({ "help", "--man" }).out, cli.caisson({ "help", "--man" }).code })
    assert.equal(man.page "caisson-oci", cli.caisson({ "help", "--man", "caisson-oci" }).out)
    assert.equal(125, cli.caisson({ "help", "--man", "run" }).code)
  end)

  it("says nothing of where it was made", function()
    assert.is_nil(page:find(cli.root, 1, true))
  end)
end)

describe("make install", function()
  it("puts the pages and the completions where they are looked for, for everybody to read", function()
    if not t.sh("test -x build/bin/caisson && test -e build/caisson/core.so && command -v make || true"):find "/" then
      return pending "nothing is built here"
    end
    local dir = t.sh("mktemp -d"):match "%S+"
    local out = t.sh(("umask 077; make -s install DESTDIR=%s PREFIX=/usr BUILD=build 2>&1; echo status $?"):format(dir))
    local share = dir .. "/usr/share/"
    local want = {
      ["man/man1/caisson.1"] = { "help", "--man" }, ["man/man8/caisson-oci.8"] = { "help", "--man", "caisson-oci" },
      ["bash-completion/completions/caisson"] = { "completion", "bash" },
      ["zsh/site-functions/_caisson"] = { "completion", "zsh" },
      ["fish/vendor_completions.d/caisson.fish"] = { "completion", "fish" },
    }
    local found = {}
    for file, words in pairs(want) do
      local f = io.open(share .. file)
      found[file] = f and f:read "*a" == cli.caisson(words).out and t.sh("stat -c %a " .. share .. file):match "%d+"
      if f then f:close() end
    end
    local meta = t.sh(("cd lua/meta && find . -name '*.lua' | sort; echo; cd %s/usr/share/lua/5.1/caisson/meta && find . -name '*.lua' | sort"):format(dir))
    t.sh("rm -rf " .. dir)
    assert.truthy(out:find "status 0\n", out)
    assert.equal(meta:match "^(.-\n)\n", meta:match "\n\n(.*)$") -- what editors know of the core and of recipes
    for file in pairs(want) do assert.equal("644", found[file], file) end
  end)
end)
