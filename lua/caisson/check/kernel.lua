-- What of the kernel's own files and of devices is within reach.
local core = require "caisson.core"
local model = require "caisson.check.model"

local rules = {}

local function rule(name, level, title, why, fix, find)
  rules[#rules + 1] = { name = name, level = level, title = title, why = why, fix = fix, find = find }
end

local readonly_sys = 'readonly = { "/proc/sys" }'

-- Every place at which a file of /proc (or /sys) is seen: of an instance mounted in the container, or of the host's.
local function places(m, kind, host, path)
  local list = {}
  for _, e in ipairs(m.mounts) do
    local at = e.target .. path
    local top = m:top(at)
    if e.kind == kind and not e.of and e.kind ~= "mask" and (top == e or top.of == e) then
      list[#list + 1] = { at = at, mount = e, step = e.step,
        writable = not top.ro and not e.ro and m:landlock(at, "write_file") }
    end
  end
  for _, x in ipairs(m:shown(host .. path)) do
    -- of the host's, or of a bind of it
    list[#list + 1] = { at = x.at, mount = x.mount, writable = x.writable, step = x.mount.step, host = true }
  end
  return list
end

-- With the right to mount it anew nothing of that helps; then capability-root tells.
local function system_wide(name, level, path, title, why, fix)
  rule(name, level, title, why, fix, function(m, found)
    -- its uid alone counts, also in a user namespace that has it; and not every kernel has each file
    if not m.host_root or m.here and not core.lstat("/proc" .. path) then return end
    for _, p in ipairs(places(m, "proc", "/proc", path)) do
      if p.writable and not (p.mount.options.subset == "pid") then
        found(("%s is writable, as the host's root"):format(p.at), p.step or m.last.exec)
      end
    end
  end)
end

system_wide("core-pattern", "error", "/sys/kernel/core_pattern", "/proc/sys is not writable for the host's root.",
  "what is written to core_pattern the kernel runs as root on the host, outside of every namespace, when something crashes; "
  .. "modprobe and binfmt_misc are as good", readonly_sys .. ", or a user namespace")
system_wide("sysrq", "error", "/sysrq-trigger", "/proc/sysrq-trigger is not writable for the host's root.",
  "one letter reboots the machine, or kills all that runs on it", 'masked = { "/proc/sysrq-trigger" }')

rule("host-proc", "error", "The host's /proc is not shown.",
  "/proc/PID/root and /proc/PID/fd of the host's processes lead to all of "
  .. "its files", '{ proc = "/proc" }, of a pid namespace of its own', function(m, found)
    for _, e in ipairs(m.mounts) do
      if e.kind == "bind" and e.source and model.within(e.source, "/proc") and not e.of then
        local harmless = e.source:find "^/proc/[^/]+$" and e.ro and not e.source:find "^/proc/%d+$"
          and e.source ~= "/proc/self"
        if not harmless then
          found(("%s of the host is shown at %s"):format(e.source, e.target), e.step,
            { level = not (m.real_root or m.caps.sys_ptrace and not m.userns) and "warning" or nil })
        end
      end
    end
    for _, x in ipairs(m:shown "/proc") do
      if x.mount.kind == "bind" and x.mount.source == "/" then
        found(("the host's /proc is shown at %s"):format(x.at), x.mount.step, { level = not m.real_root and "warning"
          or nil })
      end
    end
  end)

-- What engines mask, and what is in it.
local masks = { { "/kcore", "the machine's memory" }, { "/keys", "names of others' keys" },
  { "/timer_list", "kernel addresses" }, { "/scsi", "disks can be taken away there" }, { "/acpi", "the machine's power" } }

rule("unmasked-proc", "warning", "The files of /proc that engines mask are masked.",
  "they are the machine's, not the container's",
  nil, function(m, found)
    local open, step = {}, nil
    for _, k in ipairs(masks) do
      if not m.here or core.lstat("/proc" .. k[1]) then
        for _, p in ipairs(places(m, "proc", "/proc", k[1])) do
          if not p.host and p.mount.options.subset ~= "pid" then
            open[#open + 1], step = p.at, step or p.step
          end
        end
      end
    end
    if #open > 0 then
      local list = {}
      for i, path in ipairs(open) do list[i] = ('"%s"'):format(path) end
      found(("%s: not masked"):format(table.concat(open, ", ")), step,
        { level = not m.real_root and "note" or nil, fix = ("masked = { %s }"):format(table.concat(list, ", ")) })
    end
  end)

rule("sysfs-writable", "error", "/sys is not writable.",
  "uevent_helper, devices' power and firmware, kernel/debug: settings of the "
  .. "machine, some of which name programs that the kernel runs as root", "mount it read-only", function(m, found)
    for _, p in ipairs(places(m, "sysfs", "/sys", "")) do
      if p.writable and p.mount.kind ~= "host" then
        found(("%s is writable"):format(p.at), p.step, { level = not m.host_root and "note" or nil })
      end
    end
    for _, e in ipairs(m:areas()) do -- a part of it; of control groups another rule tells
      if model.within(e.source, "/sys") and e.source ~= "/sys" and not model.within(e.source, "/sys/fs/cgroup") then
        found(("%s of the host is writable at %s"):format(e.source, e.at), e.step,
          { level = not m.host_root and "note" or nil })
      end
    end
  end)

-- Does a mount of cgroups belong to v1?
local function is_v1(e)
  local o = e.options
  if o.type == "cgroup2" then return false end
  if o.controllers or o.name or o.type == "cgroup" then return true end
  local list = core.cgroup.detect() or {}
  for _, h in ipairs(list) do if h.version == 1 and h.mount and h.mount == e.source then return true end end
  return false
end

rule("release-agent", "error", "No release_agent of cgroup v1 is within reach.",
  "the kernel runs what is written there as root on the host once a group is empty (CVE-2022-0492)",
  "mount cgroups read-only", function(m, found)
    if not m.real_root and not m:real "sys_admin" then return end
    if m:real "sys_admin" and m.new.mount and not m:domain(true) and (m:passes "mount" or m:passes "fsopen") then
      local v1 = not m.here
      for _, h in ipairs(m.here and core.cgroup.detect() or {}) do v1 = v1 or h.version == 1 end
      if v1 then
        found("CAP_SYS_ADMIN mounts cgroup v1 itself", m.caps_step or m.last.exec, { fix = "capabilities without sys_admin" })
      end
    end
    for _, e in ipairs(m.mounts) do
      local cgroup = e.kind == "cgroup" or e.source and model.within(e.source, "/sys/fs/cgroup")
      local top = m:top(e.target)
      if cgroup and not e.ro and not top.ro and (is_v1(e) or e.source and m.here and
          not core.lstat("/sys/fs/cgroup/cgroup.controllers")) then
        found(("cgroup v1 is writable at %s"):format(e.target), e.step)
      end
    end
  end)

rule("cgroup-writable", "warning", "No control groups but its own are writable.",
  "it can raise its own limits, and freeze or kill what is in others' groups (CVE-2023-25809)",
  "mount them read-only, or give it a cgroup namespace and a group of its own", function(m, found)
    for _, e in ipairs(m.mounts) do
      local host = e.source and not e.fd and model.within(e.source, "/sys/fs/cgroup")
      if (host or e.kind == "cgroup" and not m.new.cgroup) and not e.ro and e.kind ~= "mask" then
        found(("control groups are writable at %s"):format(e.target), e.step)
      end
    end
  end)

-- File systems of the kernel, and what is done by them.
local kernel_types = {
  debugfs = "it undoes other protections, and reads the kernel's memory", tracefs = "it sees all calls and their arguments",
  securityfs = "policies of the LSMs are loaded there", bpf = "programs and maps of the host's are there",
  configfs = "devices of the kernel are made there", efivarfs = "the firmware's variables can brick the machine",
  binfmt_misc = "interpreters registered there are run on the host", pstore = "crashes of the kernel are kept there",
  devtmpfs = "all devices of the host are there, disks too", fusectl = "mounts of others can be ended there",
}
local kernel_places = { ["/sys/kernel/debug"] = "debugfs", ["/sys/kernel/tracing"] = "tracefs",
  ["/sys/kernel/security"] = "securityfs",
  ["/sys/fs/bpf"] = "bpf", ["/sys/kernel/config"] = "configfs", ["/sys/firmware/efi/efivars"] = "efivarfs" }

rule("kernel-filesystem", "error", "No file system of the kernel's inner life is mounted.", nil, "leave it out",
  function(m, found)
  for _, e in ipairs(m.mounts) do
    local kind = e.fs
    if e.kind == "bind" and e.source then kind = kernel_places[e.source] end
    if kernel_types[kind or ""] then
      found(("%s is mounted at %s"):format(kind, e.target), e.step,
        { why = kernel_types[kind], level = (e.ro or not m.real_root) and kind ~= "devtmpfs" and "warning" or nil })
    end
  end
end)

rule("disk-filesystem", "note", "No file system is read from what others may have written.",
  "the kernel's readers of file systems were not written for an enemy's images",
    "mount it outside by FUSE, or copy what is in it",
  function(m, found)
    local plain = { proc = true, sysfs = true, tmpfs = true, devpts = true, mqueue = true, cgroup = true, cgroup2 = true,
      overlay = true,
      ramfs = true, fuse = true }
    for _, e in ipairs(m.mounts) do
      if e.fs and not plain[e.fs] and not kernel_types[e.fs] and e.options.source and e.options.source:find "^/" then
        found(("%s is mounted as %s at %s"):format(e.options.source, e.fs, e.target), e.step)
      end
    end
  end)

-- ---- devices ----

-- Devices by their path: { pattern, rule, what of it }.
local by_path = {
  { "^/dev/k?mem$", "device-memory", "all of the machine's memory is in it" }, { "^/dev/port$", "device-memory",
    "ports of devices" },
  { "^/dev/cpu/", "device-memory", "processors' registers, through which the kernel is changed" },
  { "^/dev/vfio/", "device-memory", "a device that reads and writes memory by itself" },
  { "^/dev/[shv]d%l", "device-disk", nil }, { "^/dev/xvd", "device-disk", nil }, { "^/dev/nvme", "device-disk", nil },
  { "^/dev/mmcblk", "device-disk", nil }, { "^/dev/dm%-", "device-disk", nil }, { "^/dev/mapper/.", "device-disk", nil },
  { "^/dev/loop", "device-disk", nil }, { "^/dev/sg%d", "device-disk", nil }, { "^/dev/md%d", "device-disk", nil },
  { "^/dev/u?input", "device-input", "keys are read and typed there, also into other windows" },
  { "^/dev/hidraw", "device-input", "keys are read there" }, { "^/dev/tty%d", "device-console",
    "it is a console of the host" },
  { "^/dev/vcs", "device-console", "it is the screen of a console of the host" },
  { "^/dev/console$", "device-console", "it is the console of the host" }, { "^/dev/ttyS", "device-console",
    "it is a serial line" },
  { "^/dev/kvm$", "device-kvm", nil }, { "^/dev/kmsg$", "device-kmsg", nil }, { "^/dev/watchdog", "device-console",
    "the machine restarts when nobody writes to it any more" },
}
-- By their numbers: char 1:1 mem, 1:2 kmem, 1:4 port, 10:232 kvm, ...
local by_number = { ["char 1:1"] = "device-memory", ["char 1:2"] = "device-memory", ["char 1:4"] = "device-memory",
  ["char 10:223"] = "device-input", ["char 10:232"] = "device-kvm", ["char 1:11"] = "device-kmsg",
    ["char 5:1"] = "device-console" }

local function device_rule_of(path, kind, major, minor)
  if kind == "block" then return "device-disk" end
  local number = major and by_number[("%s %d:%d"):format(kind or "char", major, minor or 0)]
  if number then return number end
  if kind == "fifo" then return nil end
  for _, d in ipairs(by_path) do
    if path:find(d[1]) then return d[2], d[3] end
  end
end

-- Every device that is there: what = rule, path, the step.
local function each_device(m, call)
  for _, d in ipairs(m.devices) do
    local o = d.options
    local kind, major, minor, source = o.type, o.major, o.minor, o.source or d.path
    if not major and m.here then
      local st = core.lstat(core.realpath(source) or source)
      if st and (st.type == "block" or st.type == "char") then kind, major, minor = st.type, st.rdev_major, st.rdev_minor end
    end
    local name, why = device_rule_of(source, kind, major, minor)
    if name then call(name, why, d.path, d.step) end
  end
  for _, e in ipairs(m.mounts) do
    if e.kind == "bind" and e.source and not e.fd and not e.nodev then
      local st = m.here and core.lstat(e.source)
      local kind = st and (st.type == "block" or st.type == "char") and st.type or nil
      if kind or not m.here and model.within(e.source, "/dev") then
        local name, why = device_rule_of(e.source, kind, st and st.rdev_major, st and st.rdev_minor)
        if name then call(name, why, e.target, e.step) end
      end
    end
  end
end

local function device_rule(name, level, title, why, fix)
  rule(name, level, title, why, fix, function(m, found)
    each_device(m, function(which, what, path, step)
      if which == name then found(("%s is there"):format(path), step, { why = what and what or nil }) end
    end)
  end)
end

local no_device = "leave it out of devices"
device_rule("device-memory", "error", "No device opens the machine's memory.", "the kernel can be changed there", no_device)
device_rule("device-disk", "error", "No device is a disk.",
  "all files of the host are on it, whoever owns them: read or write them "
  .. "by debugfs(8)", "mount what is on it outside, and bind the directory")
device_rule("device-input", "error", "No device reads or types keys.", "keys are read and typed there", no_device)
device_rule("device-console", "warning", "No device is a console of the host.", "it is the host's", no_device)
device_rule("device-kvm", "note", "No virtual machines can be made.", "KVM is a large part of the kernel", no_device)
device_rule("device-kmsg", "warning", "The kernel's log is not there.", "it tells addresses, and can be written to",
  no_device)

rule("host-dev", "error", "The host's /dev is not shown.", "disks, memory, keyboards: every device of the host is there",
  'devices = { "default" }, in { tmpfs = "/dev" }', function(m, found)
    for _, x in ipairs(m:shown "/dev") do
      if x.mount.kind == "bind" and not x.mount.nodev_all and not (x.mount.nodev and x.mount.source == "/dev") then
        found(("the host's /dev is shown at %s"):format(x.at), x.mount.step,
          { level = not m.real_root and "warning" or nil })
      end
    end
  end)

return rules
