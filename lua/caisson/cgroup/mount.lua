-- The control groups in a container's /sys/fs/cgroup: an entry { cgroups = "/sys/fs/cgroup" } of a recipe's `mounts`.
--
-- On v2 it is the one hierarchy. Where there is v1, each of its hierarchies has a directory in a tmpfs, of the name that it
-- has on the host; a container without a cgroup namespace of its own sees of each its own group alone.
local cgroup = require "caisson.cgroup"

local M = {}

local function v2_steps(b, key, m, flags)
  if b.new.user and not b.new.cgroup and b.cgroup_slot then -- it may not mount the host's
    b:step(key, "mount.bind", { fd = b.cgroup_slot, target = m.cgroups, flags = flags })
  else
    b:step(key, "mount.cgroup", { target = m.cgroups, flags = flags })
  end
end

-- The slot of the container's own group in the hierarchy h, if it has one; and its path, where that is known by now.
local function own_group(b, h)
  for _, g in ipairs(b.cgroup and b.cgroup.groups or {}) do
    -- one that is systemd's to make is nowhere yet
    if g.at and (g.at == h.mount or g.at:sub(1, #h.mount + 1) == h.mount .. "/") then
      return g.slot, g.path and not g.path:find("*", 1, true) and g.at .. "/" .. g.path or nil
    end
  end
end

local function v1_steps(b, key, m, flags, hierarchies)
  b:step(key, "mount.tmpfs", { target = m.cgroups, mode = "0755", flags = m.flags, label = b.options.mount_label })
  for _, h in ipairs(hierarchies) do
    if h.version == 1 and h.mount then
      local name = h.mount:match("[^/]+$")
      local at = m.cgroups .. "/" .. name
      if b.new.cgroup then
        local only_name = h.controllers[1]:match("^name=(.*)")
        b:step(key, "mount.cgroup", { target = at, flags = flags, controllers = not only_name and h.controllers or nil,
          name = only_name })
      else
        local slot, path = own_group(b, h)
        b:step(key, "mount.bind", { fd = slot, known_as = path, source = not slot and h.own or nil, target = at,
          flags = flags })
      end
      -- "cpu,cpuacct" is found as both
      for _, c in ipairs(#h.controllers > 1 and h.controllers or {}) do
        if c ~= name then
          b:step(key, "symlink", { target = name, at = m.cgroups .. "/" .. c, existing = true })
        end
      end
    end
  end
  if not m.writable then b:step(key, "mount.flags", { path = m.cgroups, flags = { "ro" } }) end
end

function M.steps(b, key, m)
  local env = cgroup.of(b, key)
  local flags, v1 = {}, false
  for i, f in ipairs(m.flags or {}) do flags[i] = f end
  if not m.writable then flags[#flags + 1] = "ro" end
  for _, h in ipairs(env.hierarchies) do v1 = v1 or h.version == 1 and h.mount ~= nil end
  if v1 then v1_steps(b, key, m, flags, env.hierarchies) else v2_steps(b, key, m, flags) end
end

return M
