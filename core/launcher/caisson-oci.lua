#!/usr/bin/env lua
-- The caisson-oci command where it is installed as a rock; `make` builds it as a program (main.c).
-- luarocks' wrapper knows the rock's own tree only if dependencies were looked at.
local tree, version = arg[0]:match("^(.*)/lib/luarocks/rocks%-(5%.%d)/caisson/[^/]+/bin/caisson%-oci$")
if tree then
  local lua, lib = tree .. "/share/lua/" .. version, tree .. "/lib/lua/" .. version
  package.path = lua .. "/?.lua;" .. lua .. "/?/init.lua;" .. package.path
  package.cpath = lib .. "/?.so;" .. package.cpath
end
os.exit(require("caisson.oci.cli").main(arg))
