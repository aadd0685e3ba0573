-- The Lua state that lies in the program (core/launcher/image.c): that it knows nothing of where it was made, and has what
-- the usual commands need.
local t = require "support"
local cli = require "support.cli"
local oci = require "support.oci"

local unlinked = cli.root .. "/build/plain/caisson-oci"

describe("the program's image", function()
  if not t.needs("oci", "busybox") then return end
  if oci.is_peer then return pending "a peer has none" end
  if not t.sh("uname -m"):find "x86_64" then return pending "there is none but on x86-64" end
  local world

  before_each(function() world = oci.world() end)
  after_each(function() assert.same(oci.nothing, world:close()) end)

  local function lines(path) return (t.read_file(path) or ""):gmatch("[^\n]+") end

  -- What lets go of the modules' code, after each that was read from there.
  local function letting_go()
    local seen, most = {}, nil
    t.sh(("strace -o %s/plain -e trace=madvise %s --root %s list"):format(world.dir, unlinked, world.root))
    for line in lines(world.dir .. "/plain") do
      local call = line:match("^madvise%(0x%x+")
      if call then
        seen[call] = (seen[call] or 0) + 1
        if not most or seen[call] > seen[most] then most = call end
      end
    end
    return assert(most) .. ","
  end

  it("is made without a question to the system, but for the kernel's version", function()
    if t.sh("command -v strace") == "" then return pending "needs strace" end
    local modules = t.read_file(cli.root .. "/core/launcher/modules"):gsub("\n", " ")
    local out = world.dir .. "/made"
    t.sh(("cd / && env -i %s -o %s/trace %s --image %s %s 2>&1"):format(t.sh("command -v strace"):match("%S+"), world.dir, unlinked, out,
      modules))
    local asked, at, call = {}, nil, letting_go()
    for line in lines(world.dir .. "/trace") do
      local name = line:match("^(%w+)%(")
      -- what libc does, and a state, come before the program's first page is read; the file is written at the end
      if line:find(call, 1, true) then at = true end
      if at and line:find("/proc/self/exe", 1, true) then at = false end
      if at and name ~= "madvise" and name ~= "brk" and name ~= "mmap" and name ~= "munmap" then asked[#asked + 1] = name end
    end
    assert.is_false(at)
    assert.same({ "uname" }, asked)
    assert.equal("caisson-oci version", t.sh(out .. " --version"):match("^caisson%-oci version"))
  end)

  it("is not made over", function()
    assert.matches("not defined: %-image", t.sh(("%s --image %s/other caisson.version 2>&1"):format(oci.runtime, world.dir)))
    assert.equal("", t.sh(("ls %s/other 2>/dev/null"):format(world.dir)))
  end)

  it("has what the usual commands need", function()
    if not t.is_root then return pending "needs root (an ordinary user's commands need more)" end
    if t.sh("command -v strace") == "" then return pending "needs strace" end
    world:configure { "/bin/sleep", "100" }
    local call = letting_go()
    local function loaded(program, words)
      t.sh(("cd %s && strace -o %s/trace -e trace=madvise,exit_group %s --root %s %s > %s/box.out 2>&1 < /dev/null"):format(
        world.bundle, world.dir, program, world.root, words, world.dir))
      local n, code = 0, nil
      for line in lines(world.dir .. "/trace") do
        if line:find(call, 1, true) then n = n + 1 end
        code = line:match("^exit_group%((%d+)%)") or code
      end
      assert.equal("0", code, words)
      return n
    end
    for _, words in ipairs { "create box", "state box", "start box", "exec box /bin/true", "kill box KILL" } do
      assert.equal(0, loaded(oci.runtime, words), words)
    end
    world:until_status "stopped"
    assert.equal(0, loaded(oci.runtime, "delete box"))
    world:configure { "/bin/true" }
    assert.equal(0, loaded(oci.runtime, "run box"))
    assert.is_true(loaded(unlinked, "list") > 5) -- and that is how it would show
  end)

  it("is passed over where the environment names other search paths", function()
    if t.sh("command -v strace") == "" then return pending "needs strace" end
    local call = letting_go()
    local function loaded(environment)
      t.sh(("%s strace -o %s/trace -e trace=madvise %s --root %s list"):format(environment, world.dir, oci.runtime, world.root))
      local n = 0
      for line in lines(world.dir .. "/trace") do n = n + (line:find(call, 1, true) and 1 or 0) end
      return n
    end
    local few = loaded "" -- list itself
    assert.is_true(few < 4)
    assert.is_true(loaded "LUA_PATH='/nowhere/?.lua;;'" > few + 5)
    assert.is_true(loaded "LUA_CPATH='/nowhere/?.so;;'" > few + 5)
  end)
end)
