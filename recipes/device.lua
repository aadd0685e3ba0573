-- device: one device of the host's, and no other: a serial line, a camera, /dev/kvm.
--
--   caisson run device path=/dev/ttyUSB0 -- picocom /dev/ttyUSB0
local caisson = require "caisson"

return caisson.recipe {
  summary = "One device of the host's, and no other, to open or to make",
  extends = "sandbox",
  params = { path = { "path", required = true, help = "the device" } },
  build = function(p)
    local st = assert(caisson.core.lstat(assert(caisson.core.realpath(p.path))))
    local kind = assert(({ char = "c", block = "b" })[st.type], p.path .. " is no device")
    local root = caisson.core.identity().euid == 0
    return {
      mounts = { { bind = p.path, writable = true, dev = true } },
      cgroup = root and { devices = { { allow = true, type = kind, major = st.rdev_major, minor = st.rdev_minor } } } or nil,
    }
  end,
}
