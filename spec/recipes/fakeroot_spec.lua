local t = require "support"
local caisson = require "caisson"

describe("the fakeroot recipe", function()
  if not t.needs "userns" then return end
  local dir

  before_each(function()
    dir = t.sh("mktemp -d"):gsub("\n", "")
    t.sh("chmod 777 " .. dir)
  end)
  after_each(function() t.sh("rm -rf " .. dir) end)

  local function output(recipe, script)
    local opts = { params = { dir = dir, write = true }, args = { "/bin/sh", "-c", script }, stdin = "null", stdout = "capture",
      stderr = "stdout" }
    if recipe ~= "fakeroot" then opts.params = nil end
    local r = assert(caisson.run(recipe, opts))
    return r.stdout
  end

  it("lets chown and mknod seem to work, which elsewhere fail", function()
    local script = "cd " .. dir .. [[ || cd /tmp; : > a; ln -s a l; (chown 7:8 a && chown -h 7:8 l && chgrp 9 a) 2>&1 && echo owned
      mknod null c 1 3 2>&1 && echo made; mknod disk b 8 0 2>&1; mkfifo p && echo fifo]]
    assert.equal("owned\nmade\nfifo\n", output("fakeroot", script))
    assert.matches("chown: [^\n]*\nmknod: [^\n]*\nmknod: [^\n]*\nfifo\n$", output("sandbox", script))
    local core = t.core
    assert.same({ "file", "file", "fifo", 0 }, { core.lstat(dir .. "/null").type, core.lstat(dir .. "/disk").type,
      core.lstat(dir .. "/p").type, core.lstat(dir .. "/null").size })
    local me = core.identity().euid
    assert.equal(me == 0 and 65534 or me, core.lstat(dir .. "/a").uid)
  end)

  it("is root in its folder alone, and makes nothing twice or outside", function()
    assert.matches("^0\n", output("fakeroot", "id -u"))
    assert.matches("File exists", output("fakeroot", "cd " .. dir .. "; mknod x c 1 3; mknod x c 1 3 2>&1"), 1, true)
    local other = os.tmpname()
    os.remove(other)
    output("fakeroot", "cd " .. dir .. "; ln -s " .. other .. " out; mknod out c 1 3 2>&1; mknod " .. other .. " c 1 3")
    assert.is_nil(t.core.lstat(other))
  end)

  it("unpacks an archive of root's", function()
    if not t.is_root then return pending("who would make one?") end
    t.sh("cd " .. dir .. "; mkdir in; echo text > in/file; chown 33:33 in/file; mknod in/tty c 5 0; tar -cf tar in; rm -r in; chmod 644 tar")
    assert.equal("0\ntext\n", output("fakeroot", "cd " .. dir .. "; tar --same-owner -xf tar --exclude in/tty; echo $?; cat in/file"))
  end)
end)
