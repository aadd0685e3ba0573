-- reproducible: a build that comes out the same, here and there: what differs is fixed or hidden.
--
--   caisson run reproducible src=. -- make
return require("caisson").recipe {
  summary = "A build that comes out the same everywhere: one name, folder, locale, processor",
  extends = "sandbox",
  params = {
    src = { "path", default = ".", help = "the sources, there /build" },
    epoch = { "string", default = "315532800", help = "what stands for the time" },
  },
  build = function(p)
    return {
      mounts = { { bind = p.src, at = "/build", writable = true, idmap = "user" } },
      cwd = "/build", hostname = "build", umask = "022", affinity = "0",
      personality = { flags = { "addr_no_randomize" } },
      env = { SOURCE_DATE_EPOCH = p.epoch, TZ = "UTC", LC_ALL = "C", LANG = false, TERM = false },
    }
  end,
}
