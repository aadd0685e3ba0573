---@meta
-- Landlock: landlock(7). A recipe's table is in caisson.landlock; this is what it stands on.

---@class caisson.core
---@field landlock caisson.core.landlock

---@class caisson.core.landlock
local landlock = {}

---@alias caisson.landlock.Fs
---| "execute"|"write_file"|"read_file"|"read_dir"|"remove_dir"|"remove_file"|"make_char"|"make_dir"|"make_reg"
---| "make_sock"|"make_fifo"|"make_block"|"make_sym"|"refer"|"truncate"|"ioctl_dev"
---@alias caisson.landlock.Net "bind_tcp"|"connect_tcp"
---@alias caisson.landlock.Scope "abstract_unix_socket"|"signal"

---@class caisson.landlock.ruleset.Options
---@field fs? (caisson.landlock.Fs|integer)[]        rights that are denied but for the rules; words or bits
---@field net? (caisson.landlock.Net|integer)[]
---@field scope? (caisson.landlock.Scope|integer)[]  not to processes outside of the restricted ones
---@field ruleset string                             slot to fill

---Make a ruleset. Child's side; a direct call returns the descriptor. Needs no privilege. `ENOSYS`,
---`EOPNOTSUPP`: no Landlock, or turned off; `EINVAL`: a right that this kernel lacks, which the message names
---(refer: 5.19, truncate: 6.2, ports: 6.7, ioctl_dev: 6.10, scopes: 6.12).
---```lua
---local ruleset = assert(core.landlock.ruleset { fs = { "write_file" } })
---```
---@param options caisson.landlock.ruleset.Options
---@return caisson.core.Fd|nil ruleset, string? message, integer? errno
function landlock.ruleset(options) end

---@class caisson.landlock.path.Options
---@field path string                                looked up in the root, when the step is applied
---@field access (caisson.landlock.Fs|integer)[]     of the rights that the ruleset handles
---@field ruleset string                             slot; in a direct call a descriptor
---@field root? string                               slot of another root

---Allow rights on a file, or on all below a directory. On a file, rights that only directories have are
---left out (`ENOTDIR` where none remains). `EINVAL`: a right that the ruleset does not handle.
---```lua
---assert(core.landlock.path { "/tmp", access = { "write_file" }, ruleset = ruleset })
---```
---@param options caisson.landlock.path.Options
---@return true|nil ok, string? message, integer? errno
function landlock.path(options) end

---@class caisson.landlock.port.Options
---@field port integer                               0 to 65535
---@field access (caisson.landlock.Net|integer)[]
---@field ruleset string                             slot; in a direct call a descriptor

---Allow binding or connecting to a TCP port. Linux 6.7.
---@param options caisson.landlock.port.Options
---@return true|nil ok, string? message, integer? errno
function landlock.port(options) end

---@class caisson.landlock.restrict.Options
---@field ruleset string                             slot; in a direct call a descriptor
---@field flags? (string|integer)[]                  "log_same_exec_off", "log_new_exec_on", "log_subdomains_off" (6.15)

---Restrict the calling thread, and what it starts, by a ruleset; for good. It can't change mounts after it.
---Needs no_new_privs, or CAP_SYS_ADMIN (`EPERM`). `E2BIG`: 16 rulesets are there already.
---```lua
---assert(core.no_new_privs {})
---assert(core.landlock.restrict { ruleset = ruleset })
---```
---@param options caisson.landlock.restrict.Options
---@return true|nil ok, string? message, integer? errno
function landlock.restrict(options) end

---The version of Landlock that this kernel has.
---@return integer|nil abi, string? message, integer? errno
function landlock.abi() end

---The rights that Caisson has words for, each with the version that brought it.
---@return { fs: table<string, integer>, net: table<string, integer>, scope: table<string, integer> }
function landlock.rights() end
