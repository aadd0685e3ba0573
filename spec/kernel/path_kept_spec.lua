-- Steps that put something into one directory, one after the other, find it once. What they make has to be where each
-- of them alone would have put it: whatever was mounted, renamed or linked in between.
local t = require "support"
local m = require "support.mounts"
local step = t.step

describe("steps of one place", function()
  if not t.is_root and not t.needs("userns") then return end
  teardown(m.clean)

  -- What find says of the root, without what a script needs to run.
  local function found(steps)
    local r = assert(m.run(steps, { script = "cd /; find . -xdev -path './[xyz]*' | sort; for d in /x /x/y /x/z; do [ -d $d ] && echo $d: $(ls $d); done" }))
    return r.output
  end

  it("share it", function()
    assert.equal("./x\n./x/1\n./x/2\n./x/3\n./x/4\n/x: 1 2 3 4\n", found {
      step("symlink", { target = "a", at = "/x/1" }), step("mknod", { path = "/x/2", type = "fifo" }),
      step("file", { path = "/x/3", data = "" }), step("mkdir", { path = "/x/4" }) })
  end)

  it("do not miss a mount over it, or over what leads to it", function()
    local link = function(at) return step("symlink", { target = "a", at = at }) end
    assert.equal("/x: 2", found({ link "/x/1", step("mount.tmpfs", { target = "/x" }), link "/x/2" }):match("/x: [^\n]*"))
    assert.equal("/x/y: 2", found({ link "/x/y/1", step("mount.tmpfs", { target = "/x" }), link "/x/y/2" }):match("/x/y: [^\n]*"))
    -- the mount point is made in the directory that is kept
    assert.equal("/x/y: 2", found({ link "/x/1", step("mount.tmpfs", { target = "/x/y" }), link "/x/y/2" }):match("/x/y: [^\n]*"))
    assert.equal("/x: 1 y z", found({ link "/x/1", step("mount.tmpfs", { target = "/x/y" }), step("mount.tmpfs", { target = "/x/z" }),
      link "/x/y/2", link "/x/z/3" }):match("/x: [^\n]*"))
    -- by another name of it
    assert.equal("/x: 2", found({ link "/x/1", step("symlink", { target = "/x", at = "/y" }),
      step("mount.tmpfs", { target = "/y" }), link "/x/2" }):match("/x: [^\n]*"))
    assert.equal("/x: 2", found({ link "/x/1", step("mount.tmpfs", { target = "/x/../x/." }), link "/x/2" }):match("/x: [^\n]*"))
  end)

  it("tell directories apart whose paths begin alike", function()
    assert.equal("/x: 1 y z\n/x/y: 2\n/x/z: 3\n", found({ step("symlink", { target = "a", at = "/x/1" }),
      step("symlink", { target = "a", at = "/x/y/2" }), step("symlink", { target = "a", at = "/x/z/3" }) }):match("/x: .*"))
  end)

  it("follow what has been put there: a link that is made is not made again", function()
    local out = found { step("mkdir", { path = "/y" }), step("symlink", { target = "/y", at = "/x/l" }),
      step("mount.tmpfs", { target = "/x/l" }), step("file", { path = "/x/l/f", data = "" }),
      step("symlink", { target = "a", at = "/x/1" }) }
    assert.equal("/x: 1 l", out:match("/x: [^\n]*"))
    assert.truthy(out:find("./y/f", 1, true) == nil) -- it is in the tmpfs, which -xdev leaves out
  end)

  it("leave nothing open", function()
    local r = assert(m.run({ step("mount.proc", { target = "/proc" }), step("symlink", { target = "a", at = "/x/1" }),
      step("mkdir", { path = "/x/2" }) }, { script = "cd /proc/self/fd; echo *" }))
    assert.equal("0 1 2", r.output:match("^0 1 2"))
    assert.is_nil(r.output:match("[4-9]"), r.output)
    local root = assert(t.core.open(m.tmpdir(), { "read", "directory" }))
    local fds = t.count_fds()
    for i = 1, 5 do
      assert(t.core.symlink { target = "a", at = "d/l" .. i, root = root })
      assert(t.core.mkdir { "d/e" .. i .. "/f", root = root })
    end
    assert.equal(fds, t.count_fds())
    root:close()
  end)
end)
