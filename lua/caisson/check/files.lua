-- What of the host's files is shown, and what can come of it.
local core = require "caisson.core"
local model = require "caisson.check.model"

local rules = {}

local function rule(name, level, title, why, fix, find)
  rules[#rules + 1] = { name = name, level = level, title = title, why = why, fix = fix, find = find }
end

local function is_own(e) return e.kind == "host" or e.kind == "bind" end

rule("host-root", "error", "The host's root directory is not writable in the container.",
  "a line in /etc/crontab, a module, a key of root's: whoever writes there is the host's root",
  "bind the directories that are needed, read-only where that will do (readonly_root, no writable = true)", function(m, found)
    for _, x in ipairs(m:shown "/") do
      local e = x.mount
      if e.kind == "host" and not x.writable then
        found("the container has no root of its own: the host's files are its own, as far as Landlock goes", m.clone
          or m.last.exec,
          { level = "note", why = "what is not a file (sockets, IPC) is as it is outside" })
      elseif e.kind == "host" then
        if m.real_root then
          found("the container has no root of its own: the host's files are its own, as root", m.clone or m.last.exec,
            { fix = "namespaces = { mount = true }, and mounts for what it needs" })
        else
          found("the container has no root of its own: all that this user may write to is its own", m.clone or m.last.exec,
            { level = "warning", why = "it can write to ~/.bashrc or ~/.ssh/authorized_keys, and read every secret",
              fix = "namespaces = { mount = true }, and mounts for what it needs" })
        end
      elseif x.writable and e.root and m.kuid ~= 0 and m.here and not m:may_write("/", e) then
        found("the host's root directory is the container's, writable", e.step, { level = "warning",
          why = "what its user may write to on the host, it may write to" })
      elseif x.writable then
        found(("the host's root directory is writable at %s"):format(x.at), e.step,
          { level = not (m.real_root or e.idmap or m:may_write("/", e)) and "warning" or nil })
      end
    end
  end)

-- What the host runs or trusts: directory -> why.
local trusted = {
  { "/etc", "cron, PAM, sudoers, systemd units and passwd are there: a line in one of them is root's" },
  { "/usr", "the host runs these programs as root" }, { "/bin", "the host runs these programs as root" },
  { "/sbin", "the host runs these programs as root" }, { "/lib", "the host's programs load these libraries as root" },
  { "/lib64", "the host's programs load these libraries as root" }, { "/opt", "the host runs programs of it" },
  { "/boot", "the next kernel and its first files are started from there" },
  { "/root", "root's shell reads its start files there, and sshd its keys" },
  { "/home", "every user's start files and keys are there" },
  { "/run", "sockets of root's services, units and sessions of the running system are there" },
  { "/var", "crontabs, packages' scripts, containers' images and logs are there" },
  { "/var/lib", "engines keep containers' roots there, packages their scripts" },
  { "/var/spool", "crontabs are there: one written as root runs as root" },
}

rule("host-directory", "error", "No directory that the host runs or trusts is writable.", nil,
  "bind it read-only (leave out writable = true), or a directory that was made for it", function(m, found)
    for _, e in ipairs(m:areas()) do
      if e.source ~= "/" then
        for _, t in ipairs(trusted) do
          local dir = t[1]
          local deep = dir == "/etc" or dir == "/usr" or dir == "/boot" or dir == "/bin" or dir == "/sbin" or dir == "/lib"
            or dir == "/lib64" or dir == "/var/spool"
          if e.source == dir or deep and model.within(e.source, dir) and not model.within(e.source, "/usr/local/share")
            and not model.within(e.source, "/usr/src") then
            local can = m:may_write(e.source, e.mount)
            found(("%s of the host is writable at %s"):format(e.source, e.at), e.step,
              { why = t[2], level = not can and "warning" or nil })
            break
          end
        end
      end
    end
  end)

-- What the host executes for this container.
local function own_files(m)
  local list = {}
  for _, r in ipairs(m.built and m.built.chain or {}) do
    local file = r.file or r.source
    if file then list[#list + 1] = { "recipe-writable", file } end
  end
  for point, hooks in pairs(m.options.hooks or {}) do
    for _, h in ipairs(hooks) do
      local hook = type(h) == "table" and h.hook
      if type(hook) == "table" and hook.path then list[#list + 1] = { "hook-writable", hook.path, point } end
    end
  end
  return list
end

local function host_runs(name, title, why, fix)
  rule(name, "error", title, why, fix, function(m, found)
    local by_mount, order = {}, {}
    for _, f in ipairs(own_files(m)) do
      if f[1] == name then
        local path = model.real(f[2])
        for _, x in ipairs(m:shown(path)) do
          if x.writable and m:may_write(path, x.mount) and (x.mount.kind == "bind" or m:domain(true)) then
            local paths = by_mount[x.mount]
            if not paths then
              paths = {}
              by_mount[x.mount], order[#order + 1] = paths, x.mount
            end
            paths[#paths + 1] = (f[3] and "the hook of " .. f[3] .. ", " or "") .. x.at
          end
        end
      end
    end
    for _, e in ipairs(order) do
      found(("%s can be written to"):format(table.concat(by_mount[e], " and ")), e.step or m.last.exec)
    end
  end)
end

host_runs("recipe-writable", "The recipe can't be changed by its own program.",
  "its Lua is run on the host, with the rights of who starts it, next time",
    "keep recipes outside of what is shown writable, or bind "
  .. "that file once more, read-only")
host_runs("hook-writable", "No hook's program can be changed from inside.",
  "it is run on the host, with the rights of who starts it",
  "keep it outside of what is shown writable")

rule("project-hooks", "note", "Nothing in a writable folder is run by tools outside.",
  "git runs hooks and what its configuration names, direnv .envrc, an editor its tasks", nil, function(m, found)
    if not m.here then return end
    for _, e in ipairs(m:areas()) do
      if e.directory and not e.mount.root then
        local names, binds = {}, {}
        for _, name in ipairs { ".git", ".envrc", ".vscode", ".idea", ".husky" } do
          local path = e.source .. "/" .. name
          if core.lstat(path) then
            for _, x in ipairs(m:shown(path)) do
              if x.writable and x.mount == e.mount then
                names[#names + 1], binds[#binds + 1] = name, ('{ bind = "%s", at = "%s" }'):format(path, x.at)
              end
            end
          end
        end
        if #names > 0 then
          found(("%s: %s can be changed there"):format(e.at, table.concat(names, ", ")), e.step,
            { fix = "read-only, behind it: " .. table.concat(binds, ", ") })
        end
      end
    end
  end)

local function homes(m)
  local found = { root = "/root" }
  local f = m.here and io.open("/etc/passwd")
  for line in f and f:lines() or function() end do
    local name, uid, home = line:match("^([^:]*):[^:]*:(%d+):[^:]*:[^:]*:([^:]+):")
    uid = tonumber(uid)
    if name and (uid == 0 or uid >= 1000 and uid < 60000) and home:find "^/%w" and #home > 4 then found[name] = home end
  end
  if f then f:close() end
  local list = {}
  for n, home in pairs(found) do list[#list + 1] = { n, home } end
  table.sort(list, function(a, b) return a[1] < b[1] end)
  return list
end

-- What in a home directory is run, or opens doors.
local starts = { ".bashrc", ".bash_profile", ".bash_login", ".profile", ".zshrc", ".zshenv", ".zprofile", ".config", ".local",
  ".ssh", ".gnupg", ".pam_environment", ".xprofile", ".xsession", ".forward" }
local secrets = { ".ssh", ".gnupg", ".aws", ".azure", ".kube", ".docker", ".netrc", ".config/gcloud", ".git-credentials",
  ".mozilla", ".config/chromium", ".config/google-chrome", ".password-store", ".pgpass" }

rule("home-directory", "warning", "No whole home directory, and nothing of one that is run at log-in, is writable.",
  "a line in ~/.bashrc, a unit in ~/.config/systemd or a key in ~/.ssh runs outside as that user",
  "bind the folder of the project, not the home directory", function(m, found)
    for _, h in ipairs(homes(m)) do
      local name, home = h[1], h[2]
      for _, x in ipairs(m:shown(home)) do
        if x.writable and is_own(x.mount) and x.whole and x.mount.kind == "bind" and home ~= "/root" then
          found(("the home directory of %s is writable at %s"):format(name, x.at), x.mount.step,
            { level = not m:may_write(home, x.mount) and "note" or nil })
        end
      end
      for _, e in ipairs(m:areas()) do
        for _, s in ipairs(starts) do
          if model.within(e.source, home .. "/" .. s) then
            found(("%s is writable at %s"):format(e.source, e.at), e.step)
            break
          end
        end
      end
    end
  end)

rule("host-secret", "warning", "No keys and passwords of the host can be read.",
  "they open other doors, and whoever reads them can take them along", "bind less, or mask it (masked = { ... })",
    function(m, found)
    local list = { { "/etc/shadow", "passwords" }, { "/etc/gshadow", "passwords" }, { "/etc/ssh/ssh_host_ed25519_key",
      "the host's key" },
      { "/etc/ssh/ssh_host_rsa_key", "the host's key" }, { "/etc/sudoers", "sudo's rules" },
      { "/etc/kubernetes/admin.conf", "the cluster's key" }, { "/etc/NetworkManager/system-connections", "Wi-Fi passwords" },
      { "/var/lib/kubelet", "pods' secrets" } }
    for _, h in ipairs(homes(m)) do
      for _, s in ipairs(secrets) do list[#list + 1] = { h[2] .. "/" .. s, h[1] .. "'s" } end
    end
    local by_mount, order = {}, {}
    for _, s in ipairs(list) do
      local path = s[1]
      for _, x in ipairs(m:shown(path)) do
        local st = not m.here and {} or core.lstat(path)
        -- without the right to read it outside there is none inside, but for root
        local may = not m.here or m.kuid == nil or m.real_root or st and (st.uid == m.kuid or math.floor((st.mode
          or 0) / 4) % 2 == 1)
          or x.mount.idmap or m.caps.dac_override and not m.userns or m.caps.dac_read_search and not m.userns
        if st and may and x.readable and x.mount.kind ~= "host" then
          local paths = by_mount[x.mount]
          if not paths then
            paths = {}
            by_mount[x.mount], order[#order + 1] = paths, x.mount
          end
          paths[#paths + 1] = x.at
        end
      end
    end
    for _, e in ipairs(order) do
      local paths = by_mount[e]
      found(("%s%s can be read"):format(table.concat(paths, ", ", 1, math.min(#paths, 5)),
        #paths > 5 and (" and %d more"):format(#paths - 5) or ""), e.step)
    end
  end)

-- Who may speak to one of these starts programs outside. "*" is a uid.
local engines = {
  { "/run/docker.sock", "docker" }, { "/run/podman/podman.sock", "podman" }, { "/run/containerd/containerd.sock",
    "containerd" },
  { "/run/crio/crio.sock", "CRI-O" }, { "/run/buildkit/buildkitd.sock", "buildkit" },
    { "/run/k3s/containerd/containerd.sock", "k3s" },
  { "/var/lib/docker.sock", "docker" }, { "/var/lib/lxd/unix.socket", "LXD" }, { "/var/lib/incus/unix.socket", "incus" },
  { "/run/libvirt/libvirt-sock", "libvirt" }, { "/run/systemd/private", "systemd" }, { "/run/snapd.socket", "snapd" },
  { "/run/dbus/system_bus_socket", "the system bus" }, { "/run/firecracker.socket", "firecracker" },
  { "/run/user/*/docker.sock", "docker" }, { "/run/user/*/podman/podman.sock", "podman" },
  { "/run/user/*/systemd/private", "the user's systemd" }, { "/run/user/*/bus", "the session bus" },
}

-- The same, where /var/run is told for /run, and for who starts it.
local function expanded(list, identity)
  local out = {}
  for _, e in ipairs(list) do
    local path = e[1]:gsub("%*", ("%d"):format(identity.euid))
    out[#out + 1] = { path, e[2] }
    if path:find "^/run/" then out[#out + 1] = { "/var" .. path, e[2] } end
  end
  return out
end

local function sockets(m, list, found, over)
  for _, e in ipairs(expanded(list, m.identity)) do
    local path, what = e[1], e[2]
    for _, x in ipairs(m:shown(path)) do
      -- one that is bound by name counts, there or not; below a directory it has to be there
      if x.mount.kind == "bind" and (x.whole or m.here and core.lstat(path)) then
        found(("%s, the socket of %s, is shown at %s"):format(path, what, x.at), x.mount.step, over and over(what))
      end
    end
  end
end

rule("engine-socket", "error", "No socket of an engine, of systemd or of a bus is shown.",
  "who may speak to it starts programs outside, with all of the host in them; that the mount is read-only does not help",
  "leave it out; let a process outside ask for what is needed", function(m, found)
    sockets(m, engines, found, function(what)
      if what == "the system bus" then
        return { level = "warning", why = "services of root's answer there: systemd, polkit, NetworkManager" }
      end
    end)
    for _, x in ipairs(m:shown "/run") do
      if x.mount.kind == "bind" then
        found(("the host's /run is shown at %s"):format(x.at), x.mount.step,
          { level = "warning", why = "sockets of services are there, and engines put theirs there" })
      end
    end
  end)

rule("desktop-socket", "warning", "No socket of the desktop or of an agent is shown.",
  "who may speak to X sees every key and types into other windows; an agent signs with your keys", "leave it out",
    function(m, found)
    local list = { { "/tmp/.X11-unix", "X" }, { "/run/user/*/gnupg/S.gpg-agent", "the gpg agent" },
      { "/run/user/*/keyring/ssh", "the ssh agent" },
      { "/run/user/*/pulse/native", "the sound server" }, { "/run/user/*/pipewire-0", "pipewire" } }
    local agent = m.here and os.getenv "SSH_AUTH_SOCK"
    if agent and agent:sub(1, 1) == "/" then list[#list + 1] = { agent, "the ssh agent" } end
    sockets(m, list, found)
  end)

rule("host-tmp", "warning", "The host's /tmp is not shown.",
  "others' files and sockets (X's too) are there, and names that others "
  .. "will open can be taken", "{ tmpfs = \"/tmp\" }", function(m, found)
    for _, dir in ipairs { "/tmp", "/var/tmp", "/dev/shm" } do
      for _, x in ipairs(m:shown(dir)) do
        if x.mount.kind == "bind" and x.whole then found(("the host's %s is shown at %s"):format(dir, x.at), x.mount.step) end
      end
    end
  end)

-- Can a user of the host's reach what is in that directory?
local function reachable(dir)
  local at = dir
  while at and at ~= "" and at ~= "/" do
    local st = core.lstat(at)
    if st and st.type == "directory" and st.mode % 2 == 0 then return false end
    at = at:match("^(.*)/[^/]*$")
  end
  return true
end

rule("setuid-outside", "warning", "It can't leave setuid programs on the host.",
  "a setuid program that it makes there is run on the host by any of its users (CVE-2021-41091)",
  "leave `suid` out, which loads a filter against it; or keep the directory's parent closed (chmod 700)", function(m, found)
    if not m:passes("chmod", { 0, 2541 }) and not m:passes("fchmod", { 0, 2541 }) then return end
    for _, e in ipairs(m.mounts) do
      if (e.kind == "bind" or e.kind == "host") and e.source and not e.ro and not e.fd and e.source ~= "/"
        and (not m.here or reachable(e.source)) then
        local st = not m.here and { type = "directory" } or core.lstat(e.source)
        local root_there = m.kuid == 0 or e.idmap and not m.userns and m.identity.euid == 0
        if st and st.type == "directory" and (root_there or m.uid ~= m.kuid) and m:may_write(e.source, e)
          and m.kuid ~= nil then
          found(("%s is writable at %s, and a file there can be made setuid%s"):format(e.source, e.target,
            root_there and ", root's" or ""), e.step, { level = not root_there and "note" or nil })
        end
      end
    end
  end)

rule("suid-mount", "note", "Every mount of the host's that is writable is nosuid.",
  "a setuid program put there takes effect inside", "leave `suid` out of the mount", function(m, found)
    if m.last.no_new_privs then return end
    for _, e in ipairs(m:areas()) do
      if e.directory and not e.mount.nosuid and not e.mount.root then
        found(("%s is writable, and setuid programs in it take effect"):format(e.at), e.step)
      end
    end
  end)

rule("submounts-writable", "warning", "What is read-only is so with all that is mounted in it.",
  "what is mounted below stays writable (CVE-2023-25809)", 'flags = { "rro" }, or an entry without `exact`', function(m,
    found)
    for _, e in ipairs(m.mounts) do
      if e.kind == "bind" and e.source and e.ro and e.recursive and not e.ro_all and not e.of and not e.root then
        local point = m.mounts_below(e.source)
        if point then found(("%s is read-only at %s, but %s below it is not"):format(e.source, e.target, point), e.step) end
      end
    end
  end)

rule("mount-propagation", "error", "Mounts that are made inside stay inside.",
  "mounts made in the container appear on the host, "
  .. "over the host's own files", 'propagation = "private" (or "slave", for what the host mounts later)', function(m, found)
    if not m.new.mount then return end
    local private = false
    for _, p in ipairs(m.propagations) do
      local shared = p.word == "shared" or p.word == "rshared"
      if p.path == "/" and not shared and p.word ~= "unbindable" then private = true end
      if shared and not (m.pivoted and private) then found(("%s is shared with the host"):format(p.path), p.step) end
    end
    if not private then
      local shared = false
      local f = m.here and io.open "/proc/self/mountinfo"
      for line in f and f:lines() or function() end do shared = shared or line:find(" / %S+ shared:") ~= nil end
      if f then f:close() end
      found("the container's mounts are never made private", m.clone, { level = not shared and m.here and "warning" or nil })
    end
    for _, e in ipairs(m.mounts) do
      if (e.propagation == "shared" or e.propagation == "rshared") and e.source and e.kind == "bind" then
        found(("%s is shared: what is mounted below %s appears on the host"):format(e.source, e.target), e.step)
      end
    end
  end)

rule("source-swap", "note", "No other user can swap a source of a bind for a symlink.",
  "who owns a directory on the way can put a link there while root starts the container (CVE-2024-42472)",
  "nofollow = true, or a source that only root can change", function(m, found)
    if m.identity.euid ~= 0 or not m.here then return end
    for _, e in ipairs(m.mounts) do
      if e.kind == "bind" and e.source and e.given and not e.options.nofollow and not e.of then
        local at = e.source:match("^(.*)/[^/]*$")
        while at and at ~= "" do
          local st = core.lstat(at)
          local sticky = st and math.floor(st.mode / 512) % 2 == 1
          if st and st.type == "directory" and (st.uid ~= 0 or math.floor(st.mode / 2) % 2 == 1 and not sticky) then
            found(("%s is looked up through %s, which is not root's alone"):format(e.given, at), e.step,
              { fix = e.root and "a place that only root can change" or nil })
            break
          end
          at = at:match("^(.*)/[^/]*$")
        end
      end
    end
  end)

rule("chroot-only", "warning", "The root is switched, not only moved.",
  "with CAP_SYS_CHROOT, or a directory left open, there is a way back out of a chroot", "leave no_pivot out", function(m,
    found)
    if m.moved and not m.pivoted then
      found("the root is moved by chroot, not pivoted", m.moved, { level = not m.caps.sys_chroot and "note" or nil })
    end
  end)

rule("writable-programs", "note", "What it can write to on the host can't be executed there by itself.",
  "what it puts there it can run, and so can others outside", "exec = false on the mount, where nothing has to run from it",
  function(m, found)
    for _, e in ipairs(m:areas()) do
      if e.directory and not e.mount.noexec and not e.mount.root and m:landlock(e.at, "execute") then
        found(("%s is writable, and programs in it can be run"):format(e.at), e.step)
      end
    end
  end)

return rules
