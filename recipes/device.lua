-- device: one device of the host's, and no other: a serial line, a camera, /dev/kvm.
--
--   caisson run device path=/dev/ttyUSB0 -- picocom /dev/ttyUSB0
local caisson = require "caisson"
local core = caisson.core

return caisson.recipe {
  summary = "One device of the host's, and no other, to open or to make",
  extends = "sandbox",
  params = { path = { "path", required = true, help = "the device" } },
  build = function(p)
    local st = assert(core.lstat(assert(core.realpath(p.path))))
    local kind = ({ char = "c", block = "b" })[st.type] or error(p.path .. " is no device", 0)
    local rule = { allow = true, type = kind, major = st.rdev_major, minor = st.rdev_minor }
    return {
      mounts = { { bind = p.path, writable = true, dev = true } },
      cgroup = core.identity().euid == 0 and { devices = { rule } } or nil,
    }
  end,
}
