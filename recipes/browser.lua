-- browser: a program with a sandbox of its own, as Chromium has: it makes namespaces inside of ours, and filters.
--
--   caisson run browser profile=~/.browser network=yes -- chromium --headless --dump-dom https://example.org/
local caisson = require "caisson"

return caisson.recipe {
  summary = "A browser, its own sandbox kept: one profile folder, fonts, no home",
  extends = "sandbox",
  params = {
    profile = { "path", help = "the folder that is its home; else it forgets all" },
    tmp = { "size", default = "1G", help = "size of /tmp and of /dev/shm" },
  },
  build = function(p)
    local mounts = { { bind = "/etc/fonts", optional = true }, { bind = "/etc/chromium.d", optional = true },
      { bind = "/sys/devices/system/cpu", optional = true } }
    if p.profile then table.insert(mounts, { bind = p.profile, at = "/home/user", writable = true, idmap = "user" }) end
    return { mounts = mounts, env = { HOME = p.profile and "/home/user" or "/tmp" },
      seccomp = caisson.policy.default() + { "clone", "clone3", "unshare", "setns", "chroot", "mount", "umount2", "pivot_root" } }
  end,
}
