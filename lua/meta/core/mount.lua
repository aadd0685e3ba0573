---@meta
-- Mounts: mount_namespaces(7), mount_setattr(2), fsopen(2). All of these are steps of the child's side, and need
-- CAP_SYS_ADMIN over the mount namespace: root, or any user in a new user namespace. In a plan they change the
-- mounts of the container's own mount namespace alone; where it has none they fail with EPERM.
--
-- Sources are looked up on the host, from the working directory. Targets and paths are those of the new root once
-- there is one (slot "root"): a symlink in them, whatever it says, ends inside (openat2(2), RESOLVE_IN_ROOT; a
-- walk over components where openat2 is denied). Links of procfs to a process's files are refused: ELOOP. What is
-- missing of a target is made: directories with mode 0755, and for a file an empty one with 0644.

---@class caisson.core
---@field mount caisson.core.mount
---@field root caisson.core.root
local core = {}

---A mount's attributes: the word sets one, the second of a pair clears it; with "r" in front (`rro`, `rsuid`) the
---whole tree's. In a user namespace a flag of the host's mount is locked: it may be added, not cleared (EPERM), and
---the atime flags can't be changed.
---@alias caisson.mount.Flag
---| "ro" | "rw" | "nosuid" | "suid" | "nodev" | "dev" | "noexec" | "exec"
---| "noatime" | "atime" | "relatime" | "norelatime" | "strictatime" | "nostrictatime" | "nodiratime" | "diratime"
---| "nosymfollow" | "symfollow"
---| "rro" | "rrw" | "rnosuid" | "rsuid" | "rnodev" | "rdev" | "rnoexec" | "rexec"
---| "rnoatime" | "ratime" | "rrelatime" | "rnorelatime" | "rstrictatime" | "rnostrictatime" | "rnodiratime"
---| "rdiratime" | "rnosymfollow" | "rsymfollow"

---Whether mounts made later, here or there, appear in both places. With "r" in front, of the whole tree.
---@alias caisson.mount.Propagation "private"|"slave"|"shared"|"unbindable"|"rprivate"|"rslave"|"rshared"|"runbindable"

---{ on disk, shown as, how many } each.
---@alias caisson.mount.Idmap integer[][]

---@class caisson.mount.Tree.Options
---@field flags? caisson.mount.Flag[]
---@field recursive? boolean                     with all mounts below; in a user namespace, where those are locked,
---  a directory that has some can't be bound without them (EINVAL)
---@field propagation? caisson.mount.Propagation of the new mount
---@field idmap? caisson.mount.Idmap             the owners of files are shown, and kept, as others: of uids and of gids
---@field uids? caisson.mount.Idmap              of uids alone; with neither idmap nor gids, gids stay as they are
---@field gids? caisson.mount.Idmap
---@field idmap_top? boolean                     of a recursive one the id map is of the top mount alone
---@field nofollow? boolean                      a source that is a symlink is refused: ELOOP

---@class caisson.core.mount
local mount = {}

---@class caisson.mount.bind.Options: caisson.mount.Tree.Options
---@field source? string  a directory or file of the host's
---@field fd? string      or a slot: a tree made by mount.tree, or a descriptor of any mount namespace that this one
---  sees under the same name (ESTALE where it doesn't). In a direct call a descriptor
---@field known_as? string where the slot's descriptor is of another mount namespace: its name in this one, tried first
---@field target string   in the new root; made where it is missing, of the source's kind
---@field root? string    slot of the root that target is resolved in; "root"
---@field target_nofollow? boolean      a symlink in any place of target is refused: ELOOP

---A directory or file of the host's in the container. mount(2), MS_BIND.
---
---An id map needs CAP_SYS_ADMIN in the user namespace that the filesystem was mounted in; a container with a
---user namespace gets one by mount.tree on the parent's side.
---```lua
---{ step = "mount.bind", options = { source = "src", target = "/work", recursive = true, flags = { "rro", "rnosuid" } } }
---```
---@param options caisson.mount.bind.Options
---@return true|nil ok, string? message, integer? errno
function mount.bind(options) end

---@class caisson.mount.tree.Options: caisson.mount.Tree.Options
---@field source string  a directory or file of the host's
---@field tree string    slot that is filled; a direct call returns the descriptor

---A copy of a mount, or tree of mounts, that is mounted nowhere yet: open_tree(2). With side = "parent" before
---clone it is made by the host, with the host's rights.
---```lua
---{ step = "mount.tree", side = "parent", options = { source = "/srv/data", tree = "data",
---  uids = { { 1000, 100000, 1 } }, gids = { { 1000, 100000, 1 } } } },
---{ step = "clone", options = { "user", "mount", "pid" } },
----- ...
---{ step = "mount.bind", options = { fd = "data", target = "/data" } },
---```
---@param options caisson.mount.tree.Options
---@return caisson.core.Fd|nil tree, string? message, integer? errno
function mount.tree(options) end

---@class caisson.mount.propagation.Options
---@field path? string  a mount; "/" by default. Before the new root is made, of the host's paths
---@field propagation caisson.mount.Propagation
---@field recursive? boolean
---@field root? string  slot of the root that path is resolved in; "root"

---Change a mount's propagation. A plan with a mount namespace has it first, with `/` and `private`, so that what it
---mounts does not appear on the host. EINVAL: no mount stands at path.
---```lua
---{ step = "mount.propagation", options = { path = "/", propagation = "rprivate" } }
---```
---@param options caisson.mount.propagation.Options
---@return true|nil ok, string? message, integer? errno
function mount.propagation(options) end

---@class caisson.mount.flags.Options
---@field path string    of a mount in the root
---@field flags caisson.mount.Flag[]
---@field root? string

---Change flags of what is mounted. EINVAL: path is not a mount's top.
---```lua
---{ step = "mount.flags", options = { path = "/dev", flags = { "ro" } } }
---```
---@param options caisson.mount.flags.Options
---@return true|nil ok, string? message, integer? errno
function mount.flags(options) end

---@class caisson.mount.proc.Options
---@field target string  a directory; a symlink, or a path through one, is refused (ELOOP)
---@field flags? caisson.mount.Flag[]  nosuid, nodev and noexec by default
---@field hidepid? "off"|"noaccess"|"invisible"|"ptraceable"|integer
---@field subset? "pid"  processes only
---@field root? string

---A procfs of the pid namespace: proc(5). In a user namespace it takes a pid namespace of its own, and that the host's
---/proc is seen whole: EPERM where something is mounted over a part of it, as in many containers.
---```lua
---{ step = "mount.proc", options = "/proc" }
---```
---@param options caisson.mount.proc.Options|string
---@return true|nil ok, string? message, integer? errno
function mount.proc(options) end

---@class caisson.mount.plain.Options
---@field target string
---@field flags? caisson.mount.Flag[]  nosuid, nodev and noexec by default
---@field root? string

---A sysfs of the network namespace: sysfs(5). In a user namespace it takes a network namespace of its own, and that
---the host's /sys is seen whole. No symlink may be in target.
---```lua
---{ step = "mount.sysfs", options = { target = "/sys", flags = { "ro", "nosuid", "nodev", "noexec" } } }
---```
---@param options caisson.mount.plain.Options|string
---@return true|nil ok, string? message, integer? errno
function mount.sysfs(options) end

---@class caisson.mount.mqueue.Options: caisson.mount.plain.Options
---@field target_nofollow? boolean      a symlink in any place of target is refused: ELOOP
---@field label? string                 SELinux's label of all files in it; EOPNOTSUPP where SELinux is not active

---The POSIX message queues of the IPC namespace: mq_overview(7).
---```lua
---{ step = "mount.mqueue", options = "/dev/mqueue" }
---```
---@param options caisson.mount.mqueue.Options|string
---@return true|nil ok, string? message, integer? errno
function mount.mqueue(options) end

---@class caisson.mount.devpts.Options
---@field target string
---@field flags? caisson.mount.Flag[]  nosuid and noexec by default
---@field mode? string|integer         of terminals; "0620"
---@field ptmxmode? string|integer     of ptmx in it; "0666"
---@field uid? integer                 owner of terminals, where not who opens ptmx
---@field gid? integer                 EINVAL where the user namespace has no such group
---@field max? integer                 how many there can be
---@field root? string
---@field target_nofollow? boolean      a symlink in any place of target is refused: ELOOP
---@field label? string                 SELinux's label of all files in it; EOPNOTSUPP where SELinux is not active

---Pseudoterminals of the container's own: pts(4).
---```lua
---{ step = "mount.devpts", options = { target = "/dev/pts", gid = 5 } }
---```
---@param options caisson.mount.devpts.Options|string
---@return true|nil ok, string? message, integer? errno
function mount.devpts(options) end

---@class caisson.mount.tmpfs.Options
---@field target string
---@field size? integer                bytes; half of the memory by default
---@field nr_inodes? integer           files and directories, the first included
---@field mode? string|integer         of its directory; "0755", with copyup that of what it covers
---@field uid? integer                 its owner, as the user namespace has it
---@field gid? integer
---@field options? string[]            others of tmpfs(5), "key=value" or "key" each: "size=50%", "huge=never"
---@field flags? caisson.mount.Flag[]  nosuid and nodev by default
---@field source? string               what mountinfo is to show; "tmpfs"
---@field covered_mode? boolean        its directory has the mode of what it covers; 1777 where that isn't there
---@field copyup? boolean              it starts with a copy of the directory that it covers: everything in
---  it, with modes, times, ACLs and other attributes that a tmpfs takes, and owners where the user namespace has
---  them; EPERM for a device node in a user namespace
---@field root? string
---@field target_nofollow? boolean      a symlink in any place of target is refused: ELOOP
---@field label? string                 SELinux's label of all files in it; EOPNOTSUPP where SELinux is not active

---An empty filesystem in memory: tmpfs(5). Writing past its size or number answers ENOSPC; a bad option EINVAL,
---with what the kernel says of it.
---```lua
---{ step = "mount.tmpfs", options = { target = "/tmp", size = 64 * 1024 * 1024, mode = "1777" } }
---```
---@param options caisson.mount.tmpfs.Options|string
---@return true|nil ok, string? message, integer? errno
function mount.tmpfs(options) end

---@class caisson.mount.overlay.Options
---@field target string
---@field lower string[]               directories of the host's, the topmost first: 1 to 500, at least two without upper
---@field upper? string                where changes go
---@field work? string                 an empty directory in the same filesystem as upper
---@field userxattr? boolean           marks that an ordinary user may set; the default in a user namespace of the plan's
---@field options? string[]            others: "volatile", "metacopy=off"
---@field flags? caisson.mount.Flag[]  nosuid and nodev by default
---@field root? string
---@field target_nofollow? boolean      a symlink in any place of target is refused: ELOOP
---@field label? string                 SELinux's label of all files in it; EOPNOTSUPP where SELinux is not active

---Directories on top of one another. Paths may be of any length and hold any character. In a user namespace since
---5.11. https://docs.kernel.org/filesystems/overlayfs.html
---```lua
---{ step = "mount.overlay", options = { target = "/opt", lower = { "/srv/tools", "/srv/base" }, upper = "up", work = "work" } }
---```
---@param options caisson.mount.overlay.Options
---@return true|nil ok, string? message, integer? errno
function mount.overlay(options) end

---@class caisson.mount.cgroup.Options
---@field target string
---@field controllers? string[]        of a hierarchy of version 1; without, and without name, it is version 2
---@field name? string                 of a named hierarchy of version 1
---@field flags? caisson.mount.Flag[]  ro, nosuid, nodev and noexec by default
---@field root? string
---@field target_nofollow? boolean      a symlink in any place of target is refused: ELOOP

---Control groups, as the cgroup namespace shows them: cgroups(7), cgroup_namespaces(7). In a user namespace it takes
---a cgroup namespace of its own.
---```lua
---{ step = "mount.cgroup", options = "/sys/fs/cgroup" }
---```
---@param options caisson.mount.cgroup.Options|string
---@return true|nil ok, string? message, integer? errno
function mount.cgroup(options) end

---@class caisson.mount.fs.Options
---@field type string                  as in /proc/filesystems
---@field target string
---@field source? string               a device, or what mountinfo is to show; the type by default
---@field options? string[]            "key=value" or "key" each; up to 255 bytes a value
---@field flags? caisson.mount.Flag[]  nosuid and nodev by default
---@field root? string
---@field target_nofollow? boolean      a symlink in any place of target is refused: ELOOP
---@field label? string                 SELinux's label of all files in it; EOPNOTSUPP where SELinux is not active

---Any other filesystem. ENODEV: the kernel does not have it. In a user namespace most can't be mounted: EPERM.
---```lua
---{ step = "mount.fs", options = { type = "ramfs", target = "/ram" } }
---```
---@param options caisson.mount.fs.Options
---@return true|nil ok, string? message, integer? errno
function mount.fs(options) end

---@class caisson.mount.remove.Options
---@field path string    of a mount in the root; a symlink in it is refused (ELOOP)
---@field lazy? boolean  now from sight, and in truth when its last user is gone; else EBUSY while it has one
---@field root? string

---Take a mount away. EINVAL: nothing is mounted there, or it is locked to the mount that it came with. umount2(2)
---```lua
---{ step = "mount.remove", options = { "/mnt", lazy = true } }
---```
---@param options caisson.mount.remove.Options|string
---@return true|nil ok, string? message, integer? errno
function mount.remove(options) end

---@class caisson.core.root
local root = {}

---@class caisson.root.tmpfs.Options
---@field size? integer                bytes
---@field nr_inodes? integer
---@field mode? string|integer         "0755"
---@field options? string[]
---@field flags? caisson.mount.Flag[]  nosuid and nodev by default
---@field at? string                   directory of the host's that the root covers until the switch; "/proc/fs"
---@field root? string                 slot that is filled; "root". A direct call returns the descriptor
---@field label? string                 SELinux's label of all files in it; EOPNOTSUPP where SELinux is not active

---An empty root. From here on, targets are in it; sources are still the host's.
---```lua
---{ step = "root.tmpfs", options = { size = 1024 * 1024 } }
---```
---@param options caisson.root.tmpfs.Options
---@return true|caisson.core.Fd|nil ok, string? message, integer? errno
function root.tmpfs(options) end

---@class caisson.root.bind.Options: caisson.mount.Tree.Options
---@field source? string a directory of the host's
---@field fd? string     or a slot: a tree made by mount.tree
---@field at? string     directory of the host's that the root covers until the switch; "/proc/fs"
---@field root? string   slot that is filled; "root". A direct call returns the descriptor

---A directory of the host's as root. What is made in it is made in that directory, unless flags say ro.
---```lua
---{ step = "root.bind", options = { source = "/srv/image", recursive = true, flags = { "rnosuid", "rnodev" } } }
---```
---@param options caisson.root.bind.Options|string
---@return true|caisson.core.Fd|nil ok, string? message, integer? errno
function root.bind(options) end

---@class caisson.root.overlay.Options
---@field lower string[]               as of mount.overlay, and so are the next
---@field upper? string
---@field work? string
---@field userxattr? boolean
---@field options? string[]
---@field flags? caisson.mount.Flag[]  nosuid and nodev by default
---@field at? string                   directory of the host's that the root covers until the switch; "/proc/fs"
---@field root? string                 slot that is filled; "root". A direct call returns the descriptor
---@field label? string                 SELinux's label of all files in it; EOPNOTSUPP where SELinux is not active

---An overlay as root: an image of several layers, and where changes to it go.
---```lua
---{ step = "root.overlay", options = { lower = { "/srv/tools", "/srv/base" }, upper = "up", work = "work" } }
---```
---@param options caisson.root.overlay.Options
---@return true|caisson.core.Fd|nil ok, string? message, integer? errno
function root.overlay(options) end

---@class caisson.root.readonly.Options
---@field flags? caisson.mount.Flag[]  others to set: nosuid, nodev
---@field root? string

---The root's mount becomes read-only; what is mounted in it keeps its flags. Before the switch or after.
---```lua
---{ step = "root.readonly", options = { flags = { "nosuid" } } }
---```
---@param options? caisson.root.readonly.Options
---@return true|nil ok, string? message, integer? errno
function root.readonly(options) end

---@class caisson.keep.Options
---@field path string
---@field slot string

---Open what a path leads to now, for a later step that has another root. open(2)
---@param options caisson.keep.Options
---@return true|nil ok, string? message, integer? errno
function core.keep(options) end

---@class caisson.root.enter.Options
---@field tree string   slot of a directory or a tree of mounts
---@field root? string  slot that it is from then on

---Make it the root, in whatever mount namespace this is. fchdir(2), chroot(2)
---@param options caisson.root.enter.Options
---@return true|nil ok, string? message, integer? errno
function root.enter(options) end

---@class caisson.root.switch.Options
---@field root? string  slot of the new root; "root"

---Switch to the new root where pivot_root can't, in an initramfs: it is moved over the old one, and chroot(2). The
---old root stays below: a process with CAP_SYS_CHROOT can get at it.
---@param options? caisson.root.switch.Options
---@return true|nil ok, string? message, integer? errno
function root.move(options) end

---Switch to the new root and unmount the old one: pivot_root(2). The working directory is then "/".
---EINVAL: the old root is an initramfs or a chroot.
---```lua
---{ step = "pivot_root", options = {} }
---```
---@param options? caisson.root.switch.Options
---@return true|nil ok, string? message, integer? errno
function core.pivot_root(options) end

---@class caisson.path.Options
---@field path string
---@field root? string  slot of the root that path is resolved in; "root". In a direct call a descriptor

---@class caisson.chdir.Options: caisson.path.Options
---@field try? boolean    where permission is lacking (EACCES) it is left to a later step,
---@field retry? boolean  which does nothing where that has entered it

---The working directory: chdir(2). EXDEV: it is outside of the root (by a descriptor that came through).
---```lua
---{ step = "chdir", options = "/work" }
---```
---@param options caisson.chdir.Options|string
---@return true|nil ok, string? message, integer? errno
function core.chdir(options) end

---Hide a path: a file behind the null device, a directory behind an empty read-only tmpfs, the same one for all.
---A path that isn't there is no error.
---```lua
---{ step = "mask", options = "/proc/kcore" }
---```
---@param options caisson.path.Options|string
---@return true|nil ok, string? message, integer? errno
function core.mask(options) end

---Make a path read-only, with all that is mounted below it. A path that isn't there is no error.
---```lua
---{ step = "readonly", options = "/proc/sys" }
---```
---@param options caisson.path.Options|string
---@return true|nil ok, string? message, integer? errno
function core.readonly(options) end

---@class caisson.mkdir.Options: caisson.path.Options
---@field mode? string|integer  of the last one, exactly, whatever the umask; "0755". What is there keeps its own
---@field uid? integer  owner of the last one; by default who makes it
---@field gid? integer

---A directory, and those above it that are missing: mkdir(2).
---```lua
---{ step = "mkdir", options = { path = "/tmp", mode = "1777" } }
---```
---@param options caisson.mkdir.Options|string
---@return true|nil ok, string? message, integer? errno
function core.mkdir(options) end

---@class caisson.symlink.Options
---@field target string  what it says
---@field at string      where it stands
---@field existing? boolean  whatever stands there already may stay
---@field replace? boolean   or goes
---@field root? string

---A symlink: symlink(2). The same one may be there already; anything else is EEXIST.
---```lua
---{ step = "symlink", options = { target = "/proc/self/fd", at = "/dev/fd" } }
---```
---@param options caisson.symlink.Options
---@return true|nil ok, string? message, integer? errno
function core.symlink(options) end

---@class caisson.file.Options: caisson.path.Options
---@field data string            the contents, of any bytes
---@field mode? string|integer   exactly, whatever the umask; "0644"
---@field mount? boolean         a mount of its own over what is there, which stays as it is
---@field flags? caisson.mount.Flag[]  of that mount; nosuid and nodev by default

---A file with these contents. Without mount it is written into the root's own filesystem, and must not be there
---yet (EEXIST): in a root that is a directory of the host's, it stays in that directory.
---```lua
---{ step = "file", options = { path = "/etc/hostname", data = "box\n", mount = true } }
---```
---@param options caisson.file.Options
---@return true|nil ok, string? message, integer? errno
function core.file(options) end

---@class caisson.mknod.Options: caisson.path.Options
---@field type? "char"|"block"|"fifo"  "char"
---@field major? integer               to 4095
---@field minor? integer               to 1048575
---@field mode? string|integer         exactly, whatever the umask; "0666"
---@field uid? integer                 owner, by default who makes it
---@field gid? integer

---A device node or fifo: mknod(2). Device nodes need CAP_MKNOD, and that in no user namespace: EPERM.
---@param options caisson.mknod.Options|string
---@return true|nil ok, string? message, integer? errno
function core.mknod(options) end

---@class caisson.device.Options: caisson.mknod.Options
---@field source? string  the host's node, by default of the same name in /dev

---A device node; where none can be made, or could not be opened (nodev), the host's own is bound, after a look at
---what it is: ENODEV where it is another. The bound one keeps mode and owner. The numbers of null, zero, full,
---random, urandom and tty are known.
---```lua
---{ step = "device", options = "/dev/null" }
---```
---@param options caisson.device.Options|string
---@return true|nil ok, string? message, integer? errno
function core.device(options) end

---@class caisson.procfs.Options
---@field slot? string  slot that is filled; "procfs". A direct call returns the descriptor

---A procfs that is mounted nowhere, so that nothing can stand over a part of it. Sysctls, labels and scores are
---written through it. In a user namespace as mount.proc.
---```lua
---{ step = "procfs", options = {} }
---```
---@param options? caisson.procfs.Options
---@return true|caisson.core.Fd|nil ok, string? message, integer? errno
function core.procfs(options) end
