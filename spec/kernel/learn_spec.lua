-- What is learnt of a run: its calls are those that strace sees, and with the policy made of it the same run passes while
-- others don't.
local t = require "support"
local cli = require "support.cli"
local caisson = require "caisson"
local core = t.core
local learn = caisson.learn

local unpack = table.unpack or unpack -- luacheck: ignore

local dir, programs

local function base(more)
  local def = { namespaces = t.is_root and {} or { user = true }, stdin = "null", stdout = "capture", stderr = "stdout" }
  for k, v in pairs(more or {}) do def[k] = v end
  return caisson.recipe(def)
end

local function learnt_of(args, recipe)
  local learnt, r = learn.run(recipe or base(), { args = args, name = "sandbox" })
  assert(learnt, tostring(r))
  return learnt, r
end

local function names(set)
  local list = {}
  for name in pairs(set) do list[#list + 1] = name end
  table.sort(list)
  return list
end

-- The calls that strace sees, in the same container.
local function traced(args)
  local file = dir .. "/strace.out"
  local r = assert(caisson.run(base(), { args = { "/usr/bin/strace", "-f", "-o", file, unpack(args) } }))
  local set = {}
  for line in io.lines(file) do
    local name = line:match "^%d+%s+([%w_]+)%("
    if name then set[name] = true end
  end
  os.remove(file)
  return set, r
end

-- Run under what was learnt, written to a file.
local function again(learnt, args, recipe)
  local path = dir .. "/learnt.lua"
  local f = assert(io.open(path, "w"))
  f:write((learnt:text():gsub('extends = "sandbox"', "extends = BASE")))
  f:close()
  local env = setmetatable({ BASE = recipe or base() }, { __index = _G })
  local chunk
  if setfenv then
    chunk = setfenv(assert(loadfile(path)), env)
  else
    chunk = assert(loadfile(path, "t", env))
  end
  local r, message = caisson.run(chunk(), { args = args })
  return r or { stdout = "", message = message }
end

describe("learn", function()
  if not t.needs("userns", "cc") then return end

  setup(function()
    dir = t.sh("mktemp -d /tmp/caisson-learn.XXXXXX"):gsub("\n", "")
    local out = t.sh(("cd spec/support && cc -O1 -Wall -Wextra -o %s/learner learner.c -lpthread 2>&1 && "
      .. "cc -O1 -static -o %s/static learner.c -lpthread 2>&1; chmod 755 %s"):format(dir, dir, dir))
    assert(out == "", out)
    programs = { dir .. "/learner", dir .. "/static" }
  end)
  teardown(function() t.sh("rm -rf " .. dir) end)

  describe("system calls", function()
    it("are those that strace sees", function()
      if t.sh "command -v strace" == "" then return pending "needs strace" end
      for _, program in ipairs(programs) do
        for _, what in ipairs { { "forks" }, { "arguments" }, { "hot" }, { "chain", "3" }, { "spawn" }, { "network", "19191" },
          { "files", "/tmp" }, { "sleep", "5" }, { "abort" } } do
          local args = { program, unpack(what) }
          local learnt, r = learnt_of(args)
          local seen, other = traced(args)
          assert.same(names(seen), names(learnt.needs.calls), table.concat(what, " "))
          if what[1] ~= "abort" then assert.same({ r.code, r.stdout }, { other.code, other.stdout }) end
        end
      end
    end)

    it("of threads: those of several runs hold what strace sees", function()
      if t.sh "command -v strace" == "" then return pending "needs strace" end
      local learnt
      for _ = 1, 3 do
        local one = learnt_of { programs[1], "threads" }
        learnt = learnt and learnt + one or one
      end
      for name in pairs((traced { programs[1], "threads" })) do
        assert.truthy(learnt.needs.calls[name] or name == "futex" or name == "restart_syscall", name)
      end
      assert.equal(3, learnt.needs.runs)
      assert.truthy(learnt.needs.peaks.tasks > 1)
    end)

    it("come with the arguments that count", function()
      local calls = learnt_of({ programs[1], "arguments" }).needs.calls
      assert.same({ "21523", "21531" }, names(calls.ioctl)) -- TIOCGWINSZ, FIONREAD
      assert.same({ "1,1", "2,2" }, names(calls.socket))
      assert.same({ "1,16" }, names(calls.setsockopt))
      assert.same({ "3" }, names(calls.prctl))
      assert.same({ "4294967295" }, names(calls.personality))
      assert.truthy(calls.fcntl["3"])
      local text = learnt_of({ programs[1], "arguments" }):text()
      assert.matches("TIOCGWINSZ", text, 1, true)
      assert.matches("AF_INET, SOCK_DGRAM", text, 1, true)
    end)

    it("are all there is, once they are a policy", function()
      local learnt = learnt_of { programs[1], "files", dir }
      assert.same("read\n", again(learnt, { programs[1], "files", dir }).stdout)
      local umask = again(learnt, { programs[1], "umask" })
      assert.equal("0\n", umask.stdout) -- EPERM is not 18
      learnt = learnt + learnt_of { programs[1], "umask" }
      local r = again(learnt, { programs[1], "umask" })
      assert.equal(t.sh("umask"):find "22" and "1\n" or "0\n", r.stdout)
      assert.truthy(learnt.needs.calls.umask)
    end)

    it("of hot places are let go, and are the same", function()
      local learnt, r = learnt_of { programs[1], "hot" }
      assert.equal("2000 6001 20\n", r.stdout)
      assert.equal(0, r.code)
      if core.learn.sites() then assert.truthy(learnt.figures.stops < 2500, learnt.figures.stops) end
    end)
  end)

  it("makes no call of its own where a filter of the program's may kill for it", function()
    local _, r = learnt_of { programs[1], "filtered" }
    assert.same({ "100\n", 0 }, { r.stdout, r.code })
  end)

  describe("files", function()
    it("become few rules, and temporary ones the folder that they were in", function()
      t.sh(("mkdir -m 777 %s/work %s/other"):format(dir, dir))
      local args = { programs[1], "files", dir .. "/work" }
      local learnt, r = learnt_of(args)
      assert.equal("read\n", r.stdout)
      assert.truthy(learnt.needs.files.write[dir .. "/work"])
      assert.truthy(learnt.needs.files.read["/proc"])
      assert.truthy(learnt.needs.files.execute[programs[1]])
      for path in pairs(learnt.needs.files.write) do assert.falsy(path:find "%.new") end
      io.open(dir .. "/other/old", "w"):close()
      assert.same({ [dir .. "/other"] = true }, learnt_of({ "/bin/rm", dir .. "/other/old" }).needs.files.write)
      if not t.needs "landlock" then return end
      assert.equal("read\n", again(learnt, args).stdout)
      assert.equal(0, #core.list(dir .. "/work"))
      local f = io.open(dir .. "/listed", "w")
      f:close()
      r = again(learnt, { "/bin/cat", dir .. "/listed" }, base { stdout = "null" })
      assert.matches("cat: Permission denied", r.message)
    end)
  end)

  describe("addresses", function()
    it("are ports that may be bound and connected to, and no others", function()
      local learnt = learnt_of { programs[1], "network", "19192" }
      assert.same({ { [19192] = true }, { [19192] = true } }, { learnt.needs.bind, learnt.needs.connect })
      if not t.needs "landlock" or core.landlock.abi() < 4 then return end
      assert.equal("bound connected\n", again(learnt, { programs[1], "network", "19192" }).stdout)
      assert.equal("EACCES EACCES\n", again(learnt, { programs[1], "network", "19193" }).stdout)
    end)
  end)

  it("writes what the kernel at hand can restrict", function()
    if not t.needs "landlock" then return end
    local learnt = learnt_of({ "/bin/sh", "-c", "head -c1 /dev/zero > /dev/null; ls /" })
    local abi = core.landlock.abi
    finally(function() core.landlock.abi = abi end)
    for version = 1, abi() do
      core.landlock.abi = function() return version end
      local text = learnt:text()
      assert.same({ version >= 4, version >= 6, version < 3, version < 5 }, { text:find "connect = " ~= nil, text:find "scope = " ~= nil,
        text:find '"truncate"' ~= nil, text:find "best_effort = " ~= nil })
      assert.truthy(caisson.landlock.steps(require("caisson.learn.text").landlock(learnt.needs)))
    end
  end)

  it("goes through programs that execute others, with the sandbox's own rules beside", function()
    local args = { "/bin/sh", "-c", "cat /etc/passwd | wc -l; echo x > /tmp/y; rm /tmp/y; exec sh -c 'exit 3'" }
    local sandbox = caisson.recipe { extends = "sandbox", stdout = "capture", stderr = "stdout", stdin = "null" }
    local learnt, r = learnt_of(args, sandbox)
    assert.same({ "1\n", 3 }, { r.stdout, r.code })
    r = again(learnt, args, sandbox)
    assert.same({ "1\n", 3 }, { r.stdout, r.code })
    local own = learnt_of({ "/bin/cat", "/proc/self/maps" }, sandbox)
    assert.truthy(own.needs.files.read["/proc"])
    r = again(learnt, { "/bin/sh", "-c", "ls /; : > /etc/x; echo end" }, sandbox)
    assert.matches("ls: Permission denied.*/etc/x", r.stdout)
    assert.same({}, learnt.needs.capabilities)
  end)

  it("knows scripts, and is a configuration of a container with nothing else in it", function()
    local script = dir .. "/script"
    local f = assert(io.open(script, "w"))
    f:write("#!/bin/sh\nread -r line < /etc/nsswitch.conf; echo script $#\n")
    f:close()
    t.sh("chmod 755 " .. script)
    local learnt, r = learnt_of { script, "a" }
    assert.equal("script 1\n", r.stdout)
    assert.truthy(learnt.needs.files.execute[script])
    assert.equal("script 1\n", again(learnt, { script, "a" }).stdout)
    local json = require "caisson.json"
    local config = assert(json.decode((assert(learnt:oci()))))
    t.sh(("rm -rf %s/bundle; mkdir -p %s/bundle/rootfs"):format(dir, dir))
    local me = core.identity()
    config.root = { path = "rootfs" }
    config.process.args, config.process.cwd, config.process.user = { script, "a" }, "/", { uid = me.euid, gid = me.egid }
    config.process.env = { "PATH=/usr/bin:/bin" }
    config.linux.resources, config.linux.namespaces = nil, { { type = "mount" }, { type = "pid" } }
    if not t.is_root then
      table.insert(config.linux.namespaces, { type = "user" })
      config.linux.uidMappings = { { containerID = me.euid, hostID = me.euid, size = 1 } }
      config.linux.gidMappings = { { containerID = me.egid, hostID = me.egid, size = 1 } }
    end
    f = assert(io.open(dir .. "/bundle/config.json", "w"))
    f:write(json.document(config))
    f:close()
    local done, message = caisson.run(dir .. "/bundle", { stdout = "capture", stderr = "stdout", stdin = "null" })
    assert.same({ "script 1\n", 0 }, { done and done.stdout or message, done and done.code })
  end)

  it("makes one rule of many files of a folder, but not of a home directory or all programs' state", function()
    local fold, files = require "caisson.learn.fold", {}
    for i = 1, 9 do
      files["/home/a/f" .. i] = "file read"
      files["/home/a/project/f" .. i] = "file write"
      files["/var/lib/f" .. i] = "file write"
    end
    local s = fold.files(files)
    assert.same({ 9, nil, true }, { #names(s.read), s.read["/home/a"], s.read["/home/a/f1"] })
    assert.same({ true, nil, true, 10 }, { s.write["/home/a/project"], s.write["/var/lib"], s.write["/var/lib/f9"], #names(s.write) })
  end)

  it("keeps names whatever bytes they are of, and none of them is a word of Lua", function()
    local name = "\255\254 \"]]..os.exit()--\n\27[1m\194\155"
    local work = dir .. "/" .. name
    local args = { "/bin/sh", "-c", "set -e; cd \"$0\"; mkdir -p made; read -r x < file; echo $x > out; echo $x", work }
    assert(core.files.mkdir(assert(core.open(dir, "directory")), name, 511))
    local function put(path, text)
      local f = assert(io.open(path, "w"))
      f:write(text)
      f:close()
    end
    put(work .. "/file", "in it\n")
    local learnt, r = learnt_of(args)
    assert.same({ 0, "in it\n" }, { r.code, r.stdout })
    assert.truthy(learnt.needs.files.write[work])
    assert.equal("in it\n", again(learnt, args).stdout)
    put(dir .. "/kept.lua", learnt:text())
    assert.truthy(assert(learn.read(dir .. "/kept.lua")).needs.files.write[work])
    local text, message = learnt:oci()
    assert.falsy(text)
    assert.matches("no UTF-8", message, 1, true)
  end)

  it("tells of capabilities what was used of those that were there", function()
    if not t.is_root then return end
    local args = { "/bin/sh", "-c", ": > $0/owned; chown 5:5 $0/owned; chmod 600 $0/owned; chmod 755 $0/owned; rm -f $0/owned", dir }
    local learnt, r = learnt_of(args)
    assert.same({ 0, "" }, { r.code, r.stdout })
    assert.same({ "chown", "fowner" }, names(learnt.needs.capabilities))
    assert.equal(0, again(learnt, args).code)
    assert.truthy(again(learnt, { "/bin/sh", "-c", ": > $0/x; chown 5:5 $0/x && chgrp 6 $0/x && nice -n -5 true" , dir }).code ~= 0)
  end)

  it("knows what it can't see: calls that the recipe's functions answer", function()
    local recipe = caisson.recipe { extends = "sandbox", stdin = "null", stdout = "capture", stderr = "stdout",
      seccomp_notify = { openat = function() end, mkdir = function(call) return call:deny "ENOSPC" end } }
    local args = { "/bin/sh", "-c", "mkdir /tmp/x; cat /etc/passwd" }
    local learnt, r = learnt_of(args, recipe)
    assert.matches("No space left.*user:x:", r.stdout)
    assert.truthy(learnt.needs.calls.mkdir and learnt.needs.calls.openat)
    local other = again(learnt, args, recipe)
    assert.equal(r.stdout, other.stdout)
    recipe = caisson.recipe { extends = "sandbox", trace = { calls = { "open" }, decide = function() end } }
    assert.same({ nil, "trace: a program has one tracer, and the recipe has one of its own", core.errno.EINVAL },
      { learn.run(recipe, { args = args }) })
  end)

  describe("caisson learn", function()
    local function run(...) return cli.run(cli.argv { "learn", ... }, { cwd = dir .. "/cwd" }) end
    before_each(function() t.sh(("rm -rf %s/cwd; mkdir -m 777 %s/cwd"):format(dir, dir)) end)

    it("writes a recipe that the program passes with, and adds to it", function()
      local r = run("sandbox", "--", "/bin/sh", "-c", "echo hi")
      assert.same({ "hi\n", 0 }, { r.out, r.code }, r.err)
      assert.matches("written to learnt.lua", r.err, 1, true)
      local recipe = { "run", "learnt.lua", "--", "/bin/sh", "-c", "echo hi" }
      assert.equal("hi\n", cli.run(cli.argv(recipe), { cwd = dir .. "/cwd" }).out)
      recipe[#recipe] = "umask 7; umask; id -u > /tmp/x"
      assert.matches("denied", cli.run(cli.argv(recipe), { cwd = dir .. "/cwd" }).err)
      r = run("sandbox", "--merge", "learnt.lua", "--oci", "learnt.json", "--", "/bin/sh", "-c", recipe[#recipe])
      assert.equal(0, r.code, r.err)
      assert.matches("new in this run: .*umask", r.err)
      local after = cli.run(cli.argv(recipe), { cwd = dir .. "/cwd" })
      assert.same({ "0007\n", "", 0 }, { after.out, after.err, after.code })
      recipe[#recipe] = "echo hi"
      assert.equal("hi\n", cli.run(cli.argv(recipe), { cwd = dir .. "/cwd" }).out)
      local text = t.read_file(dir .. "/cwd/learnt.lua")
      assert.matches("learnt from 2 runs", text, 1, true)
      local config = assert(require("cjson").decode(t.read_file(dir .. "/cwd/learnt.json")))
      assert.equal("SCMP_ACT_ERRNO", config.linux.seccomp.defaultAction)
      assert.truthy(caisson.policy.from_oci(config.linux.seccomp))
      assert.same({}, config.process.capabilities.bounding)
    end)

    it("writes where it was told to, whatever links the program leaves there", function()
      local cwd = dir .. "/cwd"
      t.sh(("echo kept > %s/kept; chmod 666 %s/kept"):format(dir, dir))
      if t.is_root then t.sh(("chown 65534:65534 %s"):format(cwd)) end
      local plant = ("for n in a.lua a.json a.result; do rm -f $n; ln -s %s/kept $n; done; ls -A"):format(dir)
      local r = run("sandbox", "dir=.", "write=yes", "-o", "a.lua", "--oci", "a.json", "--", "/bin/sh", "-c", plant)
      assert.same({ "a.json\na.lua\na.result\n", 0 }, { r.out, r.code }, r.err)
      assert.matches("What this needed", t.read_file(cwd .. "/a.lua"), 1, true)
      assert.matches("ociVersion", t.read_file(cwd .. "/a.json"), 1, true)
      -- the link that was there before is no way out either
      r = cli.run(cli.argv { "run", "--result", "a.result", "sandbox", "dir=.", "write=yes", "--", "/bin/sh", "-c", plant },
        { cwd = cwd })
      assert.equal(0, r.code, r.err)
      assert.matches('"status": "exited"', t.read_file(cwd .. "/a.result"), 1, true)
      assert.equal("kept\n", t.read_file(dir .. "/kept"))
      assert.equal("a.json\na.lua\na.result\n", t.sh(("ls -A %s"):format(cwd)))
    end)

    it("overwrites nothing but its own", function()
      t.sh(("echo 'return 1' > %s/cwd/learnt.lua"):format(dir))
      local r = run("sandbox", "--", "/bin/true")
      assert.equal(125, r.code)
      assert.matches("not of learn's making", r.err)
      assert.equal("return 1\n", t.read_file(dir .. "/cwd/learnt.lua"))
      r = run("sandbox", "--merge", "learnt.lua", "--", "/bin/true")
      assert.equal(125, r.code)
      assert.matches("no recipe that learn has written", r.err)
      r = run("sandbox", "-o", "-", "--", "/bin/true")
      assert.matches("^%-%- What this needed", r.out)
      r = run("sandbox", "-o", "none/x.lua", "--", "/bin/sh", "-c", "echo ran")
      assert.same({ 125, "" }, { r.code, r.out })
      r = run("sandbox", "-o", "x.lua", "--check", "--trace-all", "--", "/bin/sh", "-c", "echo $$; exit 6")
      assert.same({ 6, "2\n2\n" }, { r.code, r.out })
      assert.matches("checked: by what was learnt it ends with status 6", r.err, 1, true)
      r = run("sandbox", "-o", "-", "--", "/bin/sh", "-c", "exit 7")
      assert.equal(7, r.code)
      assert.matches("ended with status 7", r.err)
    end)
  end)
end)
