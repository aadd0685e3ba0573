---@meta
-- Seccomp filters: seccomp(2). Policies as values are in caisson.policy; this is what they stand on.

---@class caisson.core
---@field seccomp caisson.core.seccomp
---@field cache caisson.core.cache
local core = {}

---@alias caisson.seccomp.Flag "tsync"|"log"|"spec_allow"|"new_listener"|"wait_killable_recv"
---@alias caisson.seccomp.Operator "=="|"!="|"<"|"<="|">"|">="|"masked"

---@alias caisson.seccomp.Action
---| "allow"|"log"|"kill_process"|"kill_thread"|"trap"|"notify"
---| "errno"                                         EPERM
---| { [1]: "errno", [2]: integer|string }           number to 4094, or name
---| { [1]: "trace", [2]: integer }                  number to 65535, which the tracer reads

---@class caisson.seccomp.Options
---@field program string             instructions of 8 bytes, 1 to 4096
---@field flags? caisson.seccomp.Flag[]
---@field listener? string           slot for the descriptor of action notify; implies new_listener

---Load a filter into the calling process. Child's side; steps of this kind right before exec are applied
---after all that exec prepares, so that a filter need allow no more than execve. Filters add up: the
---strictest answer wins, and each is asked before the next can be loaded. A direct call with flag
---new_listener returns the descriptor.
---
---Needs no_new_privs, or CAP_SYS_ADMIN in the user namespace (`EACCES`). `EINVAL`: no valid program, or a
---flag that this kernel does not know; `EBUSY`: there is a listener already; `ESRCH`: tsync, and a thread
---has a filter of its own. wait_killable_recv: Linux 5.19.
---```lua
---assert(core.no_new_privs {})
---assert(core.seccomp { program = core.seccomp.compile { default = "allow" } })
---```
---@param options caisson.seccomp.Options
---@return true|caisson.core.Fd|nil ok, string? message, integer? errno
function core.seccomp(options) end

---@class caisson.core.seccomp
local seccomp = {}

---@class caisson.seccomp.Rule
---@field [integer] string                 names of system calls
---@field action caisson.seccomp.Action
---@field args? table[]                    { index, operator, value } or { index, "masked", mask, value }: all must
---  be true; index 0 to 5, one comparison for each; values are numbers to 2^53, decimal text, or "0x..." text

---@class caisson.seccomp.compile.Options
---@field default caisson.seccomp.Action   for calls that no rule matches
---@field rules? caisson.seccomp.Rule[]    asked in their order; the first that matches decides
---@field architectures? string[]          "x86_64", "x86", "aarch64", ...; none: the machine's own alone
---@field bad_architecture? caisson.seccomp.Action  for calls of all others ("kill_process")
---@field newest? string|true              calls with a number above this one's answer ENOSYS; true: above the
---  highest of the rules
---@field skip_unknown? boolean            leave out names that libseccomp does not know

---Build a program with libseccomp. Needs no privilege. The second value lists the names left out
---(skip_unknown). `EEXIST`: a rule that is never asked; `E2BIG`: more than 4095 instructions.
---```lua
---local program = assert(core.seccomp.compile { default = "errno", rules = {
---  { "read", "write", "exit_group", action = "allow" },
---  { "socket", action = "allow", args = { { 0, "masked", "0xffffffff", 1 } } } } })
---```
---@param options caisson.seccomp.compile.Options
---@return string|nil program, string[]|string|nil skipped, integer? errno
function seccomp.compile(options) end

---A call's number, or nil where the architecture has none.
---```lua
---assert(core.seccomp.number("getpid", "x86_64") == 39)
---```
---@param name string
---@param architecture? string
---@return integer|nil
function seccomp.number(name, architecture) end

---What a filter is told an architecture is: AUDIT_ARCH_X86_64, ... (x32 has that of x86_64.)
---```lua
---assert(core.seccomp.audit("x86_64") == 0xc000003e)
---```
---@param architecture? string
---@return integer
function seccomp.audit(architecture) end

---Does libseccomp know the name, on whatever architecture?
---@param name string
---@return boolean
function seccomp.known(name) end

---All calls of an architecture.
---@param architecture? string
---@return table<string, integer>
function seccomp.syscalls(architecture) end

---The machine's architecture.
---@return string
function seccomp.architecture() end

---The architectures that libseccomp knows.
---@return string[]
function seccomp.architectures() end

---libseccomp's version.
---@return string
function seccomp.version() end

---What this kernel loads: actions and flags, by asking it. Loads nothing, needs no privilege.
---@return { actions: string[], flags: string[], architecture: string, version: string }
function seccomp.features() end

---@class caisson.core.cache
local cache = {}

---The value kept for a key in a directory, or nil where there is none that can be trusted: directory and
---file must be the caller's own and writable by nobody else, and the file must hold the whole key.
---@param directory string
---@param key string
---@return string|nil
function cache.get(directory, key) end

---Keep a value: written beside and renamed. The directory and its parent are made, mode 0700.
---`EPERM`: the directory is another's, or open to others; `EFBIG`: key and value over 1 MiB.
---@param directory string
---@param key string
---@param value string
---@return true|nil ok, string? message, integer? errno
function cache.put(directory, key, value) end

---What tells these bytes from others that came of them by a change: a checksum and their number. No proof against
---somebody who means to deceive.
---@param bytes string
---@return string
function cache.digest(bytes) end
