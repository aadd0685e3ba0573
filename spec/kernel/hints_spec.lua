-- Each hint, from the failure itself; and none where there is nothing to say.
local t = require "support"
local caisson = require "caisson"
local core = t.core

local dir = t.sh("mktemp -d /tmp/caisson-spec.XXXXXX"):match("%S+")
t.sh("chmod 755 " .. dir)
teardown(function() t.sh("chmod -R u+rwx " .. dir .. "; rm -rf " .. dir) end)

local function write(name, text, mode)
  local f = assert(io.open(dir .. "/" .. name, "w"))
  f:write(text)
  f:close()
  t.sh(("chmod %s %s/%s"):format(mode or "644", dir, name))
  return dir .. "/" .. name
end

-- The failure of a container with these mounts (a tmpfs as root), and a program.
local function failure(mounts, args, more)
  local options = { namespaces = { mount = true, pid = true }, mounts = mounts }
  for k, v in pairs(more or {}) do options[k] = v end
  local ok, _, _, f = caisson.run(caisson.recipe(options), { args = args or { "true" }, stdout = "null", stderr = "null" })
  assert.is_nil(ok)
  return f
end

describe("hints", function()
  if not t.needs "userns" then return end

  it("name what is there beside a source that is not", function()
    t.sh("mkdir -p " .. dir .. "/source/inner")
    local f = failure { { bind = dir .. "/sorce/inner" } }
    assert.same({ "mount.bind", 1, "ENOENT", '"' .. dir .. '/source" is there' }, { f.step, f.index, f.code, f.hint })
    f = failure { { bind = "recipse", at = "/x" } }
    assert.equal('the source is looked up on the host, from the current directory; "recipes" is there', f.hint)
    assert.equal("the source is looked up on the host, from the current directory", failure { { bind = "zqxjkvbw", at = "/x" } }.hint)
    assert.is_nil(failure({ { bind = dir .. "/zqxjkvbw" } }).hint)
  end)

  it("name the directory that may not be searched", function()
    if t.is_root then return pending "root may search all; the ordinary user's run proves it" end
    -- not one of the user's own: over those the user namespace has every right
    local closed
    for _, path in ipairs { "/var/cache/ldconfig", "/root", "/etc/ssl/private", "/var/lib/private" } do
      local st = core.lstat(path)
      if st and st.type == "directory" and not core.access(path, "x") then closed = closed or path end
    end
    if not closed then return pending "needs a directory that this user may not search" end
    local f = failure { { bind = closed .. "/in", at = "/in" } }
    assert.same({ "mount.bind", "EACCES" }, { f.step, f.code })
    assert.equal('"' .. closed .. '" may not be searched by this user (chmod o+x, or a directory elsewhere)', f.hint)
  end)

  it("tell what Landlock does not let be executed", function()
    if not t.needs "landlock" then return end
    local function run(execute)
      return select(4, caisson.run(caisson.recipe { extends = "sandbox", landlock = { execute = execute, read = { "/etc" } } },
        { args = { "sh", "-c", "true" } }))
    end
    local f = run { "/usr/bin/true", "/usr/lib" }
    assert.same({ "exec", "EACCES" }, { f.step, f.code })
    assert.truthy(f.hint:find("landlock = { execute = { \"" .. core.realpath "/bin/sh", 1, true), f.hint)
    assert.is_nil(run { "/usr" })
  end)

  it("tell of a program that is the host's alone", function()
    local f = failure({}, { "sh" })
    assert.same({ "exec", "ENOENT" }, { f.step, f.code })
    assert.truthy(f.hint:find('^it is "/[%w/]+/sh" on the host, which the container does not show'), f.hint)
    f = failure({}, { "/bin/sh" })
    assert.equal('"/bin/sh" is there on the host, but the container does not show it: bind it', f.hint)
    assert.is_nil(failure({}, { "no-such-program-anywhere" }).hint)
  end)

  it("tell of an interpreter or a loader that is missing", function()
    write("script", "#!/no/such/interpreter -x\n", "755")
    local f = failure({ { bind = dir } }, { dir .. "/script" })
    assert.equal('it is there, but its interpreter (#! line) "/no/such/interpreter" is not in the container', f.hint)
    assert.equal("/no/such/interpreter", f.interpreter)
    local real = core.realpath("/bin/ls")
    f = failure({ { bind = real, at = "/ls" } }, { "/ls" })
    assert.equal("ENOENT", f.code)
    assert.truthy(f.hint:find('^it is there, but its dynamic loader "/lib[%w]*/ld[%w%.%-]+" is not in the container$'), f.hint)
  end)

  it("tell why a file is no program", function()
    local f = failure({ { bind = dir } }, { write("text", "hello\n", "755") })
    assert.equal("it is neither an ELF file nor begins with #!; a script without that line needs its shell named", f.hint)
    f = failure({ { bind = dir } }, { write("plain", "hello\n", "644") })
    assert.equal("chmod +x " .. dir .. "/plain", f.hint)
  end)

  -- What a Lua script, run as this user's root inside a container of our own, finds wrong.
  local function inside(steps, body)
    local path = write("inside.lua", ("package.path, package.cpath = %q, %q\n"):format(package.path, package.cpath) ..
      'local caisson = require "caisson"\n' .. body)
    local r = assert(t.run(steps, { argv = { arg[-1], path } }))
    return r.output
  end

  it("tell of a mount whose flags are locked, where they are", function()
    t.sh("mkdir -p " .. dir .. "/locked")
    local out = inside(t.steps(t.contained { "user", "mount" },
      t.step("mount.propagation", { path = "/", propagation = "private", recursive = true }),
      t.step("mount.tmpfs", { target = dir .. "/locked", flags = { "nodev", "nosuid" } })), ([[
      local _, _, _, f = caisson.run(caisson.recipe { namespaces = { user = true, mount = true },
        idmap = { uid = { { 0, 0, 1 } }, gid = { { 0, 0, 1 } } },
        mounts = { { bind = %q, at = "/x", flags = { "ro", "dev" } } } }, { args = { "true" } })
      print(f.step, f.code, f.hint) ]]):format(dir .. "/locked"))
    assert.equal("mount.bind\tEPERM\t'rdev' clears a flag of the host's mount, which a user namespace may not: leave it out\n", out)
  end)

  it("tell of user namespaces that are turned off, where they are", function()
    local out = inside(t.steps(t.contained { "user", "mount", "pid" }, t.step("namespace.limit"),
      t.step("mount.proc", { target = "/proc" })), [[
      local _, _, _, f = caisson.run(caisson.recipe { namespaces = { user = true },
        idmap = { uid = { { 0, 0, 1 } }, gid = { { 0, 0, 1 } } } }, { args = { "true" } })
      print(f.step, f.code, f.hint) ]])
    assert.equal("clone\tENOSPC\tuser namespaces are turned off: as root, sysctl -w user.max_user_namespaces=15000\n", out)
  end)

  it("tell of a proc that is masked, where it is", function()
    -- what a container's runtime does to the process, in a container of our own
    local script = ([[package.path, package.cpath = %q, %q
      local caisson = require "caisson"
      local _, _, _, f = caisson.run(caisson.recipe { namespaces = { user = true, mount = true, pid = true }, root = "/",
        idmap = { uid = { { 0, 0, 1 } }, gid = { { 0, 0, 1 } } }, readonly_root = false, mounts = { { proc = "/proc" } } }, { args = { "true" } })
      print(f and f.step, f and f.code, f and f.hint)]]):format(package.path, package.cpath)
    local path = write("masked.lua", script)
    local lua = arg[-1]
    local r = assert(t.run(t.steps(t.contained { "mount", "pid" },
      t.step("mount.propagation", { path = "/", propagation = "private", recursive = true }),
      t.step("mount.proc", { target = "/proc" }),
      t.step("mount.bind", { source = "/dev/null", target = "/proc/version" })), { argv = { lua, path } }))
    assert.equal("mount.proc\tEPERM\tsomething is mounted over /proc/version: a container's runtime masks them; " ..
      "start that one without masked paths\n", r.output)
  end)
end)
