local t = require "support"
local landlock = require "caisson.landlock"

local nnp = t.step("no_new_privs", {})

-- Run a script restricted by a recipe's landlock table, in what the system needs to run a shell.
local function run(spec, script, before)
  local steps = {}
  for _, s in ipairs(before or {}) do steps[#steps + 1] = s end
  steps[#steps + 1] = nnp
  for _, s in ipairs(landlock.steps(spec)) do steps[#steps + 1] = s end
  return assert(t.run(steps, { script = script }))
end

local system = { "/bin", "/lib", { path = "/lib64", optional = true }, "/usr" }

describe("landlock", function()
  if not t.needs("landlock") then return end

  local dir
  before_each(function()
    dir = t.sh("mktemp -d"):match("[^\n]+")
    t.sh(("mkdir %s/in %s/out; echo inside > %s/in/f; echo outside > %s/out/f"):format(dir, dir, dir, dir))
  end)
  after_each(function() t.sh("rm -rf " .. dir) end)

  it("allows reading where it is allowed and nowhere else", function()
    local r = run({ execute = system, read = { dir .. "/in" } },
      ("cat %s/in/f; ls %s/in; cat %s/out/f; ls %s/out; echo x > %s/in/f; echo $?"):format(dir, dir, dir, dir, dir))
    assert.matches("inside\nf\n", r.output)
    assert.not_matches("outside", r.output)
    assert.matches("out/f: Permission denied", r.output)
    assert.matches("out': Permission denied", r.output)
    assert.equal("inside\n", t.read_file(dir .. "/in/f"))
  end)

  it("allows writing where it is allowed and nowhere else", function()
    local r = run({ execute = system, write = { dir .. "/in" }, read = { dir .. "/out" } }, ([[
      cd %s; echo new > in/f; mkdir in/d; ln -s f in/l; mv in/f in/d/f; truncate -s 1 in/d/f; rm in/l
      cat out/f; echo bad > out/f; mkdir out/d; rm out/f; mv out/f in/g; true ]]):format(dir))
    assert.matches("outside", r.output)
    assert.equal("n", t.read_file(dir .. "/in/d/f"))
    assert.equal("outside\n", t.read_file(dir .. "/out/f"))
    assert.equal("d\n", t.sh("ls " .. dir .. "/in"))
    assert.equal("f\n", t.sh("ls " .. dir .. "/out"))
  end)

  it("allows execution where it is allowed and nowhere else", function()
    t.sh(("cp /bin/true %s/in/p; cp /bin/true %s/out/p"):format(dir, dir))
    local r = run({ execute = { "/bin", "/lib", { path = "/lib64", optional = true }, "/usr", dir .. "/in" },
      read = { dir .. "/out" } }, ("%s/in/p; echo in $?; cat %s/out/p > /dev/null; %s/out/p; echo out $?"):format(dir,
        dir, dir))
    assert.matches("in 0", r.output)
    assert.matches("out 126", r.output)
  end)

  it("gives a single file's rights to that file", function()
    local r = run({ execute = system, write = { dir .. "/in/f" } },
      ("cat %s/in/f; echo new > %s/in/f; ls %s/in"):format(dir, dir, dir))
    assert.matches("inside", r.output)
    assert.matches("Permission denied", r.output)
    assert.equal("new\n", t.read_file(dir .. "/in/f"))
  end)

  it("takes rights as words and as numbers, path by path", function()
    local r = run({ handled = { "make_dir", 16 }, rules = { { path = dir .. "/in", access = { "make_dir" } },
      { path = dir .. "/out", access = { 16 } } } },
      ("cd %s; mkdir in/a out/a; mkdir -p x; rmdir in/a; ls in; touch out/file"):format(dir))
    assert.equal("a\n", t.sh("ls -d " .. dir .. "/in/a | xargs -n1 basename"))
    assert.equal("f\nfile\n", t.sh("ls " .. dir .. "/out"))
    assert.matches("create directory .out/a.: Permission denied", r.output)
    assert.matches("remove 'in/a': Permission denied", r.output)
  end)

  it("looks paths up inside the container", function()
    if not t.needs("userns") then return end
    local root = t.step("clone", t.is_root and { "mount" } or { "user", "mount" })
    local r = run({ execute = system, read = { "/mnt" } }, "cat /mnt/in/f; cat " .. dir .. "/in/f", {
      root, t.step("mount.propagation", { path = "/", propagation = "private", recursive = true }),
      t.step("mount.bind", { source = dir, target = "/mnt" }) })
    assert.matches("inside", r.output) -- the same files, by either name: Landlock knows inodes, not names
    assert.not_matches("Permission denied", r.output)
  end)

  it("stacks: a second ruleset takes away from the first", function()
    local steps = { nnp }
    for _, spec in ipairs { { execute = system, read = { dir } }, { execute = system, read = { dir .. "/in" } } } do
      for _, s in ipairs(landlock.steps(spec)) do steps[#steps + 1] = s end
    end
    local r = assert(t.run(steps, { script = ("cat %s/in/f; cat %s/out/f"):format(dir, dir) }))
    assert.matches("inside", r.output)
    assert.not_matches("outside", r.output)
  end)
end)

local function listener_script(script)
  return { "/usr/bin/perl", "-MSocket", "-e", script }
end

describe("landlock on TCP ports", function()
  if not t.needs("landlock", "perl") then return end

  local bind = [[
    for my $port (@ARGV) {
      socket(my $s, PF_INET, SOCK_STREAM, 0) or die; setsockopt($s, SOL_SOCKET, SO_REUSEADDR, 1);
      print bind($s, sockaddr_in($port, INADDR_LOOPBACK)) ? "bound $port\n" : "bind $port: $!\n";
    } ]]
  local connect = [[
    for my $port (@ARGV) {
      socket(my $s, PF_INET, SOCK_STREAM, 0) or die;
      print connect($s, sockaddr_in($port, INADDR_LOOPBACK)) ? "connected $port\n" : "connect $port: $!\n";
    } ]]

  local function run_perl(spec, script, ...)
    local argv = listener_script(script)
    for _, a in ipairs { ... } do argv[#argv + 1] = tostring(a) end
    local steps = { nnp }
    for _, s in ipairs(landlock.steps(spec)) do steps[#steps + 1] = s end
    return assert(t.run(steps, { argv = argv })).output
  end

  it("allows binding to its ports and to no other", function()
    assert.equal("bound 47321\nbind 47322: Permission denied\n", run_perl({ bind = { 47321 } }, bind, 47321, 47322))
    assert.equal("bind 47321: Permission denied\n", run_perl({ bind = {} }, bind, 47321))
    assert.equal("bound 47322\n", run_perl({ connect = {} }, bind, 47322))
  end)

  it("allows connecting to its ports and to no other", function()
    -- nobody listens: the refusal comes from the network where Landlock let it through
    assert.equal("connect 47331: Connection refused\nconnect 47332: Permission denied\n",
      run_perl({ connect = { 47331 } }, connect, 47331, 47332))
  end)
end)

describe("landlock scopes", function()
  if not t.needs("landlock") then return end

  it("keep signals inside", function()
    local outside = "kill -0 " .. t.getpid() .. " && echo sent; sleep 5 & kill $! && echo own"
    assert.equal("sent\nown\n", assert(t.run({ nnp }, { script = outside })).output)
    local r = run({ scope = { "signal" } }, outside)
    assert.not_matches("sent", r.output)
    assert.matches("own", r.output)
  end)

  it("keep abstract sockets inside", function()
    if not t.needs("perl") then return end
    local serve = [[ socket(my $s, PF_UNIX, SOCK_STREAM, 0) or die;
      bind($s, pack_sockaddr_un("\0caisson-spec-$$")) or die; listen($s, 1) or die;
      $| = 1; print "$$\n"; sleep 20 ]]
    local output, w = assert(t.core.pipe())
    local null = assert(t.core.open("/dev/null", "readwrite"))
    local server = assert(t.core.spawn { plan = t.core.plan { t.step("exec",
      { argv = listener_script(serve), files = { "stdin", "stdout", "stderr" } }) },
      slots = { stdin = null, stdout = w, stderr = null } })
    w:close()
    local pid = assert(output:read()):match("%d+")
    local client = ([[ socket(my $s, PF_UNIX, SOCK_STREAM, 0) or die;
      print connect($s, pack_sockaddr_un("\0caisson-spec-%s")) ? "connected\n" : "$!\n" ]]):format(pid)
    local free = assert(t.run({ nnp }, { argv = listener_script(client) })).output
    local steps = { nnp }
    for _, s in ipairs(landlock.steps { scope = { "abstract_unix_socket" } }) do steps[#steps + 1] = s end
    local kept = assert(t.run(steps, { argv = listener_script(client) })).output
    server:close()
    output:close()
    null:close()
    assert.equal("connected\n", free)
    assert.equal("Operation not permitted\n", kept)
  end)
end)

describe("landlock's steps fail", function()
  if not t.needs("landlock") then return end

  local function ruleset(options)
    options.ruleset = "r"
    return t.step("landlock.ruleset", options)
  end

  it("without no_new_privs and CAP_SYS_ADMIN", function()
    local steps = { ruleset { fs = { "make_dir" } }, t.step("landlock.restrict", { ruleset = "r" }) }
    if t.is_root then table.insert(steps, 1, t.step("capabilities", { permitted = {}, effective = {} })) end
    local ok, message, errno, failure = t.run(steps)
    assert.is_nil(ok)
    assert.matches("landlock.restrict.*neither no_new_privs nor CAP_SYS_ADMIN: Operation not permitted %(EPERM%)",
      message)
    assert.equal(1, errno)
    assert.equal("landlock.restrict", failure.step)
  end)

  it("for a right that the kernel does not know", function()
    local _, message, errno = t.run { nnp, ruleset { fs = { 2 ^ 40 } } }
    assert.matches("a right that this kernel does not know: Invalid argument", message)
    assert.equal(22, errno)
  end)

  it("for a rule that allows what the ruleset does not handle", function()
    local _, message, errno = t.run { nnp, ruleset { fs = { "make_dir" } },
      t.step("landlock.path", { path = "/", access = { "read_file" }, ruleset = "r" }) }
    assert.matches("landlock.path%[1%] / read_file: a rule allows what its ruleset handles", message)
    assert.equal(22, errno)
  end)

  it("for a path that is not there, unless it is optional", function()
    local spec = { read = { "/nowhere" }, execute = system }
    local steps = { nnp }
    for _, s in ipairs(landlock.steps(spec)) do steps[#steps + 1] = s end
    local _, _, errno, failure = t.run(steps)
    assert.equal(2, errno)
    assert.equal("landlock.path", failure.step)
    spec.read[1] = { path = "/nowhere", optional = true }
    assert.equal("ok\n", run(spec, "echo ok").output)
  end)

  it("for directories' rights on a file, with no rule made", function()
    local _, message, errno = t.run { nnp, ruleset { fs = { "make_dir" } },
      t.step("landlock.path", { path = "/etc/passwd", access = { "make_dir" }, ruleset = "r" }) }
    assert.matches("these rights are of directories: Not a directory", message)
    assert.equal(20, errno)
  end)

  it("for a port out of range, and for a slot that nothing filled", function()
    local _, message = t.run { nnp, ruleset { net = { "bind_tcp" } },
      t.step("landlock.port", { port = 65536, access = "bind_tcp", ruleset = "r" }) }
    assert.matches("a port is a number to 65535", message)
    _, message = t.run { nnp, t.step("landlock.restrict", { ruleset = "nobody" }) }
    assert.matches("no descriptor in the slot of the ruleset: Bad file descriptor", message)
  end)
end)
