-- Images whose symlinks lead out: whatever a bundle has made in them is made inside
-- (CVE-2019-18837, 2024-45310, 2026-87766, 2025-54867; the primitives' own: spec/kernel/path_spec.lua).
local t = require "support"
local a = require "support.attacks"

-- S is the host's directory; each is at, or above, /a/b.
local forms = {
  { "the first directory, absolute", "ln -s $S a" },
  { "the first directory, relative", "ln -s ../../../../../../../..$S a" },
  { "the second directory, absolute", "mkdir a; ln -s $S a/b" },
  { "the second directory, relative", "mkdir a; ln -s ../../../../../../../../..$S a/b" },
  { "a chain of links", "ln -s x a; ln -s /y x; ln -s ../../..$S y" },
  { "a link with .. behind a link", "ln -s /tmp x; ln -s x/../../../../../..$S a" },
  { "a link to the root, and on from there", "ln -s / a; ln -s a/../../..$S b" },
}

-- Everything that a bundle has made at a path; file: its target is one.
local function mounts_at(b, path)
  local list = {
    { type = "bind", source = b.dir .. "/data", options = { "rbind", "ro" } },
    { type = "bind", source = b.dir .. "/data/file", options = { "bind" } },
    { type = "tmpfs", source = "tmpfs", options = { "size=64k" } },
    { type = "tmpfs", source = "tmpfs", options = { "size=64k", "tmpcopyup" } },
    { type = "mqueue", source = "mqueue" },
    { type = "devpts", source = "devpts", options = { "newinstance" } },
    { type = "overlay", source = "overlay", options = { "lowerdir=" .. b.dir .. "/data:" .. b.dir .. "/more" } },
    t.is_root and { type = "cgroup", source = "cgroup", options = { "ro" } } or nil,
  }
  for i, m in ipairs(list) do
    m.destination = path .. i
    b:mount(m)
  end
  -- an ordinary user can make no node, and the host has none of this path that could be bound
  for i = t.is_root and 1 or 2, 2 do
    b.config.linux.devices = b.config.linux.devices or {}
    table.insert(b.config.linux.devices, { path = path .. "device" .. i, type = i == 1 and "c" or "p", major = i == 1 and 1 or nil,
      minor = i == 1 and 3 or nil, fileMode = 438, uid = 0, gid = 0 })
  end
  table.insert(b.config.linux.maskedPaths, "/a/canary")
  table.insert(b.config.linux.maskedPaths, "/a/b/in")
  table.insert(b.config.linux.readonlyPaths, "/a/b")
  return #list + (t.is_root and 2 or 1)
end

describe("a hostile image's symlinks", function()
  if not (t.needs "oci" and t.needs "busybox" and t.needs "userns") then return end
  local S

  setup(function() S = a.sentinel() end)
  teardown(a.forget)

  local function bundle(image)
    local b = a.bundle(image, S)
    t.sh(("mkdir -p %s/data/inner %s/more; echo text > %s/data/file"):format(b.dir, b.dir, b.dir))
    return b
  end

  for _, form in ipairs(forms) do
    it("lead no mount, device or mask out of it: " .. form[1], function()
      local b = bundle(form[2])
      local n = mounts_at(b, "/a/b/c")
      b:script("cat /a/b/c1/file /a/b/c2 && stat -c '%t:%T' /a/b/cdevice*")
      local r = b:run()
      S:check(form[1])
      assert.equal("text\ntext\n" .. (t.is_root and "1:3\n" or "") .. "0:0\n", a.ran(r))
      -- all of them are in the image now, where its links lead
      assert.equal(n .. "\n", t.sh("find " .. b.rootfs .. " -xdev -path '*/bin' -prune -o \\( -name 'c[0-9]' -o -name 'cdevice[0-9]' \\) -print | wc -l"))
    end)
  end

  it("are not what proc and sysfs are mounted through: that is an error", function()
    for _, form in ipairs(forms) do
      for _, kind in ipairs { "proc", "sysfs" } do
        local b = a.bundle(form[2], S):mount { destination = "/a/b/c", type = kind, source = kind }
        local r = b:run()
        S:check(form[1])
        assert.matches("/a/b/c", a.refused(r))
      end
    end
  end)

  it("lead no mount out of it at the path's end", function()
    for _, target in ipairs { "$S/c", "../../../../../../../../..$S/c", "$S/../nothing/c" } do
      local links = {}
      for i = 1, 9 do links[i] = ("ln -s %s%d a/b/c%d"):format(target, i, i) end
      local b = bundle("mkdir -p a/b; " .. table.concat(links, "; "))
      mounts_at(b, "/a/b/c")
      local r = b:script("cat /a/b/c1/file /a/b/c2"):run()
      S:check(target)
      assert.equal("text\ntext\n", a.ran(r))
    end
  end)

  it("lead no device out of it at the path's end: what is there already is an error", function()
    for _, target in ipairs { "$S/null", "../../../../../../../../..$S/null", "$S/new" } do
      local b = bundle("mkdir -p a; ln -s " .. target .. " a/null")
      b.config.linux.devices = { { path = "/a/null", type = "c", major = 1, minor = 3 } }
      local r = b:run()
      S:check(target)
      assert.matches("/a/null", a.refused(r))
    end
  end)

  it("are not what destinations with .. go by", function()
    local b = bundle("mkdir tmp/x")
    mounts_at(b, "/tmp/x/../../../../../.." .. S.dir .. "/b/c")
    local r = b:script("cat " .. S.dir .. "/b/c1/file"):run()
    S:check()
    assert.equal("text\n", a.ran(r))
  end)

  it("are not what the working directory is made by", function()
    for _, link in ipairs { "ln -s $S a", "ln -s ../../../../../..$S a" } do
      local b = bundle(link)
      b.config.process.cwd = "/a/new/deep"
      local r = b:script("pwd; ls -A /"):run()
      S:check(link)
      if r.code ~= 0 then a.refused(r) else assert.matches("^" .. S.dir .. "/new/deep\n", r.out) end
    end
  end)

  it("are no masks' and read-only paths' targets on the host", function()
    local b = bundle("ln -s $S a; ln -s $S/canary f; ln -s /proc/sys/kernel/core_pattern g")
    b.config.linux.maskedPaths = { "/a", "/f", "/a/canary", "/g" }
    b.config.linux.readonlyPaths = { "/a/in", "/f" }
    local r = b:script("cat /proc/sys/kernel/core_pattern; mount | grep -c core_pattern"):run()
    S:check()
    assert.equal("1\n", a.ran(r)) -- the link's target, inside, is what is masked
  end)
end)
