-- What becomes of a run, as lines of JSON that another program reads while it goes on:
--
--   {"child-pid":4711,"cgroup-namespace":4026531835,"ipc-namespace":...,...}   before the program is executed
--   {"exec-ns":123456789}                          it was, at that time of CLOCK_MONOTONIC
--   {"exit-code":0,"status":"exited"}              it has ended: 128 + the signal where it was killed, and "signal"
--   {"error":"...","errno":2,"step":"mount.bind"}  or it was never executed
--
-- Names are those of bubblewrap's --json-status-fd where it has them.
local core = require "caisson.core"
local json = require "caisson.json"

local M = {}

local kinds = { "cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts" }

-- Steps that take rights away, or begin the end; the namespaces are all made before them.
local late = { securebits = true, capabilities = true, groups = true, gid = true, uid = true, no_new_privs = true,
  ["landlock.restrict"] = true, seccomp = true, apparmor = true, selinux = true, exec = true }

---@class caisson.Status
local Status = {}
Status.__index = Status

-- to: a descriptor, { file = path }, or a function that gets each line's table. Returns it | nil, message, errno.
-- Raises where it is none of these.
function M.open(to)
  local self = setmetatable({}, Status)
  if type(to) == "function" then
    self.call = to
  elseif type(to) == "table" and type(to.file) == "string" and next(to, next(to)) == nil then
    local message, errno
    self.fd, message, errno = core.open(to.file, { "write", "create", "truncate", "nofollow" }, 384)
    if not self.fd then return nil, "status: " .. message, errno end
  elseif type(to) == "number" or type(to) == "userdata" then
    local ok, fd, message, errno = pcall(core.dup, to)
    if not ok then error("status: " .. tostring(fd), 0) end
    if not fd then return nil, "status: " .. message, errno end
    self.fd = fd
  else
    error("status: a descriptor, { file = } or a function expected, got " .. type(to), 0)
  end
  return self
end

local function line(t)
  local items = {}
  for k, v in pairs(t) do items[#items + 1] = json.string(k) .. ":" .. json.value(v) end
  table.sort(items)
  return "{" .. table.concat(items, ",") .. "}\n"
end

function Status:tell(t)
  if self.call then
    self.call(t)
  elseif self.fd then
    self.fd:write(line(t))
  end
end

local function describe(pid)
  local t = { ["child-pid"] = pid }
  for _, kind in ipairs(kinds) do
    -- a new time namespace is entered by exec
    local st = core.lstat(("/proc/%d/ns/%s"):format(pid, kind == "time" and "time_for_children" or kind))
    t[kind .. "-namespace"] = st and tonumber(st.target:match "%[(%d+)%]")
  end
  return t
end

-- Put into the plan the step that tells of the child once its namespaces are made.
function Status:watch(plan)
  local place
  for i, s in plan:each() do
    local name = s.step
    if name == "namespace.join" or name == "namespace.unshare" or name == "clone" then place = nil end
    if not place and late[name] and s.phase ~= "idmap" then place = i end
  end
  local step = plan.call(function(pid) self:tell(describe(pid)) end, { name = "status", side = "parent", phase = "status" })
  table.insert(plan.steps, place, step)
end

function Status:executed(exec_ns) self:tell { ["exec-ns"] = exec_ns } end

function Status:failed(message, errno, failure)
  self:tell { error = message, errno = errno, step = failure and failure.step }
  self:close()
end

function Status:ended(result)
  self:tell { ["exit-code"] = result.code or 128 + (result.signal or 9), signal = result.signal, status = result.status }
  self:close()
end

function Status:close()
  if self.fd then self.fd:close() end
  self.fd, self.call = nil, nil
end

return M
