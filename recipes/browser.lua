-- browser: Chromium, or what is made of it, with its own sandbox, which is made inside of ours.
--
--   caisson run browser profile=prof network=yes -- chromium --headless --dump-dom URL
local caisson = require "caisson"

return caisson.recipe {
  summary = "A browser, its own sandbox kept: one folder for its profile, fonts, no home",
  extends = "sandbox",
  accept = { ["nested-userns"] = "its own sandbox is made of one" },
  params = { tmp = "1G", profile = { "path", help = "its home; else it forgets all" } },
  build = function(p)
    local mounts = { { bind = "/sys/devices/system/cpu", optional = true } }
    for _, path in ipairs { "/etc/fonts", "/etc/chromium.d" } do
      table.insert(mounts, { bind = path, optional = true })
    end
    if p.profile then
      table.insert(mounts, { bind = p.profile, at = "/home", writable = true, idmap = "user" })
    end
    return { mounts = mounts, env = { HOME = p.profile and "/home" or "/tmp" },
      seccomp = caisson.policy.default() + { "clone", "unshare", "chroot" } }
  end,
}
