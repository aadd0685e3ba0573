-- convert: a file converter (image, video, document) on a file from anywhere: it gets bytes and gives bytes.
--
--   caisson run convert -- ffmpeg -i - -f wav - <clip.mp4 >clip.wav
--
-- Parsers of such files are where programs are broken into. What breaks into this one can compute, and no more: no file of
-- yours is there, no socket can be made, no other program can be started.
local caisson = require "caisson"

return caisson.recipe {
  summary = "A file converter, from standard input to standard output: no files, sockets or other programs",
  extends = "sandbox",
  params = {
    time = { "time", default = "1m", help = "CPU time" },
    output = { "size", default = "1G", help = "bytes in one file" },
  },
  build = function(p)
    return {
      seccomp = caisson.policy.default() - { "@network-io", "@ipc", "@keyring", "kill", "tkill", "ptrace" },
      landlock = { execute = { "/usr", "/lib", "/lib64" }, read = { "/etc", "/proc/self" }, write = { "/tmp", "/dev/null" } },
      limits = { cpu = p.time }, rlimits = { fsize = p.output, nofile = 64 },
    }
  end,
}
