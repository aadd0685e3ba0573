-- The agent of a filter: it gets the listener with the container's state, and answers for the calls.
local t = require "support"
local j = require "support.joined"
local caisson = require "caisson"
local policy = require "caisson.policy"
local core = t.core

-- An agent: says "ready", then the message that comes with the listener, then what it is asked, which it answers with
-- errno 99; then it is gone. Returns its output.
local function agent(path)
  local out = assert(io.popen(([[exec 2>&1; perl -MSocket -e '
    socket(S, AF_UNIX, SOCK_STREAM, 0); bind(S, pack_sockaddr_un("%s")) or die; listen(S, 5); $| = 1; print "ready\n"; alarm 20;
    accept(C, S);
    my ($data, $control) = ("\0" x 4096, "\0" x 24);
    my $iov = pack("PQ", $data, 4096); my $msg = pack("QQPQPQQ", 0, 0, $iov, 1, $control, 24, 0);
    my $n = syscall(47, fileno(C), $msg, 0); my $fd = unpack("x16 l", $control);
    print substr($data, 0, $n), "\n";
    open my $l, "+<&=", $fd or die "listener: $!";
    my $notice = "\0" x 80;
    ioctl($l, 0xc0502100, $notice) or die "receive: $!";
    my ($id, $from) = unpack "QL", $notice;
    print "asked by $from\n";
    my $answer = pack "QqlL", $id, 0, -99, 0;
    ioctl($l, 0xc0182101, $answer) or die "send: $!"' ]]):format(path)))
  assert.equal("ready", out:read("*l"))
  return out
end

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

  local function check(out, errors, id, status)
    local state = require("caisson.json").decode(out:read("*l"))
    local asked = tonumber((out:read("*l") or ""):match("^asked by (%d+)$"))
    out:close()
    assert.same({ "1.2.0", "seccompFd", "what\n \"I\" need" }, { state.ociVersion, state.fds[1], state.metadata })
    assert.same({ id, status, state.pid, "/" }, { state.state.id, state.state.status, state.state.pid, state.state.bundle })
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
    check(out, r.stdout, "", "running")
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
    assert.matches("sendmsg can't be notified", why { seccomp_listener = { path = "/x" },
      seccomp = policy.new { default = "allow" }:answer("notify", { "sendmsg" }) }, 1, true)
    assert.matches("seccomp_listener.path: an absolute path expected", why { seccomp = filter, seccomp_listener = { path = "x" } }, 1, true)
    assert.matches("unknown option 'meta'", why { seccomp = filter, seccomp_listener = { path = "/x", meta = "" } }, 1, true)
    assert.matches("needs option 'listener'", why { seccomp = filter }, 1, true)
    local c, message = caisson.create(caisson.recipe { extends = "sandbox", seccomp = filter, seccomp_listener = { path = "/x" } },
      { id = "spec-listener-" .. t.getpid(), root = path, args = { "/bin/true" } })
    assert.is_nil(c)
    assert.matches("it is for run and exec", message, 1, true)
    os.execute("rm -rf " .. path)
  end)
end)
