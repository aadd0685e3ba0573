-- nested: a sandbox in which programs make sandboxes of their own: bwrap, a browser, a build tool.
--
--   caisson run nested -- bwrap --ro-bind / / --proc /proc --unshare-all true
local caisson = require "caisson"

local making = { "clone", "unshare", "setns", "mount", "umount2", "pivot_root", "chroot", "fsopen",
  "fsconfig", "fsmount", "move_mount", "open_tree", "mount_setattr", "sethostname" }

return caisson.recipe {
  summary = "A sandbox in which programs make sandboxes of their own, with user namespaces",
  extends = "sandbox",
  seccomp = caisson.policy.default() + making,
  accept = { ["nested-userns"] = "it is what it is for", ["unmasked-proc"] = "see below" },
  script = function(plan) -- a procfs can only be mounted where one is seen whole
    for _, step in ipairs { "mask", "readonly" } do
      while plan:find(step) do plan:remove(step) end
    end
  end,
}
