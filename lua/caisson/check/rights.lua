-- Who the program is, and what it shares with the host.
local rules = {}

local function rule(name, level, title, why, fix, find)
  rules[#rules + 1] = { name = name, level = level, title = title, why = why, fix = fix, find = find }
end

rule("host-uid", "warning", "The program's user is not the host's root.",
  "whatever it reaches of the host it reaches as root, and a bug of the kernel's is enough to get out",
  "user = 65534; or namespaces = { user = true } with an idmap", function(m, found)
    if m.real_root then
      found("the program is the host's uid 0, in the host's user namespace", m.uid_step or m.last.exec)
    elseif m.kuid == 0 then
      found("uid 0 of the user namespace is the host's root to files", m.idmap,
        { fix = "an idmap of other ids: { 0, 100000, 65536 }" })
    elseif m.new.user and m.identity.euid == 0 and m:maps(0) then
      found("the user namespace's map has the host's uid 0 in it", m.idmap,
        { fix = "an idmap of other ids: { 0, 100000, 65536 }" })
    end
  end)

rule("host-users", "note", "The user namespace's ids are nobody's on the host.",
  "what it may do as one of them it may do to that user's "
  .. "files and processes", "an idmap of ids that the host does not give out: { 0, 100000, 65536 }", function(m, found)
    if not m.new.user or m.identity.euid ~= 0 or not m.here then return end
    local names = {}
    for line in io.lines "/etc/passwd" do
      local name, uid = line:match("^([^:]*):[^:]*:(%d+):")
      if uid and tonumber(uid) ~= 0 and tonumber(uid) < 60000 and m:maps(tonumber(uid)) then names[#names + 1] = name end
    end
    if #names > 0 then
      found(("the map has ids of users of the host's: %s%s"):format(table.concat(names, ", ", 1, math.min(#names, 4)),
        #names > 4 and ", ..." or ""), m.idmap)
    end
  end)

rule("groups-kept", "warning", "The caller's groups are dropped.", "a group such as docker, disk or sudo is as good as root",
  "user = { uid =, gid =, groups = {} }", function(m, found)
    if m.groups then return end
    local own = m.identity.groups or {}
    local names = {}
    for _, gid in ipairs(own) do if gid ~= m.identity.egid then names[#names + 1] = ("%d"):format(gid) end end
    if #names > 0 then
      found(("the program keeps the groups %s"):format(table.concat(names, ", ")), m.last.exec,
        -- a user namespace of one's own denies setgroups
        { level = m.new.user and m.identity.euid ~= 0 and "note" or nil,
          fix = m.new.user and m.identity.euid ~= 0 and "start it as a user without such groups, or with ranges of ids"
            or nil })
    end
  end)

-- ---- capabilities that count outside ----

-- Capability, what it does, and the calls that it does that by: none of them, and it is no worse than the others.
local worst = {
  sys_admin = { "it mounts, joins namespaces, and undoes masks and read-only mounts",
    { "mount", "umount2", "setns", "unshare", "fsopen", "open_tree", "move_mount", "bpf", "pivot_root", "mount_setattr" } },
  sys_module = { "it loads code into the kernel", { "init_module", "finit_module" } },
  sys_rawio = { "it reads and writes memory and ports", { "iopl", "ioperm" } },
  dac_read_search = { "open_by_handle_at opens any file of a file system of which one is shown (\"shocker\")",
    { "open_by_handle_at" } },
  bpf = { "it loads programs into the kernel", { "bpf" } },
  mac_admin = { "it changes the LSM's policy" }, mac_override = { "the LSM does not hold it" },
}
local bad = {
  sys_ptrace = "it reads and changes other processes in its pid namespace", sys_boot = "it restarts the machine",
  sys_time = "it sets the machine's clock", syslog = "it reads the kernel's log and addresses",
    perfmon = "it watches the kernel",
  sys_nice = "it takes the processor from others", sys_resource = "it raises its limits",
  linux_immutable = "it makes files that root can't remove", ipc_lock = "it locks all memory",
  audit_control = "it turns the audit off", checkpoint_restore = "it chooses process ids and reads others' files",
  dac_override = "it writes to any file that it sees", setfcap = "it makes programs with capabilities",
  fowner = "it changes modes of any file that it sees", chown = "it takes any file that it sees",
    net_admin = "it changes its network",
  mknod = "it makes devices",
}

local less = { sys_admin = "what it is good for beside the calls that the filter denies: others' terminals, devices' ioctls",
  sys_module = "the filter denies the calls for it", sys_rawio = "disks' commands, ports of /dev",
  dac_read_search = "it reads every file that it sees", bpf = "the filter denies the calls for it" }

local function is_worst(m, c)
  local w = worst[c]
  if not w or not w[2] then return w ~= nil end
  for _, call in ipairs(w[2]) do if m:passes(call) then return true end end
  return false
end

local function sorted(set)
  local list = {}
  for c in pairs(set) do list[#list + 1] = c end
  table.sort(list)
  return list
end

rule("capability-root", "error", "No capability over the host is as good as root.", nil,
  "leave it out of capabilities, or use a user "
  .. "namespace, in which it counts for nothing outside", function(m, found)
    if m.userns then return end
    local all, list = true, {}
    for c in pairs(worst) do all = all and m.caps[c] and is_worst(m, c) or false end
    if all then
      found("the program has all capabilities over the host", m.caps_step or m.last.exec,
        { why = "sys_admin mounts, sys_module loads code into the kernel, …: it is the host's root",
          fix = "capabilities = {}" })
      return
    end
    for _, c in ipairs(sorted(m.caps)) do if is_worst(m, c) then list[#list + 1] = c end end
    for _, c in ipairs(list) do
      found(("the program has CAP_%s over the host"):format(c:upper()), m.caps_step or m.last.exec, { why = worst[c][1] })
    end
  end)

rule("capabilities", "warning", "It has no other capability over the host that breaks in.", nil,
  "leave it out of capabilities, or use a user namespace", function(m, found)
    if m.userns then return end
    local all, list = true, {}
    for c in pairs(worst) do all = all and m.caps[c] and is_worst(m, c) or false end
    if all then return end
    local files = false -- of the host's, which those about files are dangerous with
    for _, e in ipairs(m.mounts) do files = files or (e.kind == "bind" or e.kind == "host") and e.source and not e.root
      and not e.ro end
    local about_files = { dac_override = true, setfcap = true, fowner = true, chown = true }
    for _, c in ipairs(sorted(m.caps)) do
      local ruled = c == "mknod" and (m.limits.devices or m.limits["devices.deny"]) and not m.devices_open
      local own = c == "net_admin" and (m.new.net or m.joined.net) or c == "sys_ptrace" and m.new.pid
      local is_bad = bad[c] and not ruled and not own and (not about_files[c] or files)
      if is_bad or worst[c] and not is_worst(m, c) then list[#list + 1] = c end
    end
    for _, c in ipairs(list) do
      found(("the program has CAP_%s over the host"):format(c:upper()), m.caps_step or m.last.exec,
        { why = bad[c] or less[c], level = c == "mknod" and "error" or nil,
          fix = c == "mknod" and "leave it out, or rule its devices: cgroup = { devices = ... }" or nil })
    end
  end)

rule("inheritable-capabilities", "warning", "The inheritable set is empty.",
  "programs with inheritable file capabilities get them (CVE-2022-24769)", "capabilities = { ..., inheritable = {} }",
    function(m, found)
    local list = sorted(m.inheritable)
    if #list > 0 then found(("inheritable: %s"):format(table.concat(list, ", ")), m.caps_step) end
  end)

rule("userns-capabilities", "note", "It has no power over its own namespaces that opens the kernel to it.",
  "most ways into the kernel of late (nf_tables, overlayfs, fsconfig) take CAP_SYS_ADMIN or CAP_NET_ADMIN of a user namespace",
  "capabilities = {}", function(m, found)
    if not m.userns then return end
    local list = {}
    if m.caps.sys_admin and (m:passes "mount" or m:passes "fsopen") then list[1] = "CAP_SYS_ADMIN" end
    if m.caps.net_admin and m:passes("socket", { 16, 3, 12 }) then list[#list + 1] = "CAP_NET_ADMIN" end
    if #list > 0 then
      found(("the program has %s in its user namespace"):format(table.concat(list, " and ")), m.caps_step or m.clone,
        { level = #m.filters == 0 and "warning" or nil })
    end
  end)

rule("new-privileges", "warning", "It can gain no privileges by exec.",
  "setuid programs and file capabilities take effect inside",
  "leave no_new_privs as it is (true)", function(m, found)
    if not m.last.no_new_privs then
      found("no_new_privs is not set", m.last.exec, { level = next(m.bounding) == nil and "note" or nil })
    end
  end)

-- ---- what is the host's too ----

-- Has it that namespace of its own, or another container's?
local function apart(m, name)
  local j = m.joined[name]
  if m.new[name] then return true end
  return j and not (j.options.path or ""):find "^/proc/1/" and not (j.options.path or ""):find "^/proc/self/" or false
end

local function give(name) return ("namespaces = { %s = true }"):format(name) end

rule("host-process", "warning", "The host's processes are not in reach.", nil, give "pid", function(m, found)
  if apart(m, "pid") then return end
  if m:domain() and not (m:real "sys_admin" or m:real "sys_module") then -- Landlock lets none of them be traced
    found("the host's processes are seen: no pid namespace", m.joined.pid or m.clone or m.last.exec,
      { why = "their command lines, and the ids to kill those of the same user" })
  elseif m.real_root or m:real "sys_ptrace" then
    found("the host's processes can be traced: no pid namespace, and CAP_SYS_PTRACE or uid 0", m.joined.pid or m.clone
      or m.last.exec,
      { level = "error", why = "/proc/1/root is the host's root; any process of root's can be made to do anything" })
  elseif not m.userns and m.kuid == m.identity.euid then
    found("this user's processes can be traced and killed: no pid namespace, and the same uid", m.joined.pid or m.clone
      or m.last.exec,
      { why = "/proc/PID/root of one of them is all of the host's files; what runs outside can be made to do anything" })
  else
    found("the host's processes are seen: no pid namespace", m.joined.pid or m.clone or m.last.exec,
      { why = "their command lines, and the ids to kill those of the same user" })
  end
end)

rule("host-network", "warning", "The host's network is not shared.",
  "services on the loopback device are within reach, and abstract sockets: X, D-Bus, containerd-shim (CVE-2020-15257)",
  give "net" .. "; or landlock = { scope = { \"abstract_unix_socket\" }, connect = { ... } }", function(m, found)
    if apart(m, "net") then return end
    local at = m.joined.net or m.clone or m.last.exec
    if m:real "net_admin" or m:real "net_raw" then
      found(("the host's network is shared, with CAP_NET_%s"):format(m.caps.net_admin and "ADMIN" or "RAW"), at,
        { level = "error",
        why = "it changes the host's addresses, routes and firewall, or reads what others send" })
    elseif m.real_root and not m.scope then
      found("the host's network is shared, by the host's root: abstract sockets let uid 0 in", at, { level = "error" })
    else
      found("the host's network is shared", at, m.scope and { why = "services on the loopback device are within reach" }
        or nil)
    end
  end)

rule("host-ipc", "warning", "The host's System V IPC and message queues are not shared.",
  "shared memory of others (databases, X) is within reach", give "ipc", function(m, found)
    if not apart(m, "ipc") then
      found("the host's IPC namespace is shared", m.joined.ipc or m.clone or m.last.exec,
        { level = m.userns and m.kuid ~= m.identity.euid and "note" or nil })
    end
  end)

rule("host-name", "note", "The host's name is not the container's to see or set.",
  "it tells the machine, and sys_admin sets it",
  give "uts", function(m, found)
    if not apart(m, "uts") then
      found("the host's UTS namespace is shared", m.joined.uts or m.clone or m.last.exec,
        { level = m:real "sys_admin" and "warning" or nil })
    end
  end)

rule("host-cgroup", "note", "The host's control groups are not seen.",
  "/proc/self/cgroup tells where it is, and what runs it",
  give "cgroup", function(m, found)
    if not apart(m, "cgroup") then found("the host's cgroup namespace is shared", m.joined.cgroup or m.clone
      or m.last.exec) end
  end)

rule("host-namespace", "warning", "No namespace of the host's is joined.", "it is the host's own",
  "the path of a namespace made for it",
  function(m, found)
    for n, s in pairs(m.joined) do
      local path = s.options.path or ""
      if path:find "^/proc/1/ns/" then found(("the %s namespace of process 1 is joined"):format(n), s) end
    end
  end)

rule("cwd-descriptor", "error", "The working directory is not named by a descriptor.",
  "one that leads out of the container is followed out (CVE-2024-21626)", "cwd = the path itself", function(m, found)
    local s = m.last.chdir
    if s and s.options.path:find "^/+proc/+[%w-]+/+fd/" then found(("the working directory is %s"):format(s.options.path),
      s) end
  end)

rule("leaked-descriptor", "note", "No descriptors but the three are passed on.",
  "a directory's is a way out (CVE-2024-21626), a socket's a way to speak to others", "pass what the program needs alone",
    function(m, found)
    local exec = m.last.exec
    local files = exec and exec.options.files or {}
    local more = {}
    for i = 4, #files do if files[i] ~= "" and files[i] ~= "-" then more[#more + 1] = files[i] end end
    if #more > 0 then found(("the program gets descriptors: %s"):format(table.concat(more, ", ")), exec) end
  end)

rule("functions-inside", "note", "All of the container is in the plan.",
  "what they do is not seen from here, and they run with all rights "
  .. "that the half-built container has", nil, function(m, found)
    for _, s in ipairs(m.functions) do
      -- what this library's own steps do is known
      if not (m.built and m.built.attendants and m.built.attendants[s.options.name]) then
        found(("a Lua function runs inside: %s"):format(s.options.name), s)
      end
    end
  end)

rule("secret-environment", "note", "No secrets are in the environment.",
  "/proc/PID/environ shows them to each process of its user, and a "
  .. "saved plan has them", "a file in a tmpfs, or standard input", function(m, found)
    local exec, names = m.last.exec, {}
    for _, v in ipairs(exec and exec.options.env or {}) do
      local name, value = v:match("^([^=]+)=(.+)$")
      local up = (name or ""):upper()
      if value and (up:find "PASSWORD" or up:find "PASSWD" or up:find "SECRET" or up:find "TOKEN$" or up:find "API_?KEY"
          or up:find "PRIVATE_KEY" or up:find "CREDENTIAL") then
        names[#names + 1] = name
      end
    end
    if #names > 0 then found(("the environment has %s"):format(table.concat(names, ", ")), exec) end
  end)

return rules
