-- What happens to files: core.inotify.
local t = require "support"
local core = t.core

describe("core.inotify", function()
  local dir, seen

  before_each(function()
    dir = t.sh("mktemp -d"):match "%S+"
    seen = assert(core.inotify())
  end)
  after_each(function()
    seen:close()
    t.sh("rm -rf " .. dir)
  end)

  -- The words of each event, but for its number.
  local function words()
    core.poll({ { fd = seen:fileno() } }, 2)
    local list = {}
    for i, e in ipairs(assert(seen:read())) do
      local w = {}
      for k, v in pairs(e) do
        if v == true then w[#w + 1] = k end
      end
      table.sort(w)
      list[i] = (e.name and e.name .. ": " or "") .. table.concat(w, " ")
    end
    return list
  end

  it("tells of what is in a directory, by name, as it happens", function()
    local number = assert(seen:add(dir, { "create", "close_write", "moved_from", "moved_to", "delete" }))
    assert.same({}, seen:read())
    t.sh(("cd %s; echo x >a; mv a b; mkdir c; rm b"):format(dir))
    assert.same({ "a: create", "a: close_write", "a: moved_from", "b: moved_to", "c: create directory", "b: delete" }, words())
    t.sh(("echo >%s/d"):format(dir))
    core.poll({ { fd = seen:fileno() } }, 2)
    assert.equal(number, seen:read()[1].number)
  end)

  it("tells nothing else than what was asked for, and of a file by itself", function()
    t.sh(("echo x >%s/a"):format(dir))
    assert(seen:add(dir .. "/a", "attrib"))
    t.sh(("echo y >%s/a; cat %s/a; chmod 600 %s/a"):format(dir, dir, dir))
    assert.same({ "attrib" }, words())
  end)

  it("has one number for one file, and is no more told of what was removed", function()
    local number = assert(seen:add(dir, "create"))
    assert.equal(number, seen:add(dir .. "/../" .. dir:match "[^/]*$", { "create", "delete" }))
    assert.is_true(seen:remove(number))
    assert.is_false(seen:remove(number))
    t.sh(("echo x >%s/a"):format(dir))
    assert.same({ "ended" }, words())
    assert.same({}, seen:read())
  end)

  it("says when what was watched is gone", function()
    assert(seen:add(dir, "delete_self"))
    t.sh("rmdir " .. dir)
    assert.same({ "delete_self", "ended" }, words())
  end)

  it("refuses what is no path, no word, and what is closed", function()
    local ok, message, errno = seen:add(dir .. "/none", "create")
    assert.same({ nil, core.errno.ENOENT }, { ok, errno })
    assert.truthy(message:find("/none", 1, true))
    assert.has_error(function() seen:add(dir .. "\0x", "create") end)
    assert.truthy(select(2, pcall(seen.add, seen, dir, "crate")):find("crate", 1, true))
    assert.has_error(function() seen:add(dir, {}) end)
    assert.has_error(function() seen:add(dir) end)
    seen:close()
    assert.truthy(select(2, pcall(seen.read, seen)):find("is closed", 1, true))
    assert.is_true(seen:close())
  end)

  it("leaves no descriptor", function()
    collectgarbage() -- what others have left
    collectgarbage()
    local before = #core.list "/proc/self/fd"
    for _ = 1, 20 do
      local one = assert(core.inotify())
      one:add(dir, "create")
      one:close()
      assert(core.inotify())
    end
    collectgarbage()
    collectgarbage()
    assert.equal(before, #core.list "/proc/self/fd")
  end)
end)
