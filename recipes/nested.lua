-- nested: a sandbox in which programs can make sandboxes of their own: caisson, bwrap, a browser, a build tool's.
--
--   caisson run nested -- bwrap --ro-bind / / --unshare-all true
local caisson = require "caisson"

return caisson.recipe {
  summary = "A sandbox in which programs make sandboxes of their own, with user namespaces",
  extends = "sandbox",
  build = function()
    local making = { "clone", "clone3", "unshare", "setns", "mount", "umount2", "pivot_root", "chroot", "fsopen",
      "fsconfig", "fsmount", "move_mount", "open_tree", "mount_setattr", "sethostname" }
    return { seccomp = caisson.policy.default() + making, script = function(plan)
      for _, step in ipairs { "mask", "readonly" } do -- a procfs can only be made where one is seen whole
        while plan:find(step) do plan:remove(step) end
      end
    end }
  end,
}
