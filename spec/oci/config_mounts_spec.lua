-- `mounts` and `root` of a configuration: what the container then has, from its mountinfo and by use.
local t = require "support"
local oci = require "support.bundle"

-- The line of mountinfo for a place: { options, fields (shared:1, …), type, source, super }.
local function mount_at(info, at)
  local found
  for line in info:gmatch("[^\n]+") do
    local place, options, fields, kind, source, super =
      line:match("^%d+ %d+ %S+ %S+ (%S+) (%S+) (.-)%- (%S+) (%S+) (%S+)$")
    if place == at then
      found = { options = options, fields = fields, type = kind, source = source, super = super }
    end
  end
  return found
end

local function has(options, word) return ("," .. options .. ","):find("," .. word .. ",", 1, true) ~= nil end

local info = "cat /proc/self/mountinfo"

describe("a configuration's mounts", function()
  if not t.needs("busybox") or not t.is_root and not t.needs("userns") then return end

  local bundle

  setup(function()
    bundle = oci.bundle()
    os.execute(("mkdir -p %s/src/sub && echo inside > %s/src/file"):format(bundle.dir, bundle.dir))
  end)
  teardown(function() bundle:close() end)

  -- The configuration with one mount more.
  local function with(m, and_then)
    return function(config)
      table.insert(config.mounts, m)
      if and_then then and_then(config) end
    end
  end

  local function one(options, more)
    local m = { destination = "/m", type = "tmpfs", source = "mine", options = options }
    for k, v in pairs(more or {}) do m[k] = v end
    return with(m, function(config) config.root.readonly = false end)
  end

  it("root: writable, or read-only", function()
    assert.equal("", bundle:output("touch /written", function(c) c.root.readonly = false end))
    assert.truthy(t.core.lstat(bundle.root .. "/written"))
    assert.truthy(bundle:output("touch /other"):find("Read%-only"))
  end)

  it("root: by an absolute path; one that is not there is named", function()
    assert.equal("yes\n", bundle:output("echo yes", function(c) c.root.path = bundle.root end))
    local message = bundle:fails("true", function(c) c.root.path = "nowhere" end)
    assert.truthy(message:find("root.path: ", 1, true) and message:find("nowhere", 1, true), message)
  end)

  for word, shown in pairs { nosuid = "nosuid", nodev = "nodev", noexec = "noexec", ro = "ro", noatime = "noatime",
    nodiratime = "nodiratime", nosymfollow = "nosymfollow" } do
    it("option " .. word .. " is set, and not set", function()
      local m = mount_at(bundle:output(info, one { word }), "/m")
      assert.is_true(has(m.options, shown), m.options)
      m = mount_at(bundle:output(info, one {}), "/m")
      assert.is_false(has(m.options, shown), m.options)
    end)
  end

  it("options of atime: relatime, strictatime", function()
    assert.is_true(has(mount_at(bundle:output(info, one { "relatime" }), "/m").options, "relatime"))
    assert.is_false(has(mount_at(bundle:output(info, one { "strictatime" }), "/m").options, "relatime"))
  end)

  it("of a word and its contrary the last counts", function()
    assert.is_true(has(mount_at(bundle:output(info, one { "nosuid", "suid", "noexec", "exec", "exec", "noexec" }), "/m").options, "noexec"))
    assert.is_false(has(mount_at(bundle:output(info, one { "nosuid", "suid" }), "/m").options, "nosuid"))
    assert.is_true(has(mount_at(bundle:output(info, one { "ro", "rw" }), "/m").options, "rw"))
  end)

  it("options of the filesystem and its data", function()
    local m = mount_at(bundle:output(info, one { "sync", "size=64k", "mode=700", "defaults", "silent" }), "/m")
    assert.is_true(has(m.super, "sync") and has(m.super, "size=64k") and has(m.super, "mode=700"), m.super)
    assert.equal("mine", m.source)
    local message = bundle:fails("true", one { "no_such_option=1" })
    assert.truthy(message:find("no_such_option", 1, true), message)
    message = bundle:fails("true", one { "iversion" })
    assert.truthy(message:find("mounts[7].options: iversion", 1, true), message)
  end)

  it("tmpcopyup starts with what it covers", function()
    os.execute(("mkdir -p %s/full && echo here > %s/full/f"):format(bundle.root, bundle.root))
    local out = bundle:output("cat /full/f; echo changed > /full/f", one({ "tmpcopyup" }, { destination = "/full" }))
    assert.equal("here\n", out)
    assert.equal("here\n", t.read_file(bundle.root .. "/full/f"))
    assert.truthy(bundle:output("ls /full", one({}, { destination = "/full" })) == "")
    assert.truthy(bundle:fails("true", one({ "tmpcopyup" }, { type = "ramfs" })):find("tmpcopyup", 1, true))
  end)

  it("a tmpfs has the mode of what it covers, unless it says another", function()
    os.execute(("mkdir -p -m 751 %s/moded"):format(bundle.root))
    local function mode(options, at)
      return bundle:output("stat -c %a " .. at, one(options, { destination = at }))
    end
    assert.equal("751\n", mode({}, "/moded"))
    assert.equal("700\n", mode({ "mode=700" }, "/moded"))
    assert.equal("1777\n", mode({}, "/moded/not-there"))
  end)

  it("a directory and a file are bound, relative to the bundle, at places that are made", function()
    local out = bundle:output("cat /a/b/file /deep/er/name; touch /a/b/new", function(c)
      c.root.readonly = false
      table.insert(c.mounts, { destination = "/a/b", type = "bind", source = "src", options = { "rbind" } })
      table.insert(c.mounts, { destination = "/deep/er/name", source = bundle.dir .. "/src/file", options = { "bind", "ro" } })
    end)
    assert.equal("inside\ninside\n", out)
    assert.truthy(t.core.lstat(bundle.dir .. "/src/new"))
    assert.truthy(bundle:output("echo x > /f", one({ "bind", "ro" }, { destination = "/f", source = "src/file" })):find("Read%-only"))
    assert.truthy(bundle:fails("true", one({ "bind" }, { source = "missing" })):find("missing", 1, true))
  end)

  -- A tmpfs below src, which a private mount namespace would have to hold: root's own.
  it("rbind takes what is mounted below, bind does not; rro and ro", function()
    if not t.needs("root") then return end
    os.execute(("mount -t tmpfs below %s/src/sub"):format(bundle.dir))
    finally(function() os.execute(("umount %s/src/sub"):format(bundle.dir)) end)
    local function look(options) return bundle:output(info, one(options, { type = "bind", source = "src" })) end
    assert.is_nil(mount_at(look { "bind" }, "/m/sub"))
    assert.is_false(has(mount_at(look { "rbind" }, "/m/sub").options, "ro"))
    local out = look { "rbind", "ro" }
    assert.is_true(has(mount_at(out, "/m").options, "ro"))
    assert.is_false(has(mount_at(out, "/m/sub").options, "ro"))
    out = look { "rbind", "rro", "rnosuid", "rnodev", "rnoexec", "rnoatime" }
    for _, word in ipairs { "ro", "nosuid", "nodev", "noexec", "noatime" } do
      assert.is_true(has(mount_at(out, "/m/sub").options, word), word)
    end
  end)

  it("propagation of each mount", function()
    for word, fields in pairs { rprivate = "^$", private = "^$", unbindable = "unbindable", shared = "shared:", rshared = "shared:" } do
      local m = mount_at(bundle:output(info, one { word }), "/m")
      assert.truthy(m.fields:find(fields), word .. ": " .. m.fields)
    end
    local m = mount_at(bundle:output(info, one({ "bind", "shared" }, { source = "src" })), "/m")
    assert.truthy(m.fields:find("shared:"), m.fields)
  end)

  it("propagation: what is mounted later reaches the other side, or does not", function()
    if not t.needs("root") then return end
    local dir = bundle.dir .. "/shared"
    os.execute(("mkdir -p %s && mount --bind %s %s && mount --make-shared %s && mkdir %s/in %s/out"):format(dir, dir, dir, dir, dir, dir))
    finally(function() os.execute(("umount -R %s"):format(dir)) end)
    -- { seen on the host, seen in the container }
    local function reach(word, root)
      local config = oci.config { "/bin/sh", "-c", "mount -t tmpfs inside /m/in; echo ready; read x; grep -c ' /m/out ' /proc/self/mountinfo" }
      config.process.capabilities.effective = { "CAP_SYS_ADMIN" }
      config.process.capabilities.bounding, config.process.capabilities.permitted = { "CAP_SYS_ADMIN" }, { "CAP_SYS_ADMIN" }
      config.root.readonly, config.linux.rootfsPropagation = false, root
      table.insert(config.mounts, { destination = "/m", type = "bind", source = dir, options = { "rbind", word } })
      local r = assert(require("caisson.oci.recipe").of(config, { bundle = bundle.dir }))
      local running = assert(require("caisson").start(r, { stdin = "pipe", stdout = "pipe" }))
      assert(running.stdout:read())
      local seen = t.read_file("/proc/self/mountinfo"):find(dir .. "/in ", 1, true) ~= nil
      os.execute(("mount -t tmpfs outside %s/out"):format(dir))
      running.stdin:write("\n")
      local there = running.stdout:read():match("%d")
      running:close()
      os.execute(("umount %s/in 2>/dev/null; umount %s/out 2>/dev/null"):format(dir, dir))
      return { seen, there == "1" }
    end
    assert.same({ false, false }, reach("rprivate"))
    assert.same({ false, true }, reach("rslave"))
    assert.same({ true, true }, reach("rshared", "rshared"))
    assert.same({ false, false }, reach("rprivate", "rshared"))
    assert.is_nil(t.read_file("/proc/self/mountinfo"):find(bundle.root, 1, true))
  end)

  it("rootfsPropagation is the root's", function()
    for word, fields in pairs { private = "^$", unbindable = "unbindable", shared = "shared:", rslave = "^$" } do
      local m = mount_at(bundle:output(info, function(c) c.linux.rootfsPropagation = word end), "/")
      assert.truthy(m.fields:find(fields), word .. ": " .. m.fields)
    end
    assert.truthy(bundle:fails("true", function(c) c.linux.rootfsPropagation = "wide" end):find("rootfsPropagation", 1, true))
  end)

  it("remount changes what is there", function()
    local out = bundle:output(info, function(c)
      table.insert(c.mounts, { destination = "/dev/shm", type = "none", source = "none", options = { "remount", "ro" } })
    end)
    assert.is_true(has(mount_at(out, "/dev/shm").options, "ro"))
  end)

  it("a read-only /dev has its nodes", function()
    local out = bundle:output("echo x > /dev/null && ls /dev; touch /dev/x; " .. info, function(c)
      table.insert(c.mounts[2].options, "ro")
    end)
    assert.truthy(out:find("urandom") and out:find("Read%-only"), out)
    assert.is_true(has(mount_at(out, "/dev").options, "ro"))
  end)

  it("nothing is mounted in /proc but some files, not by its name nor through a symlink", function()
    local message = bundle:fails("true", one({}, { destination = "/proc/self/attr" }))
    assert.truthy(message:find("mounts[7].destination: /proc/self/attr", 1, true), message)
    message = bundle:fails("true", one({}, { destination = "/m/../proc/./sys" }))
    assert.truthy(message:find("/proc/sys", 1, true), message)
    assert.equal("inside\n", bundle:output("cat /proc/uptime", one({ "bind" }, { destination = "/proc/uptime", source = "src/file" })))
    os.execute(("ln -sfn /proc/sys %s/sly"):format(bundle.root))
    message = bundle:fails("true", one({}, { destination = "/sly" }))
    assert.truthy(message:find("leads into a procfs", 1, true), message)
    message = bundle:fails("true", one({}, { destination = "/sly/net" }))
    assert.truthy(message:find("leads into a procfs", 1, true), message)
  end)

  it("over a procfs of another place something is mounted by its name, not through a symlink", function()
    local function two(destination)
      return function(c)
        table.insert(c.mounts, { destination = "/mnt/proc", type = "proc", source = "proc" })
        table.insert(c.mounts, { destination = destination, type = "bind", source = "src", options = { "bind" } })
      end
    end
    assert.equal("inside\n", bundle:output("cat /mnt/proc/fs/file", two "/mnt/proc/fs"))
    os.execute(("ln -sfn /mnt/proc/fs %s/sly"):format(bundle.root))
    local message = bundle:fails("true", two "/sly")
    assert.truthy(message:find("leads into a procfs", 1, true), message)
  end)

  it("a destination's symlinks end in the root; one without a slash begins there", function()
    os.execute(("ln -sfn ../../../../%s/outside %s/away; ln -sfn /etc %s/etclink"):format(bundle.dir, bundle.root, bundle.root))
    local out = bundle:output("cat /etc/place/file; ls /" .. bundle.dir .. "/outside", function(c)
      c.root.readonly = false
      table.insert(c.mounts, { destination = "etclink/place", type = "bind", source = "src", options = { "bind" } })
      table.insert(c.mounts, { destination = "/away", type = "bind", source = "src", options = { "bind" } })
    end)
    assert.equal("inside\nfile\nnew\nsub\n", out)
    assert.is_nil(t.core.lstat(bundle.dir .. "/outside"))
    os.execute("rm -rf " .. bundle.root .. bundle.dir)
  end)

  it("procfs and sysfs go to no symlink", function()
    os.execute(("ln -sfn tmp %s/plink"):format(bundle.root))
    assert.truthy(bundle:fails("true", with { destination = "/plink", type = "proc", source = "proc" }):find("plink", 1, true))
    assert.truthy(bundle:fails("true", with { destination = "/plink", type = "sysfs", source = "sysfs" }):find("plink", 1, true))
  end)

  it("an overlay has its layers from its data", function()
    os.execute(("cd %s && mkdir -p l1 l2 up work && echo one > l1/f && echo two > l2/f && echo l2 > l2/g"):format(bundle.dir))
    local out = bundle:output("cat /m/f /m/g; echo new > /m/h", one({ ("lowerdir=%s/l1:%s/l2"):format(bundle.dir, bundle.dir),
      "upperdir=" .. bundle.dir .. "/up", "workdir=" .. bundle.dir .. "/work" }, { type = "overlay", source = "overlay" }))
    assert.equal("one\nl2\n", out)
    assert.equal("new\n", t.read_file(bundle.dir .. "/up/h"))
  end)

  it("paths are masked and read-only", function()
    os.execute(("mkdir -p %s/secret && echo s > %s/secret/s && echo s > %s/secretfile"):format(bundle.root, bundle.root, bundle.root))
    local out = bundle:output("ls /secret; cat /secretfile; touch /dev/shm/x; echo end", function(c)
      c.linux.maskedPaths = { "/secret", "/secretfile", "/not/there" }
      c.linux.readonlyPaths = { "/dev/shm", "/not/there" }
    end)
    assert.equal("touch: /dev/shm/x: Read-only file system\nend\n", out)
    assert.equal("s\ns\n", bundle:output("cat /secret/s /secretfile"))
  end)

  it("id maps of a mount: its own, or the container's", function()
    if not t.needs("root") then return end
    os.execute(("mkdir -p %s/owned && echo x > %s/owned/f && chown -R 1000:1001 %s/owned"):format(bundle.dir, bundle.dir, bundle.dir))
    local function look(m, change)
      m.destination, m.type, m.source = "/m", "bind", "owned"
      return bundle:output("stat -c %u:%g /m/f", with(m, function(c)
        c.root.readonly = false
        if change then change(c) end
      end))
    end
    assert.equal("1000:1001\n", look { options = { "bind" } })
    assert.equal("5:6\n", look { options = { "bind", "idmap" }, uidMappings = { { containerID = 1000, hostID = 5, size = 1 } },
      gidMappings = { { containerID = 1001, hostID = 6, size = 1 } } })
    local function user(c)
      table.insert(c.linux.namespaces, { type = "user" })
      c.linux.uidMappings = { { containerID = 0, hostID = 100000, size = 65536 } }
      c.linux.gidMappings = { { containerID = 0, hostID = 100000, size = 65536 } }
      c.mounts[3].options[#c.mounts[3].options] = nil
      c.root.readonly = true
    end
    os.execute("mkdir -p " .. bundle.root .. "/m")
    assert.equal("65534:65534\n", look({ options = { "bind" } }, user))
    assert.equal("1000:1001\n", look({ options = { "rbind", "ridmap" } }, user))
    local message = bundle:fails("true", with { destination = "/m", source = "owned", options = { "bind", "idmap" } })
    assert.truthy(message:find("uidMappings", 1, true), message)
  end)
end)
