-- The recipe's options that need more than a step: labels of security modules, the session keyring, CPUs
-- before and after, shares of caches, the console.

local core = require "caisson.core"

local M = {}

-- Labels are written through a procfs that nothing in the root can stand before, made here, before the
-- switch of roots, where the container may mount one. So are sysctls, whose files may be read-only in its own, and
-- the score, whose file may not be there. A container among the host's processes has the host's.
function M.procfs(b)
  local o = b.options
  local key = o.apparmor and "apparmor" or o.selinux and "selinux" or o.sysctl and "sysctl"
    or o.oom_score_adj and not b.born_with and "oom_score_adj"
  if not key or not b.new.mount then return end
  if b.new.pid or b.join.pid and not b.new.user then
    b:step(key, "procfs", {})
  else
    b:step(key, "mount.tree", { source = "/proc", tree = "procfs", recursive = b.new.user })
  end
end


-- keyring = true, a name, or { name =, searchable = }: `_ses.ID` where the container has an id and no name is
-- given. The keys of a labelled program have its label.
function M.keyring(b, k, extra)
  if k == true then k = {} end
  if type(k) == "string" then k = { name = k } end
  b:check_keys("keyring", k, { "name", "searchable", "label" })
  b:step("keyring", "keyring", { name = k.name or b.id and "_ses." .. b.id or nil, searchable = k.searchable,
    label = k.label or b.options.selinux }, extra)
end

-- Of processes that join, where they have none of their own. Which CPUs there are shows when one does.
local function check_joined(b, a)
  b:check_keys("affinity/joined", a, { "initial", "final" })
  for k, cpus in pairs(a) do
    if type(cpus) ~= "string" or not cpus:find("^[%d,%- ]+$") then
      b:fail("affinity/joined/" .. k, "CPUs such as '0-3,5' expected, got " .. require("caisson.words").show(tostring(cpus)))
    end
  end
end

local function affinity(b, a, when, extra)
  if type(a) ~= "table" then a = { final = a } end
  b:check_keys("affinity", a, { "initial", "final", "joined" })
  if a.joined ~= nil then check_joined(b, a.joined) end
  if a[when] ~= nil then b:step("affinity", "affinity", { cpus = a[when] }, extra) end
end

-- affinity = "0-3", or { initial = "0", final = "0-3", joined = { initial =, final = } }: initial while the container is made,
-- or joined; joined: of those that join it.
function M.affinity(b, a, extra) affinity(b, a, "final", extra) end

-- Before clone: of the child's creator, from whom the child has it.
function M.initial_affinity(b)
  if b.options.affinity ~= nil then affinity(b, b.options.affinity, "initial", { side = "child" }) end
end

-- core_scheduling = true: a cookie of the container's own; { share = pid }: that of another process.
function M.core_scheduling(b, c, extra)
  if c == true then
    b:step("core_scheduling", "core_scheduling", { cookie = "create" }, extra)
    return
  end
  b:check_keys("core_scheduling", c, { "share" })
  b:step("core_scheduling", "core_scheduling", { cookie = "share_from", pid = c.share }, extra)
end

-- The container's own terminal at /dev/console: bound by the descriptor that the pty was made with, not by a
-- name in its devpts, and to no place that a symlink of the image leads to (CVE-2025-52565).
function M.console(b)
  b:step("console", "mount.bind", { fd = "tty", target = "/dev/console", target_nofollow = true })
end

local rdt_keys = { "group", "l3", "memory_bandwidth", "schemata", "monitor" }

-- rdt = { group =, l3 = "L3:0=f", memory_bandwidth = "MB:0=50", schemata = { ... }, monitor = true }. Without a
-- group one is made that has the container's id, and removed with it. A group without any schema is to be
-- there already.
function M.rdt(b)
  local r = b.options.rdt
  if r == nil then return end
  b:check_keys("rdt", r, rdt_keys)
  local group = r.group or b.id
  if group == nil then b:fail("rdt", "a group is expected, as the container has no id that could be its name") end
  local lines, message = require("caisson.resctrl").lines(r)
  if not lines then b:fail("rdt", message) end
  if r.monitor ~= nil then b:check_type("rdt/monitor", r.monitor, "boolean") end
  b:step("rdt", "resctrl", { group = group, schemata = #lines > 0 and lines or nil,
    existing = r.group ~= nil and #lines == 0 or nil, monitor = r.monitor and (b.id or "caisson") or nil })
  if not r.group then b.own_resctrl_group = group end
end

-- The signal that the program gets when its parent dies.
function M.death_signal(b)
  local d = b.options.die_with_parent
  if d == false or d == nil and b.wait then return "none" end
  if d == nil or d == true then return "KILL" end
  if type(d) ~= "string" and type(d) ~= "number" then
    b:fail("die_with_parent", "true, false or a signal expected, got " .. type(d))
  end
  local ok, message = pcall(core.check, "exec", { argv = { "" }, death_signal = d })
  if not ok then b:fail("die_with_parent", (message:gsub("option 'death_signal': ", ""))) end
  return d
end

-- Annotations: what the container's hooks and its state are told; strings.
function M.annotations(b)
  for k, v in pairs(b.options.annotations or {}) do
    if type(k) ~= "string" or k == "" then b:fail("annotations", "names are strings") end
    if type(v) ~= "string" then b:fail("annotations", ("'%s': string expected, got %s"):format(k, type(v))) end
  end
  b.annotations = b.options.annotations
end

return M
