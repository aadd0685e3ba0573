-- System calls that take paths: where the path, the directory and the flags stand among the arguments, and what
-- is done to the file: "read", "write" (changed, made or removed), "stat" (looked at, not into), "open" (as the
-- flags say). nofollow: a link at the end is meant itself; a number: bit of the flags that says so.
local M = {}

local NOFOLLOW, FOLLOW, EMPTY = 0x100, 0x400, 0x1000 -- AT_*

local function at(access, dir, path, flags, more)
  local p = { access = access, dir = dir, path = path, flags = flags }
  for k, v in pairs(more or {}) do p[k] = v end
  return p
end

local function plain(access, nofollow) return { at(access, nil, 1, nil, { nofollow = nofollow }) } end

local calls = {
  open = { at("open", nil, 1, 2) },
  openat = { at("open", 1, 2, 3) },
  openat2 = { at("open", 1, 2, nil, { how = 3 }) },
  creat = plain "write",
  access = plain "stat",
  faccessat = { at("stat", 1, 2) },
  faccessat2 = { at("stat", 1, 2, 4, { nofollow = NOFOLLOW, empty = EMPTY }) },
  stat = plain "stat",
  lstat = plain("stat", true),
  newfstatat = { at("stat", 1, 2, 4, { nofollow = NOFOLLOW, empty = EMPTY }) },
  statx = { at("stat", 1, 2, 3, { nofollow = NOFOLLOW, empty = EMPTY }) },
  statfs = plain "stat",
  readlink = plain("stat", true),
  readlinkat = { at("stat", 1, 2, nil, { nofollow = true, empty = true }) },
  chdir = plain "stat",
  chroot = plain "stat",
  inotify_add_watch = { at("stat", nil, 2) },
  name_to_handle_at = { at("stat", 1, 2, 5, { nofollow = FOLLOW, follow_says = true, empty = EMPTY }) },
  execve = plain "read",
  execveat = { at("read", 1, 2, 5, { nofollow = NOFOLLOW, empty = EMPTY }) },
  uselib = plain "read",
  getxattr = plain "stat", lgetxattr = plain("stat", true),
  listxattr = plain "stat", llistxattr = plain("stat", true),
  setxattr = plain "write", lsetxattr = plain("write", true),
  removexattr = plain "write", lremovexattr = plain("write", true),
  setxattrat = { at("write", 1, 2, 3, { nofollow = NOFOLLOW, empty = EMPTY }) },
  getxattrat = { at("stat", 1, 2, 3, { nofollow = NOFOLLOW, empty = EMPTY }) },
  listxattrat = { at("stat", 1, 2, 3, { nofollow = NOFOLLOW, empty = EMPTY }) },
  removexattrat = { at("write", 1, 2, 3, { nofollow = NOFOLLOW, empty = EMPTY }) },
  truncate = plain "write",
  mkdir = plain("write", true), mkdirat = { at("write", 1, 2, nil, { nofollow = true }) },
  mknod = plain("write", true), mknodat = { at("write", 1, 2, nil, { nofollow = true }) },
  rmdir = plain("write", true),
  unlink = plain("write", true), unlinkat = { at("write", 1, 2, nil, { nofollow = true }) },
  symlink = { at("write", nil, 2, nil, { nofollow = true }) },
  symlinkat = { at("write", 2, 3, nil, { nofollow = true }) },
  -- a second name for a file is a way to change it
  link = { at("write", nil, 1, nil, { nofollow = true }), at("write", nil, 2, nil, { nofollow = true }) },
  linkat = { at("write", 1, 2, 5, { nofollow = FOLLOW, follow_says = true, empty = EMPTY }),
    at("write", 3, 4, nil, { nofollow = true }) },
  rename = { at("write", nil, 1, nil, { nofollow = true }), at("write", nil, 2, nil, { nofollow = true }) },
  renameat = { at("write", 1, 2, nil, { nofollow = true }), at("write", 3, 4, nil, { nofollow = true }) },
  renameat2 = { at("write", 1, 2, nil, { nofollow = true }), at("write", 3, 4, nil, { nofollow = true }) },
  chmod = plain "write",
  fchmodat = { at("write", 1, 2) },
  fchmodat2 = { at("write", 1, 2, 4, { nofollow = NOFOLLOW, empty = EMPTY }) },
  chown = plain "write", lchown = plain("write", true),
  fchownat = { at("write", 1, 2, 5, { nofollow = NOFOLLOW, empty = EMPTY }) },
  utime = plain "write", utimes = plain "write",
  futimesat = { at("write", 1, 2, nil, { empty = true }) },
  utimensat = { at("write", 1, 2, 4, { nofollow = NOFOLLOW, empty = true }) }, -- no path: the descriptor
  acct = plain "write",
  swapon = plain "write", swapoff = plain "write",
  mount = { at("read", nil, 1), at("write", nil, 2) },
  umount2 = plain "write",
  pivot_root = { at("write", nil, 1), at("write", nil, 2) },
  open_tree = { at("read", 1, 2, 3, { nofollow = NOFOLLOW, empty = EMPTY }) },
  move_mount = { at("read", 1, 2, nil, { empty = true }), at("write", 3, 4, nil, { empty = true }) },
  fspick = { at("write", 1, 2, nil, { empty = true }) },
  mount_setattr = { at("write", 1, 2, 3, { nofollow = NOFOLLOW, empty = EMPTY }) },
}
M.paths = calls

-- Names of those that this machine has.
function M.names()
  local core, list = require "caisson.core", {}
  for name in pairs(calls) do
    if core.seccomp.number(name) then list[#list + 1] = name end
  end
  table.sort(list)
  return list
end

return M
