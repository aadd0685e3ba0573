-- What makes a process the container's program: attributes, credentials, confinement, environment, exec. For a
-- new container (caisson.build) and for one that joins (caisson.process), each in its own order.
--
-- b is a builder: options, step(), fail(), check_type(), check_keys(); identity: who builds; new.user: the
-- user namespace is the container's; can_set_groups: its maps allow it.
local config = require "caisson.config"
local core = require "caisson.core"
local words = require "caisson.words"

local M = {}

-- ---- the terminal ----

-- A terminal of its own for the program: tty = true, or { rows =, columns = }. Returns its options.
function M.terminal_options(b)
  local o = b.options
  if o.session == false then b:fail("session", "a terminal (tty) needs a session of its own") end
  local files = b.files or { "stdin", "stdout", "stderr" }
  for i, name in ipairs { "stdin", "stdout", "stderr" } do
    if files[i] ~= name then b:fail("tty", "the program's descriptors 0, 1 and 2 are its terminal") end
    files[i] = "tty"
  end
  local t = o.tty == true and {} or o.tty
  b:check_keys("tty", t, { "rows", "columns" })
  local window = b.window or {}
  local uid, gid = M.ids(b)
  if uid == b.identity.euid and gid == b.identity.egid then uid, gid = nil, nil end
  b.files = files
  return { rows = t.rows or window[1], columns = t.columns or window[2], uid = uid, gid = gid, master = "pty",
    slave = "tty" }
end

-- ---- attributes ----

-- How each option becomes steps: fn(b, value, extra), extra as in B:step.
local attributes = {}

local function plain(name, field)
  attributes[name] = function(b, v, extra) b:step(name, name, field and { [field] = v } or v, extra) end
end

attributes.keyring = config.keyring
attributes.affinity = config.affinity
attributes.core_scheduling = config.core_scheduling

function attributes.rlimits(b, limits, extra)
  local names = {}
  for name in pairs(limits) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    local v = limits[name]
    local soft, hard = v, v
    if type(v) == "table" then
      for k in pairs(v) do
        if k ~= 1 and k ~= 2 and k ~= "soft" and k ~= "hard" then
          b:fail("rlimits/" .. name, words.unknown("unknown option", tostring(k), { "soft", "hard" }))
        end
      end
      soft, hard = v.soft or v[1], v.hard or v[2] or v.soft or v[1]
    end
    b:step("rlimits/" .. name, "rlimit", { resource = name, soft = soft, hard = hard }, extra)
  end
end

plain("umask", "mode")
plain("personality")
plain("oom_score_adj", "value")
plain("nice", "value")
plain("scheduler")
plain("ioprio")
plain("memory_policy")
plain("selinux", "label")
plain("apparmor", "profile")

-- The steps of one of these options, where it is given.
function M.attribute(b, name, extra)
  local v = b.options[name]
  if v and not (b.born_with or {})[name] then attributes[name](b, v, extra) end
end

-- A deadline, and what is reset on fork, are not inherited at birth.
function M.is_born_without(scheduler)
  if type(scheduler) ~= "table" then return scheduler == "deadline" end
  if (scheduler.policy or scheduler[1]) == "deadline" then return true end
  local flags = scheduler.flags
  for _, f in ipairs(type(flags) == "table" and flags or { flags }) do
    if f == "reset_on_fork" then return true end
  end
  return type(flags) == "number" and flags % 2 == 1
end

local function amount(limit) return limit == "max" and math.huge or tonumber(limit) end

-- A hard limit above the creator's own is raised as long as it may have the right to, outside.
function M.raise_limits(b, extra)
  if next(b.options.rlimits or {}) == nil then return end
  local now, names = core.rlimits(), {}
  for name in pairs(b.options.rlimits) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    local v, has = b.options.rlimits[name], now[name]
    if type(v) == "table" then v = v.hard or v[2] or v.soft or v[1] end
    if has and amount(v) and amount(v) > amount(has.hard) then
      b:step("rlimits/" .. name, "rlimit", { resource = name, soft = has.soft, hard = v }, extra)
    end
  end
end

-- What takes a right outside, which a container in a user namespace of its own has not: its creator does it to itself, in
-- front of clone, and the child is born with it.
function M.before_birth(b)
  if not b.new.user or b.identity.euid ~= 0 then return end
  local phase, side = b.phase, { side = "child" }
  b.phase, b.born_with = "process", {}
  M.raise_limits(b, side)
  for _, name in ipairs { "oom_score_adj", "nice", "scheduler", "ioprio" } do
    if not (name == "scheduler" and M.is_born_without(b.options.scheduler)) then
      M.attribute(b, name, side)
      b.born_with[name] = true
    end
  end
  b.phase = phase
end

-- ---- credentials ----

-- The program's uid and gid inside.
function M.ids(b)
  local user = b.options.user
  if user == nil then return b.identity.euid, b.identity.egid end
  if type(user) == "number" then return user, user end
  b:check_type("user", user, "number", "table", "string")
  return user.uid or b.identity.euid, user.gid or user.uid or b.identity.egid
end

-- A directory that is entered with more rights than the program's: before those go, and before a filter, which may
-- be the program's own and know nothing of how that is done.
local function enter_early(b)
  local cwd = M.cwd(b)
  if cwd and cwd.privileged and not b.entered then
    b.entered = true
    b:step("cwd", "chdir", { path = cwd.path, try = true })
  end
end

-- Landlock and seccomp come last of all. Without no_new_privs they need CAP_SYS_ADMIN, which is then kept to the end: what
-- makes the program is not for its filter to allow. Where the capabilities are not said, or a process stays behind as
-- its init, they come before the credentials.
function M.confines_late(b)
  local o = b.options
  return o.no_new_privs ~= false or o.capabilities ~= nil and not o.init
end

-- Is CAP_SYS_ADMIN kept?
local function keeps(b)
  local o = b.options
  return o.no_new_privs == false and M.confines_late(b) and
    (o.seccomp or o.seccomp_notify or o.landlock or b.no_setuid or o.trace or o.ptrace or b.explain) and true
end

-- Give up what was kept: the one call, capset(2), that the filter has to allow beside execve.
function M.let_go(b)
  if not keeps(b) then return end
  local caps = b.kept
  b.phase = "credentials"
  b:step("capabilities", "capabilities", { permitted = caps.permitted or {}, effective = caps.effective or {},
    inheritable = caps.inheritable or {} })
end

-- Option seccomp as a list. What is no list would be no filter.
local function filters_of(b)
  local policy, list = require "caisson.policy", b.options.seccomp
  if not list then return {} end
  if type(list) ~= "table" or policy.is(list) then list = { list } end
  local n = 0
  for _ in pairs(list) do n = n + 1 end
  if n ~= #list or n == 0 then b:fail("seccomp", "a policy, or a list of some, expected") end
  for i, p in ipairs(list) do
    local saved = type(p) == "table" and not policy.is(p) and type(p.program) == "string" -- with its container
    if type(p) ~= "string" and not policy.is(p) and not saved then
      b:fail("seccomp", ("a policy, or a program as bytes, expected, got %s (item %d)"):format(type(p), i))
    end
  end
  return list
end

local function filter(b, p, asker, key)
  local policy = require "caisson.policy"
  local saved = type(p) == "table" and not policy.is(p)
  local asks = asker and (saved and p.listener or policy.is(p) and policy.notifies(p))
  if asks and not saved then
    asker:check(p)
    if not p.listener then p = p:with { listener = asker.option } end
  end
  local ok, s, message = true, saved and { options = p }, nil
  if not saved then ok, s, message = pcall(policy.step, p) end
  if not ok then s, message = nil, tostring(s):gsub("^[^\n]-:%d+: ", "") end
  if not s then b:fail("seccomp", message) end
  if asks then asker:before() end
  b:step(key, "seccomp", s.options)
  if asks then asker:after(p.listener) end
  return asks
end

local function filters(b)
  local list, asked = filters_of(b), false
  local asker = require("caisson.notify").of(b)
  if asker and asker.filter then -- of its own, where none of these asks
    local policy, asking = require "caisson.policy", false
    for _, p in ipairs(list) do
      asking = asking or type(p) == "table" and (policy.is(p) and policy.notifies(p) or p.listener ~= nil)
    end
    if not asking then asked = filter(b, asker:filter(), asker, asker.option) end
  end
  for _, p in ipairs(list) do asked = filter(b, p, asker, "seccomp") or asked end
  if asker and not asked then b:fail(asker.option, "no policy of option 'seccomp' has action notify") end
end

-- Landlock's ruleset, the filters, and who answers what they ask.
function M.confinement(b)
  local o = b.options
  b.phase = "policy"
  enter_early(b)
  if o.landlock then
    local steps, left_out = require("caisson.landlock").compile(o.landlock)
    if not steps then b:fail("landlock", left_out) end
    for _, s in ipairs(steps) do
      b:step(s.ruleset and "landlock/" .. s.ruleset or "landlock", s.step, s.options, { optional = s.optional })
    end
    if #left_out > 0 then b.landlock_left_out = left_out end
  end
  if b.no_setuid then
    local s, message = require("caisson.policy").step(require("caisson.policy").no_setuid())
    if not s then b:fail(b.no_setuid, message) end
    b:step(b.no_setuid, s.step, s.options)
  end
  if o.seccomp or o.seccomp_notify ~= nil or o.seccomp_listener ~= nil then filters(b) end
end

local function plus(list, word)
  local more = { word }
  for _, w in ipairs(list or {}) do more[#more + 1] = w end
  return more
end

-- Do the maps of the user namespace, the container's own, one that it joins, or this process's, allow it?
local function may_set_groups(b)
  if b.new.user then return b.can_set_groups end
  local of = b.join and b.join.user and (b.join.user:match("^(/proc/%d+)/ns/user$") or "/dev/null") or "/proc/self"
  local f = io.open(of .. "/setgroups")
  local word = f and f:read("*l")
  if f then f:close() end
  return word ~= "deny"
end

-- Securebits, capabilities, groups, gid, uid, in the one order that works.
function M.credentials(b)
  local o = b.options
  local cwd = M.cwd(b)
  b.phase = "credentials"
  enter_early(b)
  if o.securebits then b:step("securebits", "securebits", { flags = o.securebits }) end
  local caps = o.capabilities
  if caps ~= nil then
    b:check_type("capabilities", caps, "table")
    if #caps > 0 or next(caps) == nil then
      for k in pairs(caps) do b:check_type("capabilities", k, "number") end
      caps = { bounding = caps, permitted = caps, effective = caps, inheritable = {}, ambient = {} }
    end
    b:check_keys("capabilities", caps, { "bounding", "permitted", "effective", "inheritable", "ambient" })
    -- the bounding set can't be lowered any more once the right to it is gone
    b:step("capabilities", "capabilities", { bounding = caps.bounding or {} })
  end
  local user = o.user
  if user ~= nil then
    if type(user) == "string" then b:fail("user", "ids are numbers, as they are inside; got a name") end
    if type(user) == "number" then user = { uid = user, gid = user } end
    b:check_keys("user", user, { "uid", "gid", "groups" })
    if may_set_groups(b) then
      b:step("user", "groups", { groups = user.groups or {} })
    elseif #(user.groups or {}) > 0 then
      b:fail("user", "groups can't be set in a user namespace whose maps deny setgroups")
    end
    if user.gid or user.uid then b:step("user", "gid", { gid = user.gid or user.uid }) end
    local keep = caps ~= nil and (keeps(b) or #(caps.permitted or {}) > 0 or #(caps.ambient or {}) > 0)
    if user.uid then b:step("user", "uid", { uid = user.uid, keep_capabilities = keep or nil }) end
  end
  if caps ~= nil and keeps(b) then
    b.kept = caps
    b:step("capabilities", "capabilities", { permitted = plus(caps.permitted, "sys_admin"),
      effective = plus(caps.effective, "sys_admin"), inheritable = caps.inheritable or {}, ambient = caps.ambient or {} })
  elseif caps ~= nil then
    b:step("capabilities", "capabilities", { permitted = caps.permitted or {}, effective = caps.effective or {},
      inheritable = caps.inheritable or {}, ambient = caps.ambient or {} })
  end
  if cwd then b:step("cwd", "chdir", { path = cwd.path, retry = cwd.privileged }) end
end

-- ---- exec ----

-- cwd = "/work", or { path =, privileged = true, create = true }: entered with the rights that the program does not have
-- any more, where those are needed; made where it is missing.
function M.cwd(b)
  local cwd = b.options.cwd
  if cwd == nil then return end
  if type(cwd) ~= "table" then cwd = { path = cwd } end
  b:check_keys("cwd", cwd, { "path", "privileged", "create" })
  return cwd
end

-- Before the root is made read-only.
function M.make_cwd(b)
  local cwd = M.cwd(b)
  if cwd and cwd.create then b:step("cwd", "mkdir", { path = cwd.path }) end
end

-- PATH, and HOME from /etc/passwd of the root, are what programs can't do without; the rest of the environment is
-- the recipe's.
--
-- environ, "NAME=value" each, is all of it, as it is; env is then what others have added.
function M.environment(b)
  if b.options.environ then return M.added(b) end
  local env, list = { PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" }, {}
  for k, v in pairs(b.options.env or {}) do
    if type(k) ~= "string" or k == "" or k:find("=", 1, true) then b:fail("env", "a name without '=' expected") end
    if v == false then v = nil else b:check_type("env/" .. k, v, "string", "number") end
    env[k] = v
  end
  for k, v in pairs(env) do list[#list + 1] = k .. "=" .. v end
  table.sort(list)
  return list
end

-- A list of "NAME=value", of which the last of a name counts, with what env says instead.
function M.added(b)
  local list, at = {}, {}
  local function add(name, text)
    if at[name] then
      list[at[name]] = text
    elseif text then
      list[#list + 1] = text
      at[name] = #list
    end
  end
  local n = 0
  for k in pairs(b:check_type("environ", b.options.environ, "table")) do
    n = n + 1
    if type(k) ~= "number" then b:fail("environ", "a list of NAME=value expected") end
  end
  if n ~= #b.options.environ then b:fail("environ", "a list without holes expected") end
  for i, text in ipairs(b.options.environ) do
    local key = ("environ/%d"):format(i)
    local name = b:check_type(key, text, "string"):match("^([^=]+)=")
    if text:find("%z") then b:fail(key, "a string without NUL expected") end
    add(name or text, text)
  end
  local names = {}
  for k in pairs(b.options.env or {}) do names[#names + 1] = k end
  table.sort(names)
  for _, k in ipairs(names) do
    local v = b.options.env[k]
    add(k, v ~= false and k .. "=" .. v or false)
  end
  local whole = {}
  for _, text in ipairs(list) do if text then whole[#whole + 1] = text end end
  return whole
end

function M.exec(b)
  local o = b.options
  b.phase = "exec"
  local args = o.args
  if args == nil then b:fail("args", "no program given") end
  if type(args) == "string" then args = { args } end
  b:check_type("args", args, "table")
  if #args == 0 then b:fail("args", "no program given") end
  b:step("args", "exec", { argv = args, env = M.environment(b), files = b.files or { "stdin", "stdout", "stderr" },
    home = (o.env or {}).HOME == nil or nil, init = o.init or nil, death_signal = config.death_signal(b) })
end

return M
