local t = require "support"

-- In a copy of the checkout, into an empty tree; any user may do it, and nothing is downloaded.
describe("the rock", function()
  local dir = t.sh("mktemp -d"):match("%S+")
  local tree = dir .. "/tree"

  local function install(lua, include)
    local config = assert(io.open(dir .. "/config.lua", "w"))
    config:write(([[lua_interpreter = "%s"
      variables = { LUA_DIR = "/usr", LUA_BINDIR = "/usr/bin", LUA_INCDIR = "%s" }]]):format(lua, include))
    config:close()
    return t.sh(([[mkdir -p %s/src && tar -c --exclude=./.git --exclude='./build*' . | tar -x -C %s/src &&
      cd %s/src && HOME=%s LUAROCKS_CONFIG=%s/config.lua %s "$(command -v luarocks)" --lua-version %s \
      make --deps-mode=none --tree %s 2>&1; echo "status $?"]]):format(dir, dir, dir, dir, dir, lua,
      lua:match("5%.%d") or "5.1", tree))
  end

  teardown(function() t.sh("rm -rf " .. dir) end)

  for lua, include in pairs { luajit = "/usr/include/luajit-2.1", ["lua5.4"] = "/usr/include/lua5.4" } do
    it("installs offline into an empty tree, with " .. lua, function()
      t.sh("rm -rf " .. tree)
      local log = install(lua, include)
      assert.truthy(log:find("status 0", 1, true), log)

      -- every module and recipe of the checkout is there
      local lua_dir = tree .. "/share/lua/" .. (lua:match("5%.%d") or "5.1")
      assert.equal(t.sh("(cd lua && find caisson -name '*.lua' | sort); find recipes -name '*.lua' | sort"),
        t.sh(("cd %s && find caisson -name '*.lua' ! -path 'caisson/recipes/*' ! -path 'caisson/meta/*' | sort; "):format(lua_dir) ..
        "cd caisson && find recipes -name '*.lua' | sort"))

      -- and both are used from anywhere
      local path = ("LUA_PATH='%s/?.lua;%s/?/init.lua;;' LUA_CPATH='%s/?.so;;'"):format(lua_dir, lua_dir,
        (lua_dir:gsub("/share/", "/lib/")))
            local version = t.sh(("cd / && %s %s -e 'print(require([[caisson]])._VERSION)' 2>&1"):format(path, lua))
      assert.equal(require("caisson")._VERSION .. "\n", version)
      local output = t.sh(("cd / && %s/bin/caisson run sandbox -- echo from the box 2>&1"):format(tree))
      assert.equal("from the box\n", output)
    end)
  end
end)
