-- Containers that outlive the command that makes them: the commands as processes of their own, the recipes
-- for them, and what must not be left.
local t = require "support"
local cli = require "support.cli"
local json = require "caisson.json"
local core = t.core

local M = {}

local worlds = 0

-- A world for one spec: a directory of states, and recipes beside it.
---@class support.World
local World = {}
World.__index = World

-- What these containers are: the sandbox; with groups where this user may make them.
local base = [[
local caisson = require "caisson"
local def = { extends = "sandbox", params = { out = { "path", default = "/dev/null" } }, build = function(p)
  local t = { stdin = "null", stdout = { file = p.out, append = true }, stderr = "stdout" }
  if %s then t.cgroup = { path = "%s*", accounting = { "cpu", "memory", "pids", "freeze" },
    memory = { max = "64M" }, pids = { max = 64 } } end
  local more = (function() %s end)() or {}
  for k, v in pairs(more) do t[k] = v end
  return t
end }
return caisson.recipe(def)
]]

function M.world()
  local dir = t.sh("mktemp -d"):gsub("\n", "")
  worlds = worlds + 1
  -- its groups begin with prefix
  local self = setmetatable({ dir = dir, root = dir .. "/states", out = dir .. "/out",
    prefix = ("csnlife-%d-%d-"):format(t.getpid(), worlds) }, World)
  self.box = self:recipe("box", "")
  return self
end

-- A recipe's file; code: returns further options, with p.
function World:recipe(name, code)
  local path = self.dir .. "/" .. name .. ".lua"
  local f = assert(io.open(path, "w"))
  f:write(base:format(tostring(t.is_root), self.prefix, code))
  f:close()
  return path
end

-- Run a command: words, then perhaps options of support.cli. Returns its result.
function World:run(words, opts)
  local argv = { "--root", self.root }
  for _, w in ipairs(words) do argv[#argv + 1] = w end
  return cli.caisson(argv, opts)
end

-- The same, which must succeed. Returns what it printed.
function World:ok(...)
  local words = { ... }
  local r = self:run(words)
  if r.code ~= 0 then
    error(("%s: status %s: %s"):format(table.concat(words, " "), tostring(r.code or r.signal), r.err), 2)
  end
  return r.out
end

-- The same, which must fail as caisson's own failures do. Returns the message.
function World:fails(...)
  local words = { ... }
  local r = self:run(words)
  if r.code ~= 125 then error(("%s: status %s: %s"):format(table.concat(words, " "), tostring(r.code or r.signal), r.err), 2) end
  if not r.err:find("^caisson: ") or r.err:find(": attempt to ", 1, true) then error("no message: " .. r.err, 2) end
  return r.err
end

-- Start a command beside us: the process, to be waited for and closed.
function World:begin(words)
  local argv = { "--root", self.root }
  for _, w in ipairs(words) do argv[#argv + 1] = w end
  local null = core.open("/dev/null", "readwrite")
  local p = assert(core.spawn { plan = core.plan { t.step("clone", {}), t.step("exec", { argv = cli.argv(argv),
    env = cli.environment, files = { "null", "null", "null" } }) }, slots = { null = null } })
  null:close()
  return p
end

-- A container that runs this script.
function World:start(id, script, recipe)
  self:ok("create", id, recipe or self.box, "out=" .. self.out, "--", "/bin/sh", "-c", script)
  self:ok("start", id)
  return self:state(id)
end

function World:state(id) return assert(json.decode(self:ok("state", id))) end

-- What containers have written, once it matches (5 seconds).
function World:output(pattern)
  local deadline = core.now() + 5e9
  while true do
    local text = t.read_file(self.out) or ""
    if not pattern or text:find(pattern) then return text end
    if core.now() > deadline then error(("%q has not come; there is: %q"):format(pattern, text), 2) end
    core.poll({}, 0.01)
  end
end

function World:groups()
  return t.sh("find /sys/fs/cgroup -type d -name '" .. self.prefix .. "*' 2>/dev/null")
end

-- Processes that say by their environment, or their descriptors and arguments, that they are of this world.
function World:processes()
  local list = {}
  for _, name in ipairs(core.list("/proc")) do
    if name:find("^%d+$") and tonumber(name) ~= t.getpid() then
      local words = t.read_file("/proc/" .. name .. "/cmdline") or ""
      if words:find(self.dir, 1, true) then
        list[#list + 1] = name
      else
        local out = core.lstat("/proc/" .. name .. "/fd/1")
        if out and out.target and out.target:find(self.dir, 1, true) then list[#list + 1] = name end
      end
    end
  end
  return list
end

-- The end of it: containers are deleted by force, and what is left afterwards is an error.
function World:close()
  for _, id in ipairs(require("caisson.state").list(self.root) or {}) do self:run { "delete", "--force", id } end
  local left = { ids = require("caisson.state").list(self.root), groups = self:groups(), processes = self:processes() }
  for _, pid in ipairs(left.processes) do os.execute("kill -KILL " .. pid .. " 2>/dev/null") end
  t.sh("find /sys/fs/cgroup -depth -type d -name '" .. self.prefix .. "*' -exec rmdir {} + 2>/dev/null; rm -rf " .. self.dir)
  return left
end

M.nothing = { ids = {}, groups = "", processes = {} }

return M
