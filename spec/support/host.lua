-- Host processes for specs: a Lua of their own, set up as an application might be that uses the library.
local t = require "support"

local M = {}

local function quote(s)
  return "'" .. s:gsub("'", "'\\''") .. "'"
end

M.lua = t.sh("readlink /proc/$PPID/exe"):gsub("\n", "")

-- The folder of caisson_host.so: what Lua can't do (see host.c), compiled for this Lua.
local module
function M.module_folder()
  if not module then
    local name = rawget(_G, "jit") and "luajit" or "lua" .. _VERSION:match("%d+%.%d+")
    module = t.sh("mktemp -d"):gsub("\n", "")
    local out = t.sh(("cc -shared -fPIC -O1 -Wall -Wextra $(pkg-config --cflags %s) -o %s/caisson_host.so " ..
      "spec/support/host.c -lpthread 2>&1"):format(name, module))
    if out ~= "" then error("host.c: " .. out) end
  end
  return module
end

-- Remove it again; for a spec's teardown.
function M.clean()
  if module then os.execute("rm -rf " .. quote(module)) end
  module = nil
end

local prelude = [[
local core, host, t = require "caisson.core", require "caisson_host", require "support"
]]

-- Run the code in a Lua of its own, with core, host and t; returns what it printed. shell: commands
-- before it (`trap '' CHLD`), redirect: behind it; opts.env: more of the environment.
function M.run(code, opts)
  opts = opts or {}
  local folder = M.module_folder()
  local path = os.tmpname()
  local f = assert(io.open(path, "w"))
  f:write(prelude, code)
  f:close()
  local out = t.sh(("export LUA_PATH=%s LUA_CPATH=%s; (%s; exec %s %s %s) 2>&1"):format(
    quote(package.path), quote(folder .. "/?.so;" .. package.cpath), opts.shell or ":", quote(M.lua), path,
    opts.redirect or ""))
  os.remove(path)
  return out
end

return M
