-- One run of caisson watch, in a process of its own, so that nothing of a recipe's last evaluation is there in the next,
-- and so that one that never ends can be ended. It tells the watching process which files it has read, the plan, and
-- the result, as lines of JSON; and it ends its container when that process asks for it, or is gone.
local core = require "caisson.core"
local json = require "caisson.json"

local M = {}

---@class caisson.cli.watch.Observer
local Observer = {}
Observer.__index = Observer

function Observer:tell(message)
  self.report:write((json.document(message):gsub("\n *", "")), "\n")
  self.report:flush()
end

-- A file that the recipe's evaluation has read, or looked for.
function Observer:note(path)
  if type(path) ~= "string" or path:find "^/proc/" or path:find "^/sys/" or path:find "^/dev/" or path:find "%c" then return end
  local st, _, errno = core.lstat(path)
  if st and st.type ~= "file" and st.type ~= "link" or errno == core.errno.ENOTDIR then return end
  self.files[path] = true
end

-- All that reads Lua or files from now on notes them.
function Observer:listen()
  local note = self
  for _, place in ipairs { { _G, "loadfile" }, { _G, "dofile" }, { io, "lines" } } do
    local original = place[1][place[2]]
    place[1][place[2]] = function(path, ...)
      note:note(path)
      return original(path, ...)
    end
  end
  local open = io.open
  io.open = function(path, mode, ...) -- luacheck: ignore 122
    if not mode or mode:find "^r" then note:note(path) end
    return open(path, mode, ...)
  end
  local original = require
  function _G.require(name)
    if type(name) == "string" and not package.loaded[name] and not package.preload[name] and not name:find "^caisson%f[%z.]" then
      for template in package.path:gmatch "[^;]+" do
        local path = template:gsub("%?", (name:gsub("%.", "/")))
        local there = core.lstat(path)
        -- one that is missing may be about to be written, beside the recipe rather than in the system
        if there or not path:find "^/usr/" then note:note(path) end
        if there then break end
      end
    end
    return original(name)
  end
end

-- The recipe is about to be built, and run. What it is made of is told in between.
function Observer:observe(recipe)
  local build = recipe.build
  recipe.build = function(self_, opts)
    local known, declared = pcall(recipe.all_params or error, recipe) -- what is wrong there building says
    for name, d in pairs(known and declared or {}) do
      if d[1] == "path" then self:note(opts and opts.params and opts.params[name] or d.default) end
    end
    local built, message = build(self_, opts)
    if built then
      local shown = built
      if opts and opts.explain then -- the plan without what explains it, which is another each time
        local plain = {}
        for k, v in pairs(opts) do plain[k] = v end
        plain.explain = nil
        shown = build(self_, plain) or built
      end
      -- From now on there is something to take away, whatever comes: the terminal's keys, its end, and that of whom the
      -- result is told. The watching process hears of them too.
      self.held = self.held or assert(core.signal.open { "INT", "TERM", "HUP", "QUIT", "PIPE" })
      -- the program's errors apart from what is said here
      if opts and built.options.stderr == nil and not built.options.tty then opts.stderr = self.stderr end
      self:tell { plan = shown.plan:json() }
      self:tell_files()
    end
    return built, message
  end
end

function Observer:tell_files()
  local list = {}
  for path in pairs(self.files) do list[#list + 1] = path end
  table.sort(list)
  self:tell { files = list }
end

function Observer:ended(document)
  local r = {}
  for _, key in ipairs { "status", "code", "signal", "wall_ns", "memory_peak", "verdict" } do r[key] = document[key] end
  self:tell { result = r }
end

-- Every child of this process, and what they leave behind. What is not in a pid namespace, and in no group that could
-- be killed, is a child of this process's when its parent is gone: subreaper(2) of prctl.
function M.sweep()
  for _ = 1, 1000 do
    local found = false
    local me = tostring(core.identity().pid)
    for _, name in ipairs(core.list("/proc") or {}) do
      local f = name:find "^%d+$" and io.open("/proc/" .. name .. "/stat")
      local stat = f and f:read "*a"
      if f then f:close() end
      if stat and stat:match "%) %a (%d+)" == me then
        local fd = core.pidfd.open(tonumber(name))
        if fd then
          found = true
          core.pidfd.kill(fd, "KILL")
          core.pidfd.wait(fd, 5)
          fd:close()
        end
      end
    end
    if not found then return end
  end
end

-- o: as of caisson run; worker: "REPORT,CONTROL,STDERR", the descriptors.
function M.main(o)
  local report, control, stderr = o.worker:match "^(%d+),(%d+),(%d+)$"
  local out = report and io.open("/proc/self/fd/" .. report, "w")
  if not out then require("caisson.cli").fail("--worker is for caisson watch itself") end
  core.subreaper(true)
  local observer = setmetatable({ report = out, files = {}, stderr = tonumber(stderr) }, Observer)
  o.observer, o.cancel = observer, tonumber(control)
  local words = o.words[1]
  if words and core.lstat(words .. "/config.json") then observer:note(words .. "/config.json") end
  observer:listen()
  local ok, status = pcall(require("caisson.cli.run").main, o)
  observer:tell_files()
  M.sweep()
  if observer.held then core.signal.close(observer.held) end
  if not ok then error(status, 0) end
  return status
end

return M
