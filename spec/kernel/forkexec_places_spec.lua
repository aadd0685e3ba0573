-- Where forkexec says that its child has failed, and where we say it: each place of its list, by a real failure
-- where there is one to be had, else by a filter that has the kernel answer so.
local t = require "support"
local core, step = t.core, t.step

local E = core.errno
local unpack = table.unpack or unpack -- luacheck: ignore

local function parent(name) return step("lua", { name = name }, { side = "parent" }) end

-- From here on the kernel answers these calls with an errno. Two steps before exec, it is loaded where it stands.
local function deny(name, ...)
  local rule = { action = { "errno", name } }
  local n = select("#", ...)
  for i = 1, n do
    local v = select(i, ...)
    if type(v) == "table" then rule.args = v else rule[#rule + 1] = v end
  end
  return step("no_new_privs"), step("seccomp", { program = assert(core.seccomp.compile { default = "allow", rules = { rule } }) })
end

-- steps: a list, or a function that makes it. Without `clone` among them one is put in front.
local function steps_of(place)
  local list = type(place.steps) == "function" and place.steps() or place.steps
  for _, s in ipairs(list) do if s.step == "clone" then return list end end
  return t.steps(step("clone", {}), list)
end

local function with(after, ...)
  local list = { ... }
  for _, s in ipairs(after) do list[#list + 1] = s end
  return list
end

local function nnp_and(name, args, after)
  local a, b = deny(name, unpack(args))
  return with(after, a, b)
end

local function contained(...) return t.steps(t.contained { "mount" }, step("mount.propagation", { path = "/", propagation = "private",
  recursive = true }), ...) end

local PR_SET_NO_NEW_PRIVS, PR_CAPBSET_DROP = 38, 24

local many = {}
for i = 1, 400 do many[i] = "stdin" end -- more than this process may hold, so that the slot is among them

-- place (forkexec's name) -> our step, its index, the errno, what the detail says; how it is provoked.
-- `none`: why we have no such place.
local places = {
  { place = "clone", step = "clone", side = "parent", errno = "EBADF",
    steps = { step("clone", { cgroup = "cgroup" }) }, opts = function()
      return { slots = { cgroup = assert(core.open("/etc/passwd", "path")) } } -- no directory, let alone a cgroup's
    end },
  { place = "close_write", none = "the child has one end of the socket; the runner was never given the other" },
  { place = "unshare_user_read", step = "idmap", side = "parent", errno = "EINVAL", detail = "overlap",
    steps = { step("clone", { "user" }), step("idmap", { uid = { { 0, 1000, 10 }, { 5, 2000, 10 } } }) } },
  { place = "getpid", step = "stop", errno = "EXDEV", detail = "getpid",
    steps = function() return nnp_and("EXDEV", { "getpid" }, { step("umask", "022"), step("stop"), step("umask", "022") }) end },
  { place = "keep_capability", step = "uid", errno = "EPERM", detail = "keeping capabilities",
    steps = function() return t.steps(t.contained { "user" }, step("securebits", { flags = { "keep_caps_locked" } }),
      step("uid", { uid = 0, keep_capabilities = true })) end },
  { place = "setgroups", step = "groups", errno = "EPERM",
    steps = function() return t.steps(t.contained { "user" }, step("groups", { groups = { 1 } })) end },
  { place = "setgid", step = "gid", errno = "EINVAL",
    steps = function() return t.steps(t.contained { "user" }, step("gid", 54321)) end },
  { place = "setuid", step = "uid", errno = "EINVAL",
    steps = function() return t.steps(t.contained { "user" }, step("uid", 54321)) end },
  { place = "dup3", step = "exec", errno = "EBUSY", detail = "dup3 to descriptor 2",
    steps = function() return nnp_and("EBUSY", { "dup3", { { 1, "==", 2 } } }, { step("umask", "022") }) end },
  { place = "fcntl", step = "exec", errno = "EMFILE", detail = "fcntl", -- F_DUPFD beyond the limit
    steps = { step("rlimit", { resource = "nofile", soft = 300 }) },
    opts = function()
      collectgarbage() -- what other specs have dropped is still open
      collectgarbage()
      return { files = many }
    end },
  { place = "setsid", step = "session", index = 2, errno = "EPERM", steps = { step("session"), step("session") } },
  { place = "ioctl", step = "tty", errno = "ENOTTY", steps = { step("session"), step("tty", "stdin") } },
  { place = "mount_root", step = "mount.propagation", errno = "EINVAL", detail = "not a mount",
    steps = function() return t.steps(t.contained { "mount" }, step("mount.propagation", { path = "/etc/passwd", propagation = "private" })) end },
  { place = "mount_tmpfs", step = "root.tmpfs", errno = "EXDEV",
    steps = function() return contained(nnp_and("EXDEV", { "fsopen" }, { step("root.tmpfs", {}), step("umask", "022") })) end },
  { place = "mount_chdir", step = "pivot_root", errno = "EXDEV", detail = "entering the new root",
    steps = function() return contained(step("root.tmpfs", {}), nnp_and("EXDEV", { "fchdir" }, { step("pivot_root", {}),
      step("umask", "022") })) end },
  { place = "mount", step = "mount.bind", index = 3, errno = "ENOENT", detail = "/nonexistent",
    steps = function() return contained(step("root.tmpfs", {}), step("mount.bind", { source = "/usr", target = "/a" }),
      step("mount.bind", { source = "/usr", target = "/b" }), step("mount.bind", { source = "/nonexistent", target = "/c" })) end },
  { place = "mount_mkdir", step = "mount.bind", index = 2, errno = "ENOTDIR", detail = "target /f/x/y",
    steps = function() return contained(step("root.tmpfs", {}), step("mount.bind", { source = "/etc/passwd", target = "/f" }),
      step("mount.bind", { source = "/usr", target = "/f/x/y" })) end },
  { place = "pivot_root", step = "pivot_root", errno = "EBUSY",
    steps = function() return contained(step("root.tmpfs", {}), nnp_and("EBUSY", { "pivot_root" }, { step("pivot_root", {}),
      step("umask", "022") })) end },
  { place = "umount", step = "pivot_root", errno = "EXDEV", detail = "unmounting the old root",
    steps = function() return contained(step("root.tmpfs", {}), nnp_and("EXDEV", { "umount2" }, { step("pivot_root", {}),
      step("umask", "022") })) end },
  { place = "unlink", none = "pivot_root(\".\", \".\") needs no directory for the old root, so there is none to remove" },
  { place = "mount_root_readonly", step = "root.readonly", errno = "EXDEV",
    steps = function() return contained(step("root.tmpfs", {}), step("pivot_root", {}), nnp_and("EXDEV", { "mount_setattr" },
      { step("root.readonly", {}), step("umask", "022") })) end },
  { place = "chdir", step = "chdir", errno = "ENOENT", detail = "/nonexistent", steps = { step("chdir", "/nonexistent") } },
  { place = "setrlimit", step = "rlimit", index = 2, errno = "EINVAL", detail = "above the hard one",
    steps = { step("rlimit", { resource = "core", soft = 0 }), step("rlimit", { resource = "nofile", soft = 9, hard = 8 }) } },
  { place = "set_no_new_privs", step = "no_new_privs", index = 2, errno = "EXDEV",
    steps = function() return nnp_and("EXDEV", { "prctl", { { 0, "==", PR_SET_NO_NEW_PRIVS } } }, { step("no_new_privs"),
      step("umask", "022") }) end },
  { place = "drop_capability", step = "capabilities", errno = "EXDEV", detail = "bounding: ",
    steps = function() return t.steps(t.contained { "user" }, nnp_and("EXDEV", { "prctl", { { 0, "==", PR_CAPBSET_DROP } } },
      { step("capabilities", { bounding = {} }), step("umask", "022") })) end },
  { place = "set_cap", step = "capabilities", errno = "EXDEV", no_detail = "bounding",
    steps = function() return t.steps(t.contained { "user" }, nnp_and("EXDEV", { "capset" },
      { step("capabilities", { permitted = {}, effective = {} }), step("umask", "022") })) end },
  { place = "ptrace_me", step = "ptrace_me", index = 2, errno = "EPERM", steps = { step("ptrace_me"), step("ptrace_me") } },
  { place = "stop", step = "stop", errno = "EXDEV", detail = "kill",
    steps = function() return nnp_and("EXDEV", { "kill" }, { step("umask", "022"), step("stop"), step("umask", "022") }) end },
  { place = "seccomp", step = "seccomp", index = 2, errno = "EINVAL", detail = "no valid program",
    steps = { step("no_new_privs"), step("seccomp", { program = assert(core.seccomp.compile { default = "allow" }) }),
      step("seccomp", { program = ("\0"):rep(8) }) } },
  { place = "sync_write", none = "the child that can't reach its host has nobody to tell: it leaves, and so does its creator" },
  { place = "sync_read", step = "lua", errno = "ECANCELED", detail = "no", side = "parent", steps = { parent "no" },
    opts = { functions = { no = function() return nil, "no" end } } },
  { place = "execve", step = "exec", errno = "ENOENT", detail = "/nonexistent", steps = {}, opts = { argv = { "/nonexistent" } } },
}

describe("forkexec's error place", function()
  if not t.needs "userns" then return end

  for _, p in ipairs(places) do
    if not p.none then
      it(("%s is step %s[%d]"):format(p.place, p.step, p.index or 1), function()
        local opts = type(p.opts) == "function" and p.opts() or p.opts or {}
        local ok, message, errno, failure = t.run(steps_of(p), opts)
        assert.is_nil(ok)
        assert.same({ p.step, p.index or 1, p.side or "child", E[p.errno], p.errno },
          { failure.step, failure.index, failure.side, errno, failure.code }, message)
        assert.truthy(failure.number)
        if p.detail then assert.truthy((failure.detail or ""):find(p.detail, 1, true), message) end
        if p.no_detail then assert.falsy((failure.detail or ""):find(p.no_detail, 1, true), message) end
      end)
    end
  end

  it("is in the table, with a step of ours or with a reason why there is none", function()
    local all = "clone close_write unshare_user_read getpid keep_capability setgroups setgid setuid dup3 fcntl setsid ioctl "
      .. "mount_root mount_tmpfs mount_chdir mount mount_mkdir pivot_root umount unlink mount_root_readonly chdir setrlimit "
      .. "set_no_new_privs drop_capability set_cap ptrace_me stop seccomp sync_write sync_read execve"
    local names, told = {}, {}
    for i, p in ipairs(places) do
      names[i] = p.place
      if not p.none then
        -- no two may be the same to who reads the error
        local key = table.concat({ p.step, p.errno, p.detail or "" }, " ")
        assert.is_nil(told[key], key)
        told[key] = true
      end
    end
    assert.equal(all, table.concat(names, " "))
  end)

  it("that is injected is told apart as well: any step, any errno", function()
    for _, p in ipairs(places) do
      if not p.none and type(p.opts) ~= "function" then
        local steps = steps_of(p)
        local opts = {}
        for k, v in pairs(p.opts or {}) do opts[k] = v end
        -- every step before it is done, in vain or not at all
        local at
        for i, s in ipairs(steps) do if s.step == p.step then at = i end end
        at = at or #steps + 1
        opts.fail = { step = at, errno = E.EXFULL }
        local ok, _, errno, failure = t.run(steps, opts)
        assert.is_nil(ok)
        if failure.number == at then assert.equal(E.EXFULL, errno, p.place) end
        assert.truthy(failure.number and failure.number <= at, p.place)
      end
    end
  end)
end)
