-- What can't work: on this machine, for this user, or at all.
local core = require "caisson.core"
local model = require "caisson.check.model"

local words = require "caisson.words"

local rules = {}

-- What of /proc engines mask, and not every kernel has.
local not_everywhere = {}
for name in ("acpi asound kcore keys latency_stats timer_list timer_stats sched_debug scsi sysrq-trigger bus fs irq sys "
  .. "interrupts mtrr key-users kpagecount kpageflags kpagecgroup kallsyms modules"):gmatch "%S+" do
  not_everywhere[name] = true
end

local function rule(name, level, title, why, fix, find)
  rules[#rules + 1] = { name = name, level = level, title = title, why = why, fix = fix, find = find }
end

-- What a run would say of it: the same hints.
local function hint(m, step, code)
  local failure = { step = step.step, number = step.number, code = code, errno = core.errno[code] }
  local ok, text = pcall(require("caisson.hints").find, failure, { plan = m.plan })
  return ok and text or nil
end

rule("source-missing", "error", "What is bound from the host is there.", nil, "bind what is there, or say optional = true",
  function(m, found)
    if not m.here then return end
    for _, s in ipairs(m.steps) do
      local o = s.options
      local is_bind = s.step == "mount.bind" or s.step == "root.bind" or s.step == "mount.tree"
      if is_bind and o.source and not s.optional and not (s.step == "mount.tree" and m.pivoted and o.source == "/") then
        local _, _, errno = core.lstat(core.realpath(o.source) or o.source)
        if errno == core.errno.ENOENT or errno == core.errno.ENOTDIR or errno == core.errno.ELOOP then
          found(("%s is not there, to be bound to %s"):format(o.source, o.target or "the root"), s, { fix = hint(m, s,
            "ENOENT") })
        elseif errno == core.errno.EACCES then
          found(("%s can't be reached by this user"):format(o.source), s, { fix = hint(m, s, "EACCES") })
        end
      end
    end
  end)

rule("target-missing", "error", "The place of each mount is there, or can be made.",
  "nothing can be made in a read-only mount",
  "mount the tmpfs first that it shall be in, or make the directory on the host", function(m, found)
    for _, u in ipairs(m.unmade) do
      found(("%s can't be made: %s is read-only, and has none"):format(u.target, u.under.given or u.under.target), u.step)
    end
  end)

rule("mount-covered", "warning", "No mount covers an earlier one.", "what was mounted first is never seen",
  "leave one of them out, or put the outer one first", function(m, found)
    for _, e in ipairs(m.gone) do
      if e.kind == "mask" and e.covered.kind ~= "mask" and e.covered.step then
        found(("the mask of %s is covered by the mount on %s (step %d)"):format(e.target, e.covered.target,
          e.covered.step.number), e.step, { why = "what it hides is seen again", fix = "the mask behind the mount" })
      elseif e.step and not e.layer and e.covered.kind ~= "mask" and e.kind ~= "mask" and e.covered.step then
        -- a recipe may put something else in the place of what it extends
        local ours, theirs = m:at(e.step) or "", m:at(e.covered.step) or ""
        found(("%s is covered by the mount on %s (step %d)"):format(e.target, e.covered.target, e.covered.step.number),
          e.step, { level = ours:match "^[^:]*" ~= theirs:match "^[^:]*" and "note" or nil })
      end
    end
  end)

-- The program's path in the environment that it will have.
local function search_path(exec)
  for _, v in ipairs(exec.options.env or {}) do
    local path = v:match("^PATH=(.*)$")
    if path then return path end
  end
  return "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
end

rule("program-missing", "error", "The program is in the container.", nil, "bind the directory that it is in", function(m,
  found)
  local exec = m.last.exec
  local o = exec and exec.options
  if not exec or not m.here or o.fd or #m.functions > 0 then return end
  local name = o.path or o.argv[1]
  if name == "PROGRAM" or not name then return end
  local places = {}
  if name:find("/", 1, true) then
    if name:sub(1, 1) ~= "/" then return end -- from the working directory
    places[1] = name
  else
    for dir in search_path(exec):gmatch("[^:]+") do places[#places + 1] = dir .. "/" .. name end
  end
  for _, path in ipairs(places) do
    local what = m:find(path)
    if what and (what:sub(1, 1) ~= "/" or core.lstat(what)) then return end
  end
  found(("the program '%s' is not in the container"):format(name), exec, { fix = hint(m, exec, "ENOENT") })
end)

rule("cwd-missing", "error", "The working directory is in the container.", nil,
  "mount it, or say cwd = { path =, create = true }",
  function(m, found)
    local s = m.last.chdir
    if not s or s.options.try or not m.here or #m.functions > 0 then return end
    if m:find(s.options.path) == nil then
      found(("the working directory %s is not in the container"):format(s.options.path), s)
    end
  end)

rule("filter-denies-exec", "error", "The filter lets the program be executed.", "the program can't be started",
  'add "execve" to the policy', function(m, found)
    if #m.filters > 0 and not m:passes "execve" and not m:passes "execveat" then
      local answer = m.answers:text "execve"
      if answer ~= "notify" and not answer:find "^trace" then
        found(("execve gets %s"):format(answer), m:filter_step())
      end
    end
  end)

-- Does the program's way there lead through rights to execute, in each ruleset that says who has them?
rule("landlock-denies-exec", "error", "Landlock lets the program be executed.", "the program can't be started",
  "add its directory to landlock.execute", function(m, found)
    local exec = m.last.exec
    local name = exec and not exec.options.fd and (exec.options.path or exec.options.argv[1])
    if not name or name:sub(1, 1) ~= "/" or not m.here or #m.functions > 0 then return end
    local what, inside = m:find(name)
    if not what or what == "unknown" then return end
    if not m:landlock(inside, "execute") then
      found(("no rule lets %s be executed"):format(inside), m:domain(true).step,
        { why = "the program can't be started: EACCES" })
    end
  end)

rule("landlock-left-out", "note", "This kernel knows every right that Landlock is to deny.",
  "best_effort leaves out what it lacks", "a newer kernel; or go without best_effort", function(m, found)
    local list = m.here and m.built and m.built.landlock_left_out
    if list and #list > 0 then
      found(("left out of Landlock: %s"):format(table.concat(list, ", ")), m:domain() and m:domain().step or m.last.exec)
    end
  end)

rule("landlock-path", "error", "Landlock's paths are in the container.", nil, "mount it, or say { path =, optional = true }",
  function(m, found)
    if not m.here or #m.functions > 0 then return end
    for _, s in ipairs(m.steps) do
      if s.step == "landlock.path" and not s.optional and m:find(s.options.path) == nil then
        found(("%s, which Landlock has a rule for, is not in the container"):format(s.options.path), s)
      end
    end
  end)

rule("mask-missing", "warning", "What is masked or made read-only is there.",
  "nothing is masked: a name that is wrong protects nothing",
  nil, function(m, found)
    if not m.here then return end
    for _, s in ipairs(m.steps) do
      if (s.step == "mask" or s.step == "readonly") and not s.optional then
        local path = model.clean(s.options.path)
        local top = m:under(path, s)
        if top and top.kind == "proc" and path ~= top.target then
          -- kernels differ in what they have; a name that none has is near one that this one has
          local name = path:sub(#top.target + 2):match "^[^/]+"
          local near = not core.lstat("/proc/" .. name) and words.nearest(name, core.list "/proc" or {})
          if near and not not_everywhere[name] and not near:find "^%d+$" then
            found(("%s is not there (did you mean %s/%s?)"):format(path, top.target, near), s, { fix = "the right name" })
          end
        elseif s.missing then -- a name that is near one that is there; others are masked in case they come
          local dir, name = path:match "^(.*)/([^/]+)$"
          local host = m:find(dir == "" and "/" or dir)
          local near = host and host:find "^/" and words.nearest(name, core.list(host) or {})
          if near then
            found(("%s is not there (did you mean %s/%s?)"):format(path, dir, near), s, { level = "note",
              fix = "the right name" })
          end
        end
      end
    end
  end)

rule("uid-unmapped", "error", "The program's ids are in the user namespace's map.",
  "ids that are not mapped can't be taken", nil,
  function(m, found)
    if not m.new.user or not m.uid_map then return end
    for _, s in ipairs(m.steps) do
      if s.step == "uid" or s.step == "gid" then
        local id = s.options[s.step]
        local map = s.step == "uid" and m.uid_map or m.gid_map
        if not s.optional and not model.outside(map or {}, id) then
          found(("%s %d is not in the map"):format(s.step, id), s, { fix = ("user = %d, or a map that has it"):format(
            map and map[1] and (map[1][1] or map[1].inside) or 0) })
        end
      end
    end
  end)

rule("capabilities-lost", "warning", "The capabilities that are kept outlive exec.",
  "exec takes them from every user but root, unless they are ambient", nil, function(m, found)
    local lost = {}
    for c in pairs(m.permitted) do if not m.caps[c] then lost[#lost + 1] = c end end
    table.sort(lost)
    if m.caps_step and #lost > 0 and m.uid ~= 0 then
      local list = '{ "' .. table.concat(lost, '", "') .. '" }'
      found(("%s: lost when uid %d executes the program"):format(table.concat(lost, ", "), m.uid), m.caps_step,
        { level = m.identity.euid ~= 0 and "note" or nil, -- a recipe that is root's as well
          fix = ("local c = %s; capabilities = { bounding = c, permitted = c, effective = c, inheritable = c, ambient = c }")
          :format(list) })
    end
  end)

rule("host-name-set", "error", "No name of the host's is set.",
  "the step fails: without a UTS namespace of its own the host would be renamed",
  "namespaces = { uts = true }", function(m, found)
    if m.new.uts or m.joined.uts then return end
    for _, s in ipairs(m.steps) do
      if s.step == "hostname" or s.step == "domainname" then found(("%s is the host's own"):format(s.step), s) end
    end
  end)

rule("sysctl-namespace", "error", "Each sysctl is of a namespace of the container's own.",
  "the step fails: it would change the machine",
  nil, function(m, found)
    for _, s in ipairs(m.steps) do
      if s.step == "sysctl" and not s.optional then
        local owner = core.sysctl_namespace(s.options.name)
        if not owner then
          found(("%s is the whole machine's"):format(s.options.name), s, { fix = "set it outside, with sysctl(8)" })
        elseif not m.new[owner] and not m.joined[owner] then
          found(("%s is of the %s namespace, which is the host's"):format(s.options.name, owner), s,
            { fix = ("namespaces = { %s = true }"):format(owner) })
        end
      end
    end
  end)

rule("unknown-calls", "warning", "The policy's names are known to this libseccomp.", "they are in no program",
  "leave them out, or use a newer libseccomp", function(m, found)
    local list = m.options.seccomp
    local policy = package.loaded["caisson.policy"]
    if not policy or not list then return end
    if policy.is(list) then list = { list } end
    for _, p in ipairs(type(list) == "table" and list or {}) do
      local names = policy.is(p) and not rawget(p, "make") and p:unknown() or {}
      -- names of other architectures stand in every group
      local odd = {}
      for _, n in ipairs(names) do
        local ok = pcall(require("caisson.policy.names").expand, n, {}, 1)
        if not ok then odd[#odd + 1] = n end
      end
      if #odd > 0 then found(("libseccomp does not know %s"):format(table.concat(odd, ", ")), m:filter_step()) end
    end
  end)

-- ---- what this user may not, and this machine can't ----

rule("needs-root", "error", "This user may make its namespaces.", "only root may make namespaces without a user namespace",
  "namespaces = { user = true, ... }, or start it as root", function(m, found)
    if m.identity.euid == 0 or m.userns or not m.here then return end
    for _, n in ipairs { "mount", "pid", "net", "ipc", "uts", "cgroup", "time" } do
      if m.new[n] or m.joined[n] then
        found(("uid %d can't make or join a %s namespace"):format(m.identity.euid, n), m.clone)
        return
      end
    end
  end)

rule("mount-needs-namespace", "error", "What is mounted is of a namespace that the container owns.",
  "a user namespace may mount only what is of namespaces that it owns", nil, function(m, found)
    if not m.userns or m.identity.euid == 0 and not m.new.user then return end
    local needs = { sysfs = "net", proc = "pid", mqueue = "ipc" }
    for _, s in ipairs(m.steps) do
      local kind = s.step:match "^mount%.(%a+)$"
      if kind == "fs" then kind = s.options.type end
      local n = needs[kind]
      if n and not m.new[n] and not m.joined[n] and not s.optional then
        found(("%s at %s needs a new %s namespace"):format(kind, s.options.target, n), s,
          { fix = ("namespaces = { %s = true }, or bind the host's"):format(n) })
      end
    end
  end)

rule("rlimit-too-high", "error", "No limit is above what this user may set.",
  "a hard limit can't be raised without CAP_SYS_RESOURCE",
  "ask for no more than `ulimit -H` tells", function(m, found)
    if m.identity.euid == 0 or not m.here then return end
    local now = core.rlimits()
    local function amount(v) return v == "max" and math.huge or tonumber(v) or math.huge end
    for name, r in pairs(m.rlimits) do
      if now[name] and amount(r.hard) > amount(now[name].hard) and not r.step.optional then
        found(("%s: %s asked for, %s allowed"):format(name, tostring(r.hard), tostring(now[name].hard)), r.step)
      end
    end
  end)

-- Which row of `caisson doctor` tells of a step.
local ability = { ["mount.overlay"] = "overlay", ["root.overlay"] = "overlay", ["mount.proc"] = "a proc of its own",
  ["mount.sysfs"] = "a sysfs of its own", ["mount.devpts"] = "a devpts of its own", ["landlock.ruleset"] = "Landlock" }

local function needed(m, s)
  local o = s.options
  if s.step == "seccomp" then return o.listener and "seccomp notify" or "seccomp" end
  if s.step == "clone" or s.step == "namespace.unshare" then
    if model.has(o.namespaces, "user") then return "user namespaces" end
    return model.has(o.namespaces, "time") and "a time namespace" or nil
  end
  if s.step == "idmap" and m.identity.euid ~= 0 then
    local uid = o.uid[1] or {}
    if #o.uid > 1 or (uid[3] or uid.count or 1) > 1 then return "ranges of ids" end
  end
  if (s.step == "mount.bind" or s.step == "mount.tree" or s.step == "root.bind") and (o.idmap or o.uids or o.gids) then
    return "id-mapped mounts"
  end
  return ability[s.step]
end

rule("unavailable", "error", "This machine and this user can do all of it (`caisson doctor`).", nil, nil, function(m, found)
  if not m.here then return end
  local rows
  for _, s in ipairs(m.steps) do
    local name = not s.optional and needed(m, s)
    if name then
      if not rows then
        rows = {}
        for _, r in ipairs(require("caisson.doctor").examine()) do rows[r.name] = r end
      end
      local r = rows[name]
      -- with id-mapped mounts it depends on the file system
      if r and not r.able and not (name == "id-mapped mounts" and m.identity.euid == 0) then
        found(("%s: this %s can't (%s)"):format(name, m.identity.euid == 0 and "machine" or "machine or user", r.why
          or "no"), s,
          { fix = r.fix })
      end
    end
  end
end)

return rules
