-- spec and features: documents about this program.
local cli = require "caisson.oci.cli"

local M = { commands = {} }

M.commands.spec = { text = "write a config.json to begin with", words = { 0, math.huge }, usage = "[arguments...]",
  flags = { { "bundle, b", "string", "the directory that it is written to" },
    { "rootless", "bool", "for a container of an ordinary user" } },
  main = function(o)
    local core = require "caisson.core"
    local dir = o.bundle or ""
    if dir ~= "" then
      local at, message = core.open(dir, { "path", "directory" })
      if not at then cli.fail("chdir " .. message:gsub("^open ", "")) end
      at:close()
      dir = dir:gsub("/*$", "/")
    end
    local config = require("caisson.oci.default").config { rootless = o.rootless }
    local text = require("caisson.oci.document").encode(config, "\t")
    local fd, message, errno = core.open(dir .. "config.json", { "write", "create", "exclusive" }, 438)
    if not fd then
      cli.fail(errno == core.errno.EEXIST and "File config.json exists. Remove it first" or message)
    end
    fd:write(text)
    fd:close()
  end }

M.commands.features = { text = "show what this program can do, as JSON", words = { 0, 0 }, usage = "", flags = {},
  main = function()
    io.write(require("caisson.oci.features").json())
  end }

return M
