-- dryrun: what would it change? It sees the folder changed; you see the changes alone.
--
--   mkdir new work && caisson run dryrun dir=/usr/local into=new work=work -- make install
--   find new
local caisson = require "caisson"

return caisson.recipe {
  summary = "What would a program change in a folder? The folder stays, the changes are kept",
  params = {
    dir = { "path", default = ".", help = "the folder" },
    into = { "path", required = true, help = "an empty folder: what is made or changed" },
    work = { "path", required = true, help = "another beside it, for the kernel's use" },
  },
  build = function(p)
    local real = caisson.core.realpath
    local dir, into, work = assert(real(p.dir)), assert(real(p.into)), assert(real(p.work))
    return {
      namespaces = { mount = true, net = true, pid = true, ipc = true }, init = true, cwd = dir,
      root = { bind = "/", flags = { "rro" } }, args = { "/bin/sh" },
      mounts = { { proc = "/proc" },
        { overlay = dir, lower = { dir }, upper = into, work = work } },
      capabilities = { "chown", "fowner", "dac_override" }, seccomp = caisson.policy.default() }
  end,
}
