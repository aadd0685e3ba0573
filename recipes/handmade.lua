-- handmade: a container built step by step, to read from top to bottom.
--
--   caisson plan handmade                 every step, doing nothing
--   caisson run handmade -- sh            and what it makes
--
-- Other recipes are tables that say what a container is. This one is a script that says how it is built:
-- each plan.NAME { ... } below is one step, which is one kernel feature, in the order in which they happen.
local caisson = require "caisson"
local core = caisson.core

-- The host's directories that programs need. On most systems /bin and its like are links into /usr.
local function system_directories(plan)
  plan:add(plan.mount.bind { source = "/usr", target = "/usr", recursive = true, flags = { "rro", "rnosuid", "rnodev" } })
  for _, path in ipairs { "/bin", "/sbin", "/lib", "/lib32", "/lib64" } do
    local st = core.lstat(path)
    if st and st.type == "link" then
      plan:add(plan.symlink { target = st.target, at = path })
    elseif st then
      plan:add(plan.mount.bind { source = path, target = path, recursive = true, flags = { "rro", "rnosuid", "rnodev" } })
    end
  end
end

return caisson.recipe {
  summary = "Every step of a container by hand, commented: the tutorial",
  args = { "/bin/sh", "-c", "echo \"process $$ on $(cat /proc/sys/kernel/hostname)\"; ls /" },

  script = function(plan)
    -- The table above has made a short plan already: clone, what every process gets, exec. We keep exec, the
    -- program, and put our own steps before it.
    local exec = plan:remove("exec")
    while #plan.steps > 0 do plan:remove(1) end

    local me = core.identity()
    local root = me.euid == 0

    -- 1. A new process, in namespaces of its own: its own view of mounts, processes, network, shared memory and
    -- host name. An ordinary user has no right to that, unless there is a user namespace too, in which it has
    -- every right, over what is in there.
    local namespaces = { "mount", "pid", "net", "ipc", "uts" }
    if not root then table.insert(namespaces, 1, "user") end
    plan:add(plan.clone { namespaces = namespaces })

    -- 2. Who is who: this user is root inside. One id may be mapped without further rights, and then the list
    -- of groups must be left alone, since groups can also take rights away.
    if not root then
      plan:add(plan.idmap { uid = { { 0, me.euid, 1 } }, gid = { { 0, me.egid, 1 } }, setgroups = "deny" })
    end

    -- 3. From here on no mount that we make is seen outside.
    plan:add(plan.mount.propagation { path = "/", propagation = "private", recursive = true })

    -- 4. The new root: an empty file system in memory. All targets below are paths in it.
    plan:add(plan.root.tmpfs { size = 1048576, mode = "0755" })
    system_directories(plan)

    -- 5. What the kernel shows of itself: the processes of the new pid namespace, and terminals.
    plan:add(
      plan.mount.proc { target = "/proc" },
      plan.mount.tmpfs { target = "/dev", size = 65536, mode = "0755", flags = { "nosuid", "noexec" } },
      plan.mount.devpts { target = "/dev/pts" })
    for _, name in ipairs { "null", "zero", "full", "random", "urandom", "tty" } do
      plan:add(plan.device { path = "/dev/" .. name })
    end
    plan:add(plan.symlink { target = "/proc/self/fd", at = "/dev/fd" })

    -- 6. Files of our own making, and room to work in.
    plan:add(
      plan.file { path = "/etc/passwd", data = "root:x:0:0::/tmp:/bin/sh\n" },
      plan.mount.tmpfs { target = "/tmp", size = 16777216, mode = "1777" },
      plan.readonly { path = "/proc/sys" })
    for _, name in ipairs { "kcore", "keys", "timer_list", "sysrq-trigger", "acpi", "scsi" } do
      plan:add(plan.mask { path = "/proc/" .. name })
    end

    -- 7. The new root becomes "/", and the host's is gone from view. Then it can't be written to any more.
    plan:add(plan.pivot_root {}, plan.root.readonly {})

    -- 8. The system's names and network.
    plan:add(plan.hostname "handmade", plan.net.loopback {})

    -- 9. The process itself: its own session, so that it can't type into our terminal, and limits.
    plan:add(
      plan.session {},
      plan.rlimit { resource = "core", soft = 0, hard = 0 },
      plan.rlimit { resource = "nofile", soft = 256, hard = 256 },
      plan.umask { mode = "0022" },
      plan.chdir { path = "/tmp" })

    -- 10. Rights go last, since all of the above needed them: no capability is left, nor root's own id, a set-user-ID
    -- program can't give one back, and the system calls that nobody needs are filtered.
    plan:add(plan.capabilities { bounding = {} })
    if root then plan:add(plan.groups { groups = {} }, plan.gid { gid = 65534 }, plan.uid { uid = 65534 }) end
    plan:add(
      plan.capabilities { permitted = {}, effective = {}, inheritable = {}, ambient = {} },
      plan.no_new_privs {},
      plan.seccomp { program = assert(caisson.policy.program(caisson.policy.default())) })

    -- 11. The program takes the process over. Any function can be a step as well: plan:add(function() ... end)
    plan:add(exec)
  end,
}
