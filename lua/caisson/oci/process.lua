-- A process of the OCI runtime specification as a recipe has it, or as caisson.process does: one table serves both.
local core = require "caisson.core"

local M = {}

-- A word of the specification's as the primitives have it: SCHED_FIFO, IOPRIO_CLASS_RT, MPOL_BIND.
local function word(prefix, text, others)
  local rest = text:match("^" .. prefix .. "(.+)$") or text
  return others and others[rest] or rest:lower()
end

local function words(prefix, list)
  local t = {}
  for i, text in ipairs(list or {}) do t[i] = word(prefix, text) end
  return t
end

M.word, M.words = word, words

local function is_known(name)
  return name ~= "all" and pcall(core.check, "capabilities", { bounding = { name } })
end

-- Names that are not known here are left out, as the specification wants it; warn is told.
local function capabilities(sets, warn)
  local t, known = {}, {}
  for _, set in ipairs { "bounding", "permitted", "effective", "inheritable", "ambient" } do
    local list = {}
    for _, name in ipairs(sets[set] or {}) do
      local plain = name:lower():gsub("^cap_", "")
      if known[plain] == nil then known[plain] = is_known(plain) end
      if known[plain] then
        list[#list + 1] = plain
      else
        warn(("process.capabilities.%s: %s is not known here, and left out"):format(set, name))
      end
    end
    t[set] = list
  end
  -- The kernel raises what is permitted and inheritable alone; the rest of the ambient set goes without a word, as
  -- configurations that engines and `runc spec` write have it.
  local inherited, permitted = {}, {}
  for _, name in ipairs(t.inheritable) do inherited[name] = true end
  for _, name in ipairs(t.permitted) do permitted[name] = true end
  for i = #t.ambient, 1, -1 do
    if not (inherited[t.ambient[i]] and permitted[t.ambient[i]]) then table.remove(t.ambient, i) end
  end
  return t
end

local function rlimits(list)
  local t = {}
  for i, r in ipairs(list) do
    local name = word("RLIMIT_", r.type)
    if t[name] then
      error(("process.rlimits[%d]: %s stands there twice"):format(i, r.type), 0)
    end
    -- 2^64-1 is RLIM_INFINITY
    t[name] = { soft = r.soft, hard = r.hard }
  end
  return t
end

local io_classes = { RT = "realtime", BE = "best_effort" }

-- The options for the process p of a configuration: those of a recipe (opts.init), or of container:exec.
-- What an additional process leaves out it has from its container. warn: is told what was left out, and why.
-- Raises what is wrong.
function M.of(p, _, opts)
  opts = opts or {}
  local warn = opts.warn or function() end
  local user = p.user or {}
  local o = {
    args = p.args,
    environ = p.env or {},
    user = { uid = user.uid or 0, gid = user.gid or 0, groups = user.additionalGids },
    cwd = { path = p.cwd or "/", privileged = true, create = opts.init or nil },
    no_new_privs = p.noNewPrivileges == true,
    oom_score_adj = p.oomScoreAdj,
  }
  if user.umask then o.umask = ("%04o"):format(user.umask) elseif opts.init then o.umask = "0022" end
  if p.terminal then
    local size = p.consoleSize or {}
    o.tty = { rows = size.height, columns = size.width }
  end
  if p.capabilities or opts.init then o.capabilities = capabilities(p.capabilities or {}, warn) end
  if p.rlimits then o.rlimits = rlimits(p.rlimits) end
  if p.apparmorProfile and p.apparmorProfile ~= "" then o.apparmor = p.apparmorProfile end
  if p.selinuxLabel and p.selinuxLabel ~= "" then o.selinux = p.selinuxLabel end
  local s = p.scheduler
  if s then
    o.scheduler = { policy = word("SCHED_", s.policy), nice = s.nice, priority = s.priority, runtime = s.runtime,
      deadline = s.deadline, period = s.period, flags = s.flags and words("SCHED_FLAG_", s.flags) }
  end
  if p.ioPriority then
    o.ioprio = { class = word("IOPRIO_CLASS_", p.ioPriority.class, io_classes), level = p.ioPriority.priority }
  end
  local cpus = p.execCPUAffinity
  if cpus then
    local function set(list) return list ~= "" and list or nil end
    local a = { initial = set(cpus.initial), final = set(cpus.final) }
    o.affinity = opts.init and { joined = a } or a
  end
  if not opts.no_new_keyring then o.keyring = true end
  return o
end

return M
