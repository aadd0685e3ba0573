-- For the specs of mounts and paths: a container with a root of its own, step by step.
local t = require "support"
local core = t.core

local M = {}

local uid, gid = tonumber(t.sh("id -u")), tonumber(t.sh("id -g"))

-- Steps up to a private mount namespace. opts.user: in a user namespace, as an ordinary user always is;
-- opts.first: steps before the propagation; opts.namespaces: others than all that a mount may need.
function M.namespaces(opts)
  opts = opts or {}
  local user = opts.user or not t.is_root
  local names = { user and "user" or nil }
  for _, n in ipairs(opts.namespaces or { "mount", "pid", "ipc", "net", "cgroup" }) do names[#names + 1] = n end
  local steps = { t.step("clone", { namespaces = names }) }
  if user then
    steps[#steps + 1] = t.step("idmap", { uid = opts.uid or { { 0, uid, 1 } }, gid = opts.gid or { { 0, gid, 1 } },
      setgroups = not t.is_root and "deny" or nil })
    if opts.uid then -- or root has no number in there
      steps[#steps + 1] = t.step("gid", 0)
      steps[#steps + 1] = t.step("uid", 0)
    end
  end
  for _, s in ipairs(opts.first or {}) do steps[#steps + 1] = s end
  steps[#steps + 1] = t.step("mount.propagation", { path = "/", propagation = "private", recursive = true })
  return steps
end

-- What a shell needs, read-only.
function M.system(steps)
  for _, d in ipairs { "/usr", "/bin", "/lib", "/lib64", "/etc" } do
    if core.open(d, "path") then
      steps[#steps + 1] = t.step("mount.bind", { source = d, target = d, recursive = true, flags = { "rro" } })
    end
  end
  steps[#steps + 1] = t.step("mount.proc", "/proc")
  return steps
end

-- Run script in a container: namespaces, a root (default: a tmpfs), the system, steps, pivot_root.
-- opts: user, first, root (a step), system = false, last (steps after pivot_root), and what t.run takes.
function M.run(steps, opts)
  opts = opts or {}
  local list = M.namespaces(opts)
  list[#list + 1] = opts.root or t.step("root.tmpfs", {})
  if opts.system ~= false then M.system(list) end
  for _, s in ipairs(steps) do list[#list + 1] = s end
  list[#list + 1] = t.step("pivot_root", {})
  for _, s in ipairs(opts.last or {}) do list[#list + 1] = s end
  return t.run(list, opts)
end

-- A scratch directory of the spec's, removed by M.clean().
local made = {}
function M.tmpdir()
  local d = t.sh("mktemp -d"):gsub("\n", "")
  made[#made + 1] = d
  return d
end

function M.clean()
  for _, d in ipairs(made) do t.sh("chmod -R u+rwX '" .. d .. "'; rm -rf '" .. d .. "'") end
  made = {}
end

-- A step that has the kernel answer ENOSYS to these system calls from then on, as some policies do. Their
-- numbers are the same on all machines.
local numbers = { openat2 = 437, open_tree = 428, move_mount = 429, fsopen = 430, fsconfig = 431, fsmount = 432,
  mount_setattr = 442, fchmodat2 = 452 }
function M.enosys(...)
  local names = type(...) == "table" and ... or { ... }
  local function instruction(code, jt, jf, k)
    return string.char(code % 256, math.floor(code / 256), jt, jf, k % 256, math.floor(k / 256) % 256,
      math.floor(k / 65536) % 256, math.floor(k / 16777216))
  end
  local program = { instruction(0x20, 0, 0, 0) } -- load the number
  for _, name in ipairs(names) do
    program[#program + 1] = instruction(0x15, 0, 1, assert(numbers[name]))
    program[#program + 1] = instruction(0x06, 0, 0, 0x00050000 + 38) -- SECCOMP_RET_ERRNO, ENOSYS
  end
  program[#program + 1] = instruction(0x06, 0, 0, 0x7fff0000) -- SECCOMP_RET_ALLOW
  return t.step("seccomp", { program = table.concat(program) })
end

-- mountinfo as a list of { root, at, flags, tags, type, source, super }.
function M.mounts(text)
  local list = {}
  for line in text:gmatch("[^\n]+") do
    local root, at, flags, tags, rest = line:match("^%d+ %d+ %d+:%d+ (%S+) (%S+) (%S+) (.-)%- (.*)$")
    if root then
      local kind, source, super = rest:match("^(%S+) (%S+) ?(.*)$")
      list[#list + 1] = { root = root, at = at, flags = "," .. flags .. ",", tags = tags, type = kind, source = source,
        super = "," .. super .. "," }
      list[at] = list[#list] -- the topmost one there
    end
  end
  return list
end

return M
