-- linux.seccomp.listenerPath and listenerMetadata: the agent gets the listener with the container process state.
local t = require "support"
local oci = require "support.oci"
local json = require "caisson.json"
local agents = require "support.agent"

describe("caisson-oci, with a seccomp listener,", function()
  if not t.needs("oci", "busybox", "perl") then return end
  if not t.is_root and not t.needs("userns") then return end
  if not t.sh("uname -m"):find("x86_64") then return pending("the agent knows x86-64 only") end
  local world, path
  local try = "busybox mkdir /tmp/x 2>&1"

  before_each(function()
    world = oci.world()
    path = world.dir .. "/agent"
  end)
  after_each(function() assert.same(oci.nothing, world:close()) end)

  -- names: what is asked about; change(seccomp, config)
  local function configure(script, names, change)
    world:configure(script, function(c)
      c.annotations = { a = "b" }
      c.linux.seccomp = { defaultAction = "SCMP_ACT_ALLOW", architectures = { "SCMP_ARCH_X86_64" }, listenerPath = path,
        listenerMetadata = "what \"I\" need", syscalls = { { names = names, action = "SCMP_ACT_NOTIFY" } } }
      if change then change(c.linux.seccomp, c) end
    end)
  end

  local function check(state, status, pid)
    assert.same({ "1.2.0", { "seccompFd" }, "what \"I\" need" }, { state.ociVersion, state.fds, state.metadata })
    assert.same({ ociVersion = "1.2.0", id = "box", status = status, pid = pid or state.pid, bundle = world.bundle,
      annotations = { a = "b" } }, state.state)
  end

  -- runc refuses write, and a filter that asks about everything
  local all = { "mkdir", "execve", "sendmsg", "write", "close", "exit_group" }

  for _, nnp in ipairs { true, false } do
    local with = (nnp and "with" or "without") .. " noNewPrivileges"
    it("run hands it over, whatever is asked about, " .. with, function()
      configure(try, all, function(_, c) c.process.noNewPrivileges = nnp end)
      local out = agents.start(path, true)
      local r = world:run { "run", "--bundle", world.bundle, "box" }
      local state, calls = agents.story(out)
      check(state, oci.is_peer and "creating" or state.state.status)
      assert.matches("Cannot assign requested address", r.out .. r.err, 1, true)
      assert.matches(" 59 .*mkdir", calls)
    end)

    it("start hands it over, and exec its own, " .. with, function()
      configure("exec sleep 300", all, function(_, c) c.process.noNewPrivileges = nnp end)
      local out = agents.start(path, true)
      world:create()
      local pid = json.decode(world:ok("state", "box")).pid
      world:ok("start", "box")
      local second = path
      -- one message a connection, and a connection a filter
      t.sh("rm " .. path)
      local other = agents.start(second, true)
      local r = world:run { "exec", "box", "/bin/sh", "-c", try }
      assert.matches("Cannot assign requested address", r.out .. r.err, 1, true)
      local state = agents.story(other)
      check(state, "running", pid)
      assert.is_true(state.pid ~= pid)
      world:ok("delete", "--force", "box")
      state = agents.story(out)
      check(state, "created", pid)
      assert.equal(pid, state.pid)
    end)
  end

  local function why(...)
    local r = world:run { ... }
    assert.is_true(r.code ~= 0)
    return r.err
  end

  it("says what is missing: who listens, the path", function()
    configure("true", { "mkdir" })
    assert.matches("agent", why("create", "--bundle", world.bundle, "box"), 1, true)
    configure("true", { "mkdir" }, function(s) s.listenerPath, s.listenerMetadata = nil, nil end)
    assert.matches("linux.seccomp.listenerPath", why("create", "--bundle", world.bundle, "box"), 1, true)
    assert.matches("does not exist", why("state", "box"), 1, true)
  end)

  it("ignores the path where nobody is asked", function()
    configure("echo ran", { "mkdir" }, function(s) s.syscalls[1].action = "SCMP_ACT_ERRNO" end)
    assert.equal("ran\n", world:run({ "run", "--bundle", world.bundle, "box" }).out)
  end)
end)
