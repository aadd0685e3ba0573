-- Every string of a configuration, replaced by what a field is not made for: it is refused by an error that names it, or
-- it is what the container has, byte by byte (CVE-2021-43784: an overflow of lengths; 2026-119101, 2026-115520: names
-- that are taken for something else).
local t = require "support"
local a = require "support.attacks"
local caisson = require "caisson"

local long = ("x"):rep(65536)

-- What is put in the place of a string.
local hostile = {
  { "64 KiB", long }, { "64 KiB and more", ("/" .. ("y"):rep(99)):rep(700) }, { "]:", "x]:y[:]/]:" }, { "a NUL", "a\0b" },
  { "NULs", ("\0"):rep(3) }, { "control characters", "a\1\2\27[31m\r\n\t\127b" }, { "a line end", "x\n1 1 1\n/ / rw" }, { "no UTF-8", "\255\254\192\128" },
  { "a format", "%s%n%1$s%%{}" }, { "shell's", "$(id)`id`;'\"\\ &|" }, { "nothing", "" }, { "dots", "../../.." }, { "blanks", "  " },
  { "an octal escape", "/a\\040b\\012" },
}

-- Each of the specification's strings: c is the configuration, v what is put there.
local function hook(point) return function(c, v) c.hooks = { [point] = { { path = v, args = { "x" } } } } end end
local function resources(fill)
  return function(c, v)
    local r = {}
    fill(r, v)
    c.linux.resources = r
  end
end
local function seccomp(fill)
  return function(c, v)
    local s = { defaultAction = "SCMP_ACT_ALLOW", architectures = { "SCMP_ARCH_X86_64" },
      syscalls = { { names = { "chmod" }, action = "SCMP_ACT_ERRNO", args = { { index = 0, value = 1, op = "SCMP_CMP_EQ" } } } } }
    fill(s, v)
    c.linux.seccomp = s
  end
end

local fields = {
  { "ociVersion", function(c, v) c.ociVersion = v end },
  { "process.cwd", function(c, v) c.process.cwd = v end },
  { "process.cwd", function(c, v) c.process.cwd = "/" .. v end, exact = true },
  { "process.args", function(c, v) c.process.args = { v } end, program = true },
  { "process.args", function(c, v) c.process.args = { "/bin/sh", "-c", "printf %s \"$1\"", "sh", v } end, exact = function(v) return v end },
  { "process.env", function(c, v)
    c.process.env, c.process.args = { "PATH=/bin", "X=" .. v }, { "/bin/sh", "-c", "printf %s \"$X\"" }
  end, exact = function(v) return v end },
  { "process.env", function(c, v) c.process.env = { v } end },
  { "process.apparmorProfile", function(c, v) c.process.apparmorProfile = v end },
  { "process.selinuxLabel", function(c, v) c.process.selinuxLabel = v end },
  { "process.capabilities", function(c, v) c.process.capabilities.bounding = { v } end },
  { "process.rlimits", function(c, v) c.process.rlimits = { { type = v, soft = 1, hard = 1 } } end },
  { "process.scheduler", function(c, v) c.process.scheduler = { policy = v } end },
  { "process.ioPriority", function(c, v) c.process.ioPriority = { class = v, priority = 1 } end },
  { "process.execCPUAffinity", function(c, v) c.process.execCPUAffinity = { initial = v } end },
  { "root.path", function(c, v) c.root.path = v end },
  { "root.path", function(c, v) c.root.path = "/" .. v end },
  { "hostname", function(c, v) c.hostname, c.process.args = v, { "/bin/cat", "/proc/sys/kernel/hostname" } end,
    exact = function(v) return (v == "" and "[^\n]*" or v) .. "\n" end },
  { "domainname", function(c, v) c.domainname, c.process.args = v, { "/bin/cat", "/proc/sys/kernel/domainname" } end,
    exact = function(v) return (v == "" and "[^\n]*" or v) .. "\n" end },
  { "mounts%[7%]", function(c, v) table.insert(c.mounts, { destination = v, type = "tmpfs", source = "tmpfs" }) end },
  { "mounts%[7%]", function(c, v)
    table.insert(c.mounts, { destination = "/tmp/" .. v .. "/z", type = "tmpfs", source = "tmpfs" })
    c.process.args = { "/bin/sh", "-c", "cd \"$1\" && pwd && stat -f -c %T .", "sh", "/tmp/" .. v .. "/z" }
  end, exact = function(v)
    local dots, clean = v:match "^%.%.[./]*$", ("/tmp/" .. v .. "/z"):gsub("/+", "/")
    return (dots and "/z" or clean) .. "\ntmpfs\n"
  end },
  { "mounts%[7%]", function(c, v) table.insert(c.mounts, { destination = "/tmp/a", type = v, source = "x" }) end },
  { "mounts%[7%]", function(c, v) table.insert(c.mounts, { destination = "/tmp/a", type = "bind", source = v, options = { "bind" } }) end },
  { "mounts%[7%]", function(c, v) table.insert(c.mounts, { destination = "/tmp/a", type = "bind", source = "/" .. v, options = { "bind" } }) end },
  { "mounts%[7%]", function(c, v) table.insert(c.mounts, { destination = "/tmp/a", type = "tmpfs", source = v }) end },
  { "mounts%[7%]", function(c, v) table.insert(c.mounts, { destination = "/tmp/a", type = "tmpfs", source = "x", options = { v } }) end },
  { "mounts%[7%]", function(c, v) table.insert(c.mounts, { destination = "/tmp/a", type = "overlay", source = "x", options = { "lowerdir=/" .. v } }) end },
  { "hooks%.createRuntime", hook "createRuntime" },
  { "hooks%.startContainer", hook "startContainer" },
  { "hooks%.createRuntime", function(c, v) c.hooks = { createRuntime = { { path = "/bin/true", args = { "true", v }, env = { "X=" .. v } } } } end },
  { "annotations", function(c, v) c.annotations = { [v] = "x" } end },
  { "annotations", function(c, v) c.annotations = { x = v } end },
  { "linux%.namespaces", function(c, v) table.insert(c.linux.namespaces, { type = v }) end },
  { "linux%.namespaces", function(c, v) table.insert(c.linux.namespaces, { type = "cgroup", path = v }) end },
  { "linux%.namespaces", function(c, v) table.insert(c.linux.namespaces, { type = "cgroup", path = "/" .. v }) end },
  { "linux%.devices", function(c, v) c.linux.devices = { { path = v, type = "p" } } end },
  { "linux%.devices", function(c, v) c.linux.devices = { { path = "/tmp/d/" .. v, type = "p" } } end },
  { "linux%.devices", function(c, v) c.linux.devices = { { path = "/tmp/d", type = v } } end },
  { "linux%.cgroupsPath", function(c, v) c.linux.cgroupsPath = "/attack-" .. t.getpid() .. "/" .. v end },
  { "linux%.resources", resources(function(r, v) r.devices = { { allow = true, type = v, access = "r" } } end) },
  { "linux%.resources", resources(function(r, v) r.devices = { { allow = true, type = "c", access = v } } end) },
  { "linux%.resources", resources(function(r, v) r.cpu = { cpus = v } end) },
  { "linux%.resources", resources(function(r, v) r.cpu = { mems = v } end) },
  { "linux%.resources", resources(function(r, v) r.hugepageLimits = { { pageSize = v, limit = 0 } } end) },
  { "linux%.resources", resources(function(r, v) r.network = { priorities = { { name = v, priority = 1 } } } end) },
  { "linux%.resources", resources(function(r, v) r.rdma = { [v] = { hcaHandles = 1 } } end) },
  { "linux%.resources", resources(function(r, v) r.unified = { [v] = "1" } end) },
  { "linux%.resources", resources(function(r, v) r.unified = { ["hugetlb.2MB.max"] = v } end) },
  { "linux%.rootfsPropagation", function(c, v) c.linux.rootfsPropagation = v end },
  { "linux%.seccomp", seccomp(function(s, v) s.defaultAction = v end) },
  { "linux%.seccomp", seccomp(function(s, v) s.architectures = { v } end) },
  { "linux%.seccomp", seccomp(function(s, v) s.flags = { v } end) },
  { "linux%.seccomp", seccomp(function(s, v) s.syscalls[1].names = { v } end), ignored = true }, -- as the specification has it: unknown calls are left out
  { "linux%.seccomp", seccomp(function(s, v) s.syscalls[1].action = v end) },
  { "linux%.seccomp", seccomp(function(s, v) s.syscalls[1].args[1].op = v end) },
  { "linux%.seccomp", seccomp(function(s, v)
    s.syscalls[1].action, s.syscalls[1].args, s.listenerPath, s.listenerMetadata = "SCMP_ACT_NOTIFY", nil, "/" .. v, v
  end) },
  { "linux%.sysctl", function(c, v) c.linux.sysctl = { [v] = "1" } end },
  { "linux%.sysctl", function(c, v) c.linux.sysctl = { ["net." .. v] = "1" } end },
  { "linux%.sysctl", function(c, v) c.linux.sysctl = { ["net.ipv4.ip_forward"] = v } end, exact = function() return nil end },
  { "linux%.maskedPaths", function(c, v) c.linux.maskedPaths = { v } end },
  { "linux%.maskedPaths", function(c, v) c.linux.maskedPaths = { "/tmp/" .. v } end },
  { "linux%.readonlyPaths", function(c, v) c.linux.readonlyPaths = { "/tmp/" .. v } end },
  { "linux%.mountLabel", function(c, v) c.linux.mountLabel = v end },
  { "linux%.intelRdt", function(c, v) c.linux.intelRdt = { closID = v } end },
  { "linux%.intelRdt", function(c, v) c.linux.intelRdt = { l3CacheSchema = v } end },
  { "linux%.personality", function(c, v) c.linux.personality = { domain = v } end },
  { "linux%.timeOffsets", function(c, v)
    table.insert(c.linux.namespaces, { type = "time" })
    c.linux.timeOffsets = { [v] = { secs = 1 } }
  end },
  { "linux%.netDevices", function(c, v) c.linux.netDevices = { [v] = { name = "eth0" } } end },
  { "linux%.netDevices", function(c, v) c.linux.netDevices = { ["no-such0"] = { name = v } } end },
  { "linux%.memoryPolicy", function(c, v) c.linux.memoryPolicy = { mode = v, nodes = "0" } end },
  { "linux%.memoryPolicy", function(c, v) c.linux.memoryPolicy = { mode = "MPOL_BIND", nodes = v } end },
}

describe("a configuration's string", function()
  if not (t.needs "busybox" and t.needs "userns") then return end
  local S, b

  setup(function()
    S = a.sentinel()
    b = a.bundle(nil, S)
  end)
  teardown(a.forget)

  -- One container of this text, by the library, as caisson-oci makes it. Returns its output and code | nil, message.
  local function run(text)
    local document, of = require "caisson.oci.document", require("caisson.oci.recipe").of
    local config, message = document.decode(text, "config.json")
    if not config then return nil, message end
    local ok
    ok, message = document.check(config)
    if not ok then return nil, message end
    local recipe
    recipe, message = of(config, { bundle = b.dir, id = "fuzz-" .. t.getpid(), rootless = not t.is_root })
    if not recipe then return nil, message end
    local result
    result, message = caisson.run(recipe, { stdout = "capture", stderr = "stdout", stdin = "null" })
    if not result then return nil, message end
    return result.stdout, result.code
  end

  it("of an honest one is none of this", function()
    local out, code = run(a.encode(a.config()))
    assert.equal("", out, code)
    assert.equal(0, code)
  end)

  for _, h in ipairs(hostile) do
    it("is an error or exact: " .. h[1], function()
      for i, field in ipairs(fields) do
        local c, v = a.config(), h[2]
        field[2](c, v)
        local name = ("%d %s"):format(i, field[1])
        local ok, out, said = pcall(run, a.encode(c))
        if not ok then error(name .. " raises: " .. tostring(out):sub(1, 500)) end
        if out == nil then
          if type(said) ~= "string" or #said > 2000 or said:find("attempt to", 1, true) or said:find("stack traceback", 1, true)
            or said:find("%.lua:%d") or said:find("[%z\1-\8\14-\31]") then
            error(name .. " has no message fit to be read: " .. tostring(said):sub(1, 500))
          end
        elseif type(field.exact) == "function" and field.exact(v) then
          local want = field.exact(v)
          if out ~= want and not (want:find("*", 1, true) and out:find("^" .. want .. "$")) then
            error(("%s is not exact: %q"):format(name, out:sub(1, 300)))
          end
        end
      end
      S:check(h[1])
    end)
  end

  it("is no pattern: a group's * is refused", function()
    local c = a.config()
    c.linux.cgroupsPath = "/attack-*/x"
    local out, message = run(a.encode(c))
    assert.is_nil(out)
    assert.matches("linux.cgroupsPath: a name without '%*' expected", message)
  end)

  it("reaches the log as JSON, whatever it is", function()
    if not t.needs "oci" then return end
    for _, h in ipairs(hostile) do
      b.config = a.config()
      b.config.hostname, b.config.annotations = h[2], { [h[2]] = h[2] }
      b.config.mounts[7] = { destination = "/" .. h[2], type = "no-such" .. h[2], source = h[2] }
      local log = b.dir .. "/log"
      os.remove(log)
      local r = b:run { global = "--log-format json --log " .. log }
      local lines = 0
      r.log = true
      a.refused(r)
      for line in t.read_file(log):gmatch "[^\n]+" do
        lines = lines + 1
        local entry = require("caisson.json").decode(line)
        assert.equal("string", type(entry.msg), line)
        assert.equal("string", type(entry.level), line)
      end
      assert.truthy(lines > 0)
      assert.falsy(r.err:find("[%z\1-\8\14-\31]"), r.err)
    end
  end)

  it("is not cut off, joined or resolved on its way: what has a NUL is always an error that names it", function()
    for i, field in ipairs(fields) do
      for _, v in ipairs { "/bin/true\0x", "\0", "tmpfs\0" } do
        local c = a.config()
        field[2](c, v)
        local out, message = run(a.encode(c))
        if out and not field.ignored and not field[1]:find "annotations" then error(("%d %s: %q was taken"):format(i, field[1], v)) end
        if not out then assert.matches("%S", message) end
      end
    end
  end)
end)
