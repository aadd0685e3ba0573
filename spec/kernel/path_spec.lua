local t = require "support"
local m = require "support.mounts"
local step = t.step
local E = t.core.errno

-- What an image may hold where the runtime will make things: symlinks. S stands for a directory of the
-- host that none of them may lead to.
local links = {
  ["the first directory, absolute"] = { a = "S" },
  ["the first directory, relative"] = { a = "../../../../../../../..S" },
  ["the second directory, absolute"] = { ["a/b"] = "S" },
  ["the second directory, relative"] = { ["a/b"] = "../../../../../../../../..S" },
  ["a chain of links"] = { a = "x", x = "/y", y = "../../..S" },
  ["a link to the root"] = { a = "/" },
  ["a link above the root"] = { a = ".." },
  ["a link with .. behind a link"] = { a = "x/../../../../../..S", x = "/tmp" },
}

-- Every way to make something at a path; the last three follow a link at its end.
local operations = {
  { "file", function(path) return step("file", { path = path, data = "inline" }) end },
  { "symlink", function(path) return step("symlink", { target = "/x", at = path }) end },
  { "mknod", function(path) return step("mknod", { path = path, type = "fifo" }) end },
  { "device", function(path) return step("device", { path = path, major = 1, minor = 3, source = "/dev/null" }) end },
  { "mkdir", function(path) return step("mkdir", { path = path }) end, true },
  { "mount.tmpfs", function(path) return step("mount.tmpfs", { target = path }) end, true },
  { "mount.bind", function(path) return step("mount.bind", { source = "/etc", target = path }) end, true },
  { "mount.bind", function(path) return step("mount.bind", { source = "/etc/passwd", target = path }) end, true },
  { "file", function(path) return step("file", { path = path, data = "inline", mount = true }) end, true },
}

-- A root with these links, and one for the last component of each operation, if final is given.
local function prepare(S, map, final)
  local R = m.tmpdir()
  local script = { "cd " .. R, "mkdir tmp" }
  local function link(target, at)
    script[#script + 1] = ("mkdir -p $(dirname %s); ln -s '%s' %s"):format(at,
      (target:gsub("S", function() return S end)), at)
  end
  for at, target in pairs(map) do link(target, at) end
  for i = 1, final and #operations or 0 do link(final .. i, "a/b/c" .. i) end
  t.sh(table.concat(script, "; "))
  return R
end

local function snapshot(S)
  return t.sh("cd " .. S .. " && find . -printf '%p %i %m %u %s %y %l %T@ %C@\\n' | sort; cat canary")
end

for _, mode in ipairs { "openat2", "openat2 answering ENOSYS" } do
  local first = mode ~= "openat2" and { m.enosys("openat2") } or nil

  describe("paths in a hostile root, by " .. mode .. ",", function()
    local S, before, mounts

    setup(function()
      S = m.tmpdir()
      t.sh("mkdir " .. S .. "/b " .. S .. "/c; echo canary > " .. S .. "/canary; chmod 755 " .. S)
      before, mounts = snapshot(S), t.read_file("/proc/self/mountinfo")
    end)
    teardown(m.clean)

    local function unharmed()
      assert.equal(before, snapshot(S))
      assert.equal(mounts, t.read_file("/proc/self/mountinfo"))
    end

    -- The steps, then a program that isn't there: where all steps went well, exec is what failed.
    local function run(R, steps)
      local list = m.namespaces { first = first, namespaces = { "mount", "pid" } }
      list[#list + 1] = step("root.bind", { source = R })
      for _, s in ipairs(steps) do list[#list + 1] = s end
      list[#list + 1] = step("pivot_root", {})
      list[#list + 1] = step("exec", { argv = { "/nothing" } })
      local process, message, errno, failure = t.core.spawn { plan = t.core.plan(list) }
      assert.is_nil(process)
      return failure.step, errno, message
    end

    local function all_at(path)
      local steps = {}
      for i, operation in ipairs(operations) do steps[i] = operation[2](path .. i) end
      return steps
    end

    for name, map in pairs(links) do
      it("stay inside: " .. name, function()
        local R = prepare(S, map)
        local failed, _, message = run(R, all_at("/a/b/c"))
        unharmed()
        assert.equal("exec", failed, message)
        assert.equal(#operations .. "\n", t.sh("find " .. R .. " -name 'c[0-9]' | wc -l"))
      end)
    end

    it("stay inside where the last component is a link", function()
      for _, target in ipairs { "S/c", "../../../../../../../../..S/c", "S/../nothing" } do
        local R = prepare(S, {}, target)
        for i, operation in ipairs(operations) do
          local failed, errno, message = run(R, { operation[2]("/a/b/c" .. i) })
          assert.equal(operation[3] and "exec" or operation[1], failed, message)
          assert.equal(operation[3] and E.ENOENT or E.EEXIST, errno, message)
        end
        unharmed()
        local made = t.sh("find " .. R .. "/tmp -name '*[0-9]' ! -name 'tmp*' | wc -l")
        assert.equal("5\n", made, target)
      end
    end)

    it("have no way out by ..", function()
      local R = prepare(S, { x = "/tmp" })
      local failed, _, message = run(R, all_at("/x/../../../../../.." .. S .. "/b/c"))
      unharmed()
      assert.equal("exec", failed, message)
      assert.equal(#operations .. "\n", t.sh("find " .. R .. S .. "/b -name 'c[0-9]' | wc -l"))
    end)

    it("refuse a link that leads to itself", function()
      local R = prepare(S, { a = "x", x = "a" })
      for _, operation in ipairs(operations) do
        local failed, errno = run(R, { operation[2]("/a/b/c") })
        assert.equal(operation[1], failed)
        assert.equal(E.ELOOP, errno)
      end
    end)

    it("refuse the magic links of procfs", function()
      for i, magic in ipairs { "/proc/self/root", "/proc/self/cwd", "/proc/self/fd/0", "/proc/1/exe/.." } do
        local R = prepare(S, { a = magic .. "S" })
        for k = i, #operations, 4 do
          local failed, errno, message = run(R, { step("mount.proc", "/proc"), operations[k][2]("/a/b/c") })
          assert.equal(operations[k][1], failed)
          assert.equal(E.ELOOP, errno, message)
        end
      end
      unharmed()
    end)

    it("follow procfs's ordinary links", function()
      local failed, _, message = run(prepare(S, {}), { step("mount.proc", "/proc"), step("mask", "/proc/self/comm"),
        step("mask", "/proc/thread-self/status"), step("readonly", "/proc/net/dev") })
      assert.equal("exec", failed, message)
    end)

    it("report names and depths that are too long", function()
      local R = prepare(S, {})
      local _, errno = run(R, { step("mkdir", "/" .. ("x"):rep(256)) })
      assert.equal(E.ENAMETOOLONG, errno)
      _, errno = run(R, { step("mkdir", ("/x"):rep(1000)) })
      assert.equal(E.ENAMETOOLONG, errno)
      assert.equal("exec", (run(R, { step("mkdir", ("/y"):rep(100)) })))
      assert.equal("100\n", t.sh("find " .. R .. " -name y | wc -l"))
    end)

    it("report a file where a directory has to be", function()
      local R = prepare(S, {})
      t.sh("mkdir -p " .. R .. "/a; touch " .. R .. "/a/b")
      for _, operation in ipairs(operations) do
        local failed, errno = run(R, { operation[2]("/a/b/c") })
        assert.equal(operation[1], failed)
        assert.equal(E.ENOTDIR, errno)
      end
    end)
  end)
end

describe("modes", function()
  teardown(m.clean)

  it("are as asked for, whatever the umask", function()
    for _, first in ipairs { {}, { m.enosys("fchmodat2") } } do
      local r = assert(m.run({ step("umask", "0777"), step("mkdir", { path = "/d", mode = "1777" }),
        step("mkdir", "/p/q"),
        step("file", { path = "/f", data = "x", mode = "0640" }),
          step("mknod", { path = "/n", type = "fifo", mode = "0604" }),
        step("mount.tmpfs", "/t/u"), step("umask", "0022") },
        { first = first, script = "stat -c '%a %n' /d /p /p/q /f /n /t /t/u" }))
      assert.equal("1777 /d\n755 /p\n755 /p/q\n640 /f\n604 /n\n755 /t\n755 /t/u\n", r.output)
    end
  end)
end)
