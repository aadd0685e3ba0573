-- convert: a converter of images, video or documents, on a file from anywhere: bytes in, bytes out.
--
--   caisson run convert -- ffmpeg -i - -f wav - <clip.mp4 >clip.wav
--
-- Parsers of such files are where programs are broken into. What breaks into this one can compute,
-- and no more: there is no file of yours, and no socket can be made.
local caisson = require "caisson"

return caisson.recipe {
  summary = "A file converter, from standard input to standard output: no files, no sockets",
  extends = "sandbox",
  params = {
    time = { "time", default = "1m", help = "CPU time" },
    output = { "size", default = "1G", help = "bytes in a file" },
  },
  build = function(p)
    return { limits = { cpu = p.time }, rlimits = { fsize = p.output, nofile = 64 },
      seccomp = caisson.policy.default() - { "@network-io", "@keyring", "kill", "ptrace" },
      landlock = { execute = { "/usr", "/lib", { path = "/lib64", optional = true } },
        read = { "/etc", "/proc/self" }, write = { "/tmp", "/dev/null" } } }
  end,
}
