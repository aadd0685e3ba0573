local t = require "support"
local m = require "support.mounts"
local step = t.step
local E = t.core.errno

describe("an id-mapped mount", function()
  teardown(m.clean)

  local function files()
    local d = m.tmpdir()
    t.sh("cd " .. d .. "; mkdir sub; touch one two sub/three; chown 1234:4321 one; chown 1235:4322 sub/three; "
      .. "chown 1234:4321 .; chmod 777 .")
    return d
  end

  it("shows each owner as mapped, and writes as mapped", function()
    if not t.needs("root") then return end
    local d = files()
    local r = assert(m.run({ step("mount.bind",
      { source = d, target = "/m", idmap = { { 1234, 5000, 2 }, { 4321, 7000, 2 } } }),
      step("mount.bind", { source = d, target = "/plain" }) },
      { last = { step("gid", 7000), step("uid", 5000) },
        script = "cd /m; stat -c '%u %g' one two sub/three; touch new; stat -c '%u %g' new /plain/new" }))
    assert.equal("5000 7000\n65534 65534\n5001 7001\n5000 7000\n1234 4321\n", r.output)
    assert.equal("1234 4321\n", t.sh("stat -c '%u %g' " .. d .. "/new"))
  end)

  it("maps uids and gids apart, for the tree where it is recursive, and the root as well", function()
    if not t.needs("root") then return end
    local d = files()
    local r = assert(m.run({ step("mount.bind",
      { source = d, target = "/m", uids = { { 1234, 1, 1 } }, gids = { { 4321, 2, 1 } }, recursive = true }),
      step("mount.bind", { source = d, target = "/u", uids = { { 1234, 1, 1 } } }) },
      { script = "stat -c '%u %g' /m/one /u/one" }))
    assert.equal("1 2\n1 4321\n", r.output)
    r = assert(m.run({}, { root = step("root.bind",
      { source = d, idmap = { { 0, 0, 1 }, { 1234, 99, 1 }, { 4321, 98, 1 } } }), script = "stat -c '%u %g' /one" }))
    assert.equal("99 98\n", r.output)
  end)

  it("is made by the host for a container in a user namespace", function()
    if not t.needs("root") then return end
    local d = files()
    local run = { step("mount.tree", { source = d, tree = "t", uids = { { 1234, 100000, 1 } },
      gids = { { 4321, 100000, 1 } } }, { side = "parent" }) }
    for _, s in ipairs(m.namespaces { user = true, uid = { { 0, 100000, 65536 } },
      gid = { { 0, 100000, 65536 } } }) do run[#run + 1] = s end
    run[#run + 1] = step("root.tmpfs", {})
    m.system(run)
    run[#run + 1] = step("mount.bind", { fd = "t", target = "/m" })
    run[#run + 1] = step("pivot_root", {})
    local before, children = t.count_fds(), t.count_children()
    local r = assert(t.run(run, { script = "stat -c '%u %g' /m/one; touch /m/new" }))
    assert.equal("0 0\n", r.output)
    assert.equal("1234 4321\n", t.sh("stat -c '%u %g' " .. d .. "/new"))
    assert.equal(before, t.count_fds())
    assert.equal(children, t.count_children())
  end)

  it("works where proc is only that of the new root", function()
    if not t.needs("root") then return end
    local d = files()
    local r = assert(m.run({ step("procfs", {}),
      step("mount.bind", { source = d, target = "/m", idmap = { { 1234, 5, 1 }, { 4321, 6, 1 } } }) },
      { script = "stat -c '%u %g' /m/one" }))
    assert.equal("5 6\n", r.output)
  end)

  it("is refused to an ordinary user, with the reason", function()
    local d = m.tmpdir()
    local _, message, errno = m.run({ step("mount.bind", { source = d, target = "/m", idmap = { { 0, 0, 1 } } }) },
      { user = true })
    assert.equal(E.EPERM, errno)
    assert.truthy(message:find("CAP_SYS_ADMIN in the user namespace that the filesystem was mounted in", 1, true),
      message)
    -- its own filesystem, a container may map
    local r = assert(m.run({ step("mount.tmpfs", "/t"), step("file", { path = "/t/f", data = "" }) }, { user = true,
      last = { step("mount.bind", { source = "/t", target = "/m", idmap = { { 0, 0, 1 } } }) },
        script = "stat -c %u /m/f" }))
    assert.equal("0\n", r.output)
  end)

  it("refuses a map that is none, and what can't be mapped", function()
    if not t.needs("root") then return end
    local d = files()
    local function fails(options)
      options.target, options.source = "/m", options.source or d
      local _, message, errno = m.run { step("mount.bind", options) }
      return errno, message
    end
    local errno, message = fails { idmap = { { 0, 0, 10 }, { 5, 100, 10 } } }
    assert.equal(E.EINVAL, errno)
    assert.truthy(message:find("id map of the mount", 1, true), message)
    assert.equal(E.EINVAL, (fails { idmap = { { 0, 0, 0 } } }))
    assert.equal(E.EINVAL, (fails { source = "/proc", idmap = { { 0, 0, 1 } } }))
    local many = {}
    for i = 1, 400 do many[i] = { i, 1000000000 + i, 1 } end
    assert.truthy((fails { idmap = many }))
    for _, bad in ipairs { { idmap = { { 0, 0 } } }, { idmap = { { 0, 0, -1 } } },
      { idmap = { { 0, 0, 4294967296 } } }, { idmap = "0:0:1" }, { uids = { 1 } } } do
      bad.source, bad.target = "/", "/m"
      assert.is_false((pcall(t.core.check, "mount.bind", bad)))
    end
  end)

  it("leaves no child, whatever happens", function()
    if not t.needs("root") then return end
    local d = files()
    local before, children = t.count_fds(), t.count_children()
    for _ = 1, 10 do
      local tree = assert(t.core.mount.tree { source = d, idmap = { { 1234, 1, 1 } } })
      tree:close()
      assert.is_nil((t.core.mount.tree { source = "/proc", idmap = { { 1234, 1, 1 } } }))
      assert.is_nil((t.core.mount.tree { source = d, idmap = { { 0, 0, 0 } } }))
    end
    assert.equal(before, t.count_fds())
    assert.equal(children, t.count_children())
  end)
end)
