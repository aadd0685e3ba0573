-- The steps that make a process the container's program, as `process` of a configuration. For caisson.oci.export.
local M = { handlers = {} }

local handlers = M.handlers

local function prefixed(prefix, word, others)
  return prefix .. (others and others[word] or word:upper())
end

local function each(prefix, words)
  if not words or #words == 0 then return nil end
  local t = {}
  for i, w in ipairs(words) do t[i] = prefixed(prefix, w) end
  return t
end

-- A mode, as a number or in octal digits.
local function mode_of(v)
  return type(v) == "string" and tonumber(v, 8) or v
end
M.mode_of = mode_of

local function capability_names(list)
  local t, core = {}, require "caisson.core"
  for _, w in ipairs(list) do
    if w == "all" then
      t = {}
      for _, known in ipairs(core.primitives.capabilities.fields[1].words) do
        if known ~= "all" then t[#t + 1] = "CAP_" .. known:upper() end
      end
      return t
    end
    t[#t + 1] = "CAP_" .. w:upper()
  end
  return t
end

-- What the program would have if nothing were said.
function M.begin(x)
  local b = x.builder
  local uid, gid = b.identity.euid, b.identity.egid
  local p = x.config.process
  p.terminal = x.options.tty and true or nil
  local tty = type(x.options.tty) == "table" and x.options.tty or {}
  if tty.rows and tty.columns then p.consoleSize = { height = tty.rows, width = tty.columns } end
  p.user, p.cwd = { uid = uid, gid = gid }, "/"
  if #(b.identity.groups or {}) > 0 then p.user.additionalGids = b.identity.groups end
  x.capabilities = {}
end

function M.finish(x)
  local p, c = x.config.process, x.capabilities
  if x.new.user and x.options.user == nil then p.user.additionalGids = nil end -- they are not in its maps
  c.bounding = c.bounding or x.new.user and { "all" } or require("caisson.core").attributes().capabilities.bounding
  -- without a word uid 0 has all that is in the bounding set, and others have nothing
  local held = c.permitted or p.user.uid == 0 and c.bounding or {}
  p.capabilities = {
    bounding = capability_names(c.bounding), permitted = capability_names(held),
    effective = capability_names(c.effective or held), inheritable = capability_names(c.inheritable or {}),
    ambient = capability_names(c.ambient or {}),
  }
end

function handlers.capabilities(x, o)
  for set, list in pairs(o) do x.capabilities[set] = list end
end

-- The last counts: before the program's own ids a builder may take on some that are in the map.
function handlers.uid(x, o) x.config.process.user.uid = o.uid end
function handlers.gid(x, o) x.config.process.user.gid = o.gid end
function handlers.groups(x, o) x.config.process.user.additionalGids = #(o.groups or {}) > 0 and o.groups or nil end

function handlers.chdir(x, o) x.config.process.cwd = o.path end
function handlers.no_new_privs(x) x.config.process.noNewPrivileges = true end
function handlers.umask(x, o) x.config.process.user.umask = mode_of(o.mode) end
function handlers.oom_score_adj(x, o) x.config.process.oomScoreAdj = o.value end
function handlers.selinux(x, o) x.config.process.selinuxLabel = o.label end
function handlers.apparmor(x, o) x.config.process.apparmorProfile = o.profile end
handlers.keyring = function() end

function handlers.rlimit(x, o)
  local p = x.config.process
  local function value(v) return (v == "max" or v == "unlimited") and "18446744073709551615" or v end
  p.rlimits = p.rlimits or {}
  table.insert(p.rlimits, { type = prefixed("RLIMIT_", o.resource), soft = value(o.soft), hard = value(o.hard) })
end

function handlers.nice(x, o)
  local s = x.config.process.scheduler or { policy = "SCHED_OTHER" }
  s.nice, x.config.process.scheduler = o.value, s
end

function handlers.scheduler(x, o, step)
  if o.policy == "ext" then return x:lost(step, "the specification does not know SCHED_EXT") end
  if o.util_min or o.util_max then x:lost(step, "the specification has no values of utilization clamps") end
  local s = x.config.process.scheduler or {}
  s.policy = prefixed("SCHED_", o.policy or "other")
  s.nice, s.flags = o.nice or s.nice, each("SCHED_FLAG_", o.flags)
  for _, k in ipairs { "priority", "runtime", "deadline", "period" } do s[k] = o[k] end
  x.config.process.scheduler = s
end

local io_classes = { realtime = "RT", best_effort = "BE", idle = "IDLE" }

function handlers.ioprio(x, o, step)
  if not io_classes[o.class] then return x:lost(step, ("the specification has no class '%s'"):format(o.class)) end
  x.config.process.ioPriority = { class = prefixed("IOPRIO_CLASS_", o.class, io_classes), priority = o.level }
end

function handlers.personality(x, o, step)
  if #(o.flags or {}) > 0 then x:lost(step, "the specification knows no flags") end
  x.config.linux.personality = { domain = prefixed("", o.domain or "linux") }
end

function handlers.memory_policy(x, o)
  x.config.linux.memoryPolicy = { mode = prefixed("MPOL_", o.mode), nodes = o.nodes, flags = each("MPOL_F_", o.flags) }
end

-- The policy is read from the option; a filter that stands there by itself can't be.
function handlers.seccomp(x, _, step)
  if step.key ~= "seccomp" and step.key ~= x.builder.no_setuid then
    x:lost(step, "the filter is a finished program, of which no rules can be read")
  end
end

function handlers.exec(x, o)
  local p = x.config.process
  p.args, p.env = o.argv, o.env
end

return M
