rockspec_format = "3.0"
package = "caisson"
version = "scm-1"
source = { url = "git+file://." }
description = {
  summary = "A Lua-scriptable container construction toolkit for Linux",
  detailed = [[
    Every container tool is a recipe: a readable Lua file over a small C core that turns checked options
    into system calls. Sandboxes, judges and throw-away shells, as root or as an ordinary user.
    Needs Linux 5.14 or later, libseccomp and libcap.]],
  license = "MIT",
}
supported_platforms = { "linux" }
dependencies = { "lua >= 5.1", "lua-cjson", "argparse" }
test_dependencies = { "busted" }
external_dependencies = {
  SECCOMP = { header = "seccomp.h" },
  CAP = { header = "sys/capability.h" },
}
build = {
  type = "make",
  build_target = "rock",
  build_variables = { CFLAGS = "$(CFLAGS)", LUA_INCDIR = "$(LUA_INCDIR)", BUILD = "build/rock" },
  install_variables = {
    BINDIR = "$(BINDIR)",
    LUADIR = "$(LUADIR)",
    LIBDIR = "$(LIBDIR)",
    BUILD = "build/rock",
    COMMAND = "core/launcher/caisson.lua",
    OCI_COMMAND = "core/launcher/caisson-oci.lua",
    NO_PAGES = "yes", -- a tree has no place for them: caisson help --man, caisson completion SHELL
  },
}
test = { type = "busted" }
