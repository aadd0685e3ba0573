---@meta
-- Files by name in a directory that is held by its descriptor. Names are one component: neither / nor .. leads out,
-- and no symlink is followed.

---@class caisson.core
---@field files caisson.core.files
local core = {}

---@class caisson.core.files
local files = {}

---@class caisson.files.Stat
---@field type "file"|"directory"|"other"
---@field mode integer   permission bits
---@field uid integer
---@field gid integer
---@field size integer   bytes
---@field dev integer
---@field ino integer
---@field links integer  0: it has been removed

---Open a file in a directory. It is close-on-exec, and a symlink there is `ELOOP`. openat(2)
---```lua
---local dir = assert(core.open("/run/caisson", "directory"))
---local fd = assert(core.files.open(dir, "state.new", { "write", "create", "exclusive" }))
---```
---@param dir integer|caisson.core.Fd
---@param name string
---@param flags? string|string[]  read write readwrite create truncate exclusive directory nonblock; "read"
---@param mode? integer           of a file that it creates; 0600 (384)
---@return caisson.core.Fd|nil fd, string? message, integer? errno
function files.open(dir, name, flags, mode) end

---Open a file by a path in a root that somebody else may have filled: symlinks and "..", absolute or not, end inside, and
---those of procfs are refused. openat2(2)
---```lua
---local root = assert(core.open("/proc/" .. pid .. "/root", { "path", "directory" }))
---local fd = core.files.open_inside(root, "/etc/passwd")
---```
---@param root integer|caisson.core.Fd
---@param path string
---@param flags? string|string[]  as files.open()
---@param mode? integer
---@return caisson.core.Fd|nil fd, string? message, integer? errno
function files.open_inside(root, path, flags, mode) end

---Make a directory; `EEXIST` where there is anything of that name: of two that try, one succeeds. mkdirat(2)
---@param dir integer|caisson.core.Fd
---@param name string
---@param mode? integer  0700 (448)
---@return true|nil ok, string? message, integer? errno
function files.mkdir(dir, name, mode) end

---Give a file another name in the same directory, in place of the one that has it: nobody sees neither. renameat(2)
---@param dir integer|caisson.core.Fd
---@param from string
---@param to string
---@return true|nil ok, string? message, integer? errno
function files.rename(dir, from, to) end

---Remove a file, or an empty directory. unlinkat(2)
---@param dir integer|caisson.core.Fd
---@param name string
---@return true|nil ok, string? message, integer? errno
function files.remove(dir, name) end

---What a descriptor leads to, or a name in the directory that it is of (no symlink is followed). fstatat(2)
---@param fd integer|caisson.core.Fd
---@param name? string
---@return caisson.files.Stat|nil stat, string? message, integer? errno
function files.stat(fd, name) end

---Wait until it is on the disk: a file's bytes, or a directory's names. fsync(2)
---@param fd integer|caisson.core.Fd
---@return true|nil ok, string? message, integer? errno
function files.sync(fd) end

---Take, or give back, the lock of an open file. Never waits: `EAGAIN` where another open file has it. It ends with
---the descriptor, so with a process that is killed. flock(2)
---```lua
---local ok, message, errno = core.files.lock(dir)
---if not ok and errno == core.errno.EAGAIN then print "somebody is at it" end
---```
---@param fd integer|caisson.core.Fd
---@param how? "exclusive"|"shared"|"unlock"
---@return true|nil ok, string? message, integer? errno
function files.lock(fd, how) end
