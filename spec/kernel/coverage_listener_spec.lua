-- The agent of a filter: it gets the listener with the container's state, and answers for the calls.
local t = require "support"
local j = require "support.joined"
local caisson = require "caisson"
local policy = require "caisson.policy"
local core = t.core

local agent = require("support.agent").start

describe("seccomp_listener", function()
  if not t.needs("userns", "perl") then return end
  if not t.sh("uname -m"):find("x86_64") then return pending("the agent knows x86-64 only") end
  local path, filter
  local script = "mkdir /tmp/x; sleep 0.3; mkdir /tmp/x"

  before_each(function()
    path = os.tmpname()
    os.remove(path)
    filter = policy.new { default = "allow" }:answer("notify", { "mkdir" })
  end)
  after_each(function() os.remove(path) end)

  local function check(out, errors, id, status, container)
    local state = require("caisson.json").decode(out:read("*l"))
    local asked = tonumber((out:read("*l") or ""):match("^asked by (%d+)$"))
    out:close()
    assert.same({ "1.2.0", "seccompFd", "what\n \"I\" need" }, { state.ociVersion, state.fds[1], state.metadata })
    assert.same({ id, status, container or state.pid, "/" }, { state.state.id, state.state.status, state.state.pid, state.state.bundle })
    assert.truthy(asked and state.pid)
    local first, second = errors:match("^([^\n]*)\n([^\n]*)\n$")
    assert.matches("Cannot assign requested address", first, 1, true)
    assert.matches("Function not implemented", second, 1, true) -- nobody else holds it
    return state
  end

  for _, init in ipairs { false, true } do
    it("is sent to the agent with the state, and nobody keeps it" .. (init and ", below an init" or ""), function()
      local fds = t.count_fds()
      local out = agent(path)
      local r = assert(caisson.run(caisson.recipe { extends = "sandbox", seccomp = filter, init = init,
        seccomp_listener = { path = path, metadata = "what\n \"I\" need" }, annotations = { key = "value" } },
        { args = { "/bin/sh", "-c", script }, stdin = "null", stdout = "capture", stderr = "stdout", id = "box" }))
      local state = check(out, r.stdout, "box", "creating")
      assert.same({ key = "value" }, state.state.annotations)
      collectgarbage()
      assert.equal(fds, t.count_fds())
    end)
  end

  it("is a joining process's too: its own, or the container's", function()
    local running, target = j.container({}, false)
    local out = agent(path)
    local r = assert(j.run(target, { args = { "/bin/sh", "-c", script }, seccomp = filter,
      seccomp_listener = { path = path, metadata = "what\n \"I\" need" } }))
    check(out, r.stdout, "", "running", target.pid)
    target.options.seccomp, target.options.seccomp_listener = filter, { path = path }
    os.remove(path)
    out = agent(path)
    r = assert(j.run(target, { args = { "/bin/sh", "-c", script } }))
    out:close()
    assert.matches("Cannot assign requested address", r.stdout, 1, true)
    assert.equal("made\n", j.output(target, "mkdir /tmp/y && echo made", { seccomp = false }))
    running:close()
  end)

  it("is an error where nobody listens, and leaves nothing", function()
    local children, fds = t.count_children(), t.count_fds()
    local ok, message, errno, failure = caisson.run(caisson.recipe { extends = "sandbox", seccomp = filter,
      seccomp_listener = { path = path } }, { args = { "/bin/true" } })
    assert.is_nil(ok)
    assert.same({ core.errno.ENOENT, "listener.send" }, { errno, failure.step })
    assert.truthy(message:find("connecting to " .. path, 1, true), message)
    collectgarbage()
    assert.same({ children, fds }, { t.count_children(), t.count_fds() })
  end)

  it("wants a policy that has something to ask, and a way to reach its agent", function()
    local function why(options)
      options.extends = "sandbox"
      local built, message = caisson.recipe(options):build { args = { "x" } }
      assert.is_nil(built)
      return message
    end
    assert.matches("seccomp_listener: no policy of option 'seccomp' has action notify", why { seccomp_listener = { path = "/x" } }, 1, true)
    assert.matches("seccomp_listener.path: an absolute path expected", why { seccomp = filter, seccomp_listener = { path = "x" } }, 1, true)
    assert.matches("unknown option 'meta'", why { seccomp = filter, seccomp_listener = { path = "/x", meta = "" } }, 1, true)
    assert.matches("needs option 'listener'", why { seccomp = filter }, 1, true)
  end)

  -- what a child would have to do itself, were it not for its courier
  local all = { "execve", "sendmsg", "sendto", "recvfrom", "write", "close", "futex", "nanosleep", "exit", "exit_group" }

  local function asked(out)
    local state, text = require("support.agent").story(out)
    assert.matches(" 59 .* mkdir .*231 $", text) -- its very execve, after the agent was there
    return state
  end

  for _, nnp in ipairs { true, false } do
    it("may be asked about any call of the program's, " .. (nnp and "with" or "without") .. " no_new_privs", function()
      local out = agent(path, true)
      filter = filter:answer("notify", all):with { flags = { "tsync", "log" } }
      local r = assert(caisson.run(caisson.recipe { extends = "sandbox", seccomp = filter, no_new_privs = nnp,
        seccomp_listener = { path = path } },
        { args = { "/usr/bin/perl", "-e", "mkdir q(/tmp/x) or print 0 + $!" }, stdin = "null", stdout = "capture" }))
      local state = asked(out)
      assert.equal("99", r.stdout)
      assert.is_nil(state.metadata)
    end)
  end

  describe("of a container that is created", function()
    local root, container
    before_each(function() root = t.sh("mktemp -d"):gsub("\n", "") end)
    after_each(function()
      if container then
        container:delete { force = true }
        container:close()
      end
      container = nil
      os.execute("rm -rf " .. root)
    end)

    local program = "mkdir q(/tmp/x) or print 0 + $!"
    local function create(options)
      local recipe = { extends = "sandbox", seccomp = filter, annotations = { key = "value" }, stdin = "null",
        mounts = { { bind = root, at = "/out", writable = true } }, seccomp_listener = { path = path, metadata = "what" } }
      for k, v in pairs(options) do recipe[k] = v end
      return caisson.create(caisson.recipe(recipe), { id = "listener", root = root .. "/states", bundle = root,
        stdout = { file = root .. "/text" }, stderr = "null", args = { "/usr/bin/perl", "-e", program } })
    end

    for _, how in ipairs { {}, { init = true }, { no_new_privs = false } } do
      it(("is sent by who starts it%s%s"):format(how.init and ", below an init" or "",
        how.no_new_privs == false and ", without no_new_privs" or ""), function()
        local fds = t.count_fds()
        filter = filter:answer("notify", all)
        local out = agent(path, true)
        container = assert(create(how))
        local pid = container:state().pid
        assert(container:start())
        local state = asked(out)
        assert.same({ ociVersion = "1.2.0", id = "listener", status = "created", bundle = root, pid = pid,
          annotations = { key = "value" } }, state.state)
        assert.same({ "1.2.0", "seccompFd", pid, "what" }, { state.ociVersion, state.fds[1], state.pid, state.metadata })
        assert(container:wait(10))
        assert.equal("99", t.read_file(root .. "/text"))
        assert(container:delete { force = true })
        container:close()
        container = nil
        collectgarbage()
        assert.equal(fds, t.count_fds())
      end)
    end

    it("is an error of the start where nobody listens, and of the creation where there is no socket", function()
      local out = agent(path, true)
      container = assert(create {})
      t.sh("echo | perl -MSocket -e 'socket(S, AF_UNIX, SOCK_STREAM, 0); connect(S, pack_sockaddr_un(q(" .. path .. ")))'")
      out:close()
      local ok, message, errno, failure = container:start()
      assert.same({ nil, core.errno.ECONNREFUSED, "listener.send" }, { ok, errno, failure.step })
      assert.matches("connecting to " .. path, message, 1, true)
      assert.equal("stopped", container:state().status)
      assert(container:delete())
      container:close()
      os.remove(path)
      container, message, errno = create {}
      assert.same({ nil, core.errno.ENOENT }, { container, errno })
      assert.matches("seccomp_listener.path: " .. path, message, 1, true)
      assert.equal(0, #assert(caisson.list { root = root .. "/states" }))
    end)

    for _, nnp in ipairs { true, false } do
      it("is a process's that joins, too, " .. (nnp and "with" or "without") .. " no_new_privs", function()
        local out = agent(path, true)
        program = "sleep 100"
        container = assert(create { no_new_privs = nnp })
        filter = filter:answer("notify", all):answer("notify", { "setresuid", "setresgid", "capset", "prctl", "clone" })
        local running = assert(container:exec { args = { "/usr/bin/perl", "-e", "mkdir q(/tmp/x) or print 0 + $!" },
          stdin = "null", stdout = "capture", seccomp = filter, seccomp_listener = { path = path } })
        local state = asked(out)
        assert.same({ "running", container:state().pid, "listener", root }, { state.state.status, state.state.pid, state.state.id,
          state.state.bundle })
        assert.equal(running:pid(), state.pid)
        assert.equal("99", running:wait().stdout)
        -- its own, as it was created with
        os.remove(path)
        out = agent(path)
        running = assert(container:exec { args = { "/usr/bin/perl", "-e", "mkdir q(/tmp/x) or print 0 + $!" },
          stdin = "null", stdout = "capture" })
        assert.equal("what", require("caisson.json").decode(out:read("*l")).metadata)
        assert.equal("99", running:wait().stdout)
        out:close()
      end)
    end
  end)
end)
