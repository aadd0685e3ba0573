-- Containers' state on disk: ids, the root, the lock, what a reader sees, and what a damaged file does.
local t = require "support"
local state = require "caisson.state"
local core = t.core
local errno = core.errno

describe("state", function()
  local root

  before_each(function()
    root = t.sh("mktemp -d"):gsub("\n", "") .. "/states"
  end)

  after_each(function()
    t.sh("rm -rf " .. root:gsub("/states$", ""))
  end)

  local function write(id, text)
    local f = assert(io.open(root .. "/" .. id .. "/state.json", "wb"))
    f:write(text)
    f:close()
  end

  local function new(id, extra)
    local dir = assert(state.create(root, id))
    local s = { status = "running", pid = 4321, start_time = 987654, annotations = { a = "ü\n\"" },
      cgroup = { { dir = "/sys/fs/cgroup/pids/box", controllers = { "pids" } } }, namespaces = { net = 4026531840 },
      recipe = { file = "/r.lua" }, bundle = "/", options = { init = true } }
    for k, v in pairs(extra or {}) do s[k] = v end
    assert(dir:save(s))
    return dir, s
  end

  describe("check_id", function()
    it("takes what runc takes, as far as a directory can be called so", function()
      for _, id in ipairs { "a", "A_b+c.d-9", "...", ".hidden", "-", ("x"):rep(255) } do assert.is_true(state.check_id(id), id) end
    end)

    it("refuses everything else", function()
      for _, id in ipairs { "", ".", "..", "a/b", "a b", "a\0b", "ä", "a\n", "a:b", "*" } do
        local ok, message, number = state.check_id(id)
        assert.same({ nil, "string", errno.EINVAL }, { ok, type(message), number })
      end
      assert.equal(errno.ENAMETOOLONG, select(3, state.check_id(("x"):rep(256))))
      assert.equal(errno.EINVAL, select(3, state.check_id(7)))
    end)
  end)

  describe("root", function()
    it("is absolute", function()
      assert.equal("/x/y", state.root("/x/y//"))
      assert.equal("/", state.root("/"))
      assert.equal(core.realpath(".") .. "/rel", state.root("rel"))
      assert.equal(errno.EINVAL, select(3, state.root("")))
      assert.equal(errno.EINVAL, select(3, state.root("/a\0b")))
    end)

    it("is made with mode 0700, and not by readers", function()
      assert.same({}, state.list(root))
      assert.is_nil(core.lstat(root))
      assert(state.create(root, "a")):unlock()
      assert.equal(448, core.lstat(root).mode)
      assert.equal(448, core.lstat(root .. "/a").mode)
      assert.equal(384, core.lstat(root .. "/a/state.json").mode)
    end)

    it("is refused where others may write it, or it is a symlink or a file", function()
      t.sh("mkdir -m 0770 " .. root)
      local ok, message, number = state.create(root, "a")
      assert.same({ nil, errno.EPERM }, { ok, number })
      assert.truthy(message:find("may be written by others (mode 0770)", 1, true), message)
      t.sh("chmod 0702 " .. root)
      assert.equal(errno.EPERM, select(3, state.list(root)))
      t.sh("chmod 0755 " .. root)
      assert(state.create(root, "a")):unlock()
      t.sh(("mv %s %s.real; ln -s %s.real %s"):format(root, root, root, root))
      assert.equal(errno.ENOTDIR, select(3, state.open(root, "a")))
      t.sh(("rm %s; touch %s"):format(root, root))
      assert.is_nil((state.create(root, "a")))
    end)

    it("is refused where somebody else owns it", function()
      if t.is_root then
        t.sh(("mkdir -m 0700 %s && chown 4242 %s"):format(root, root))
      else
        assert.equal(errno.EPERM, select(3, state.create("/usr", "a")))
        return
      end
      local ok, message, number = state.create(root, "a")
      assert.same({ nil, errno.EPERM }, { ok, number })
      assert.truthy(message:find("belongs to uid 4242, not to 0", 1, true), message)
    end)
  end)

  it("comes back as it was saved", function()
    local dir, s = new("box")
    s.version, s.id = 1, "box"
    assert.same(s, dir:load())
    dir:unlock()
    assert.same(s, assert(state.open(root, "box")):load())
    assert.same({ "box" }, state.list(root))
    assert(dir:lock())
    assert.is_true(dir:remove())
    assert.same({}, state.list(root))
    assert.is_nil(core.lstat(root .. "/box"))
    assert.equal(errno.ENOENT, select(3, state.open(root, "box")))
    assert.equal(errno.ENOENT, select(3, dir:lock()))
    assert.equal(errno.ENOENT, select(3, dir:load()))
  end)

  it("is saved and removed under the lock alone, and never wrong", function()
    local dir, s = new("box")
    assert.has_error(function() dir:lock() end, "container 'box' is locked by this object already")
    s.pid = -1
    assert.has_error(function() dir:save(s) end)
    dir:unlock()
    assert.has_error(function() dir:save(s) end, "container 'box': save() needs its lock")
    assert.has_error(function() dir:remove() end, "container 'box': remove() needs its lock")
    assert.equal(4321, dir:load().pid)
  end)

  it("belongs to the first who makes it", function()
    local dir = assert(state.create(root, "one"))
    local ok, message, number = state.create(root, "one")
    assert.same({ nil, errno.EEXIST }, { ok, number })
    assert.truthy(message:find("container 'one' exists already in " .. root, 1, true), message)
    dir:unlock()
    assert.equal(errno.EEXIST, select(3, state.create(root, "one")))
  end)

  it("is refused at once, for what it is, where there is no place for it", function()
    os.execute(("mkdir -p %s; ln -s / %s/link"):format(root, root))
    for path, what in pairs { ["/proc/no/such"] = "/proc/no/such", ["/proc/no-such"] = "/proc/no-such",
      [root .. "/link"] = "/link" } do
      local now = core.now()
      local dir, message, number = state.create(path, "box")
      assert.is_nil(dir)
      assert.not_equal(errno.EEXIST, number)
      assert.truthy(message:find(what, 1, true), message)
      assert.truthy(core.now() - now < 1e9)
    end
  end)

  it("is made with the directories above it", function()
    assert(state.create(root .. "/above/states", "box")):unlock()
    assert.equal("700\n700\n", t.sh(("stat -c %%a %s/above %s/above/states"):format(root, root)))
  end)

  it("begins with the state that its maker gives, or not at all", function()
    local seen
    local dir = assert(state.create(root, "one", function(d)
      seen = d
      return { status = "creating", bundle = "/b" }
    end))
    assert.equal(dir, seen)
    assert.equal("/b", assert(state.open(root, "one")):load().bundle)
    dir:remove()
    assert.same({ nil, "not now", 11 }, { state.create(root, "one", function() return nil, "not now", 11 end) })
    assert.equal("oh", select(2, pcall(state.create, root, "one", function() error("oh", 0) end)))
    assert.equal(errno.ENOENT, select(3, state.open(root, "one")))
  end)

  it("has its dates as os.date has them", function()
    for _, seconds in ipairs { 0, 1, 86399, 86400, 951782399, 951782400, 951868800, 1709164800, 1735689599, 1767225600, 4107542400,
      4102444799, os.time() } do
      assert.equal(os.date("!%Y-%m-%dT%H:%M:%SZ", seconds), state.date(seconds))
    end
    for i = 0, 3000 do
      local seconds = i * 5432109
      assert.equal(os.date("!%Y-%m-%dT%H:%M:%SZ", seconds), state.date(seconds))
    end
  end)

  it("is taken over where a create or remove was killed before there was, or was no longer, a state", function()
    new("one"):unlock()
    os.remove(root .. "/one/state.json")
    local ok, message, number = state.open(root, "one"):load()
    assert.same({ nil, errno.ENODATA }, { ok, number })
    assert.truthy(message:find("interrupted", 1, true), message)
    local dir = assert(state.create(root, "one"))
    assert.equal("creating", dir:load().status)
    assert.truthy(dir:load().created:match("^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%dZ$"))
    dir:unlock()
  end)

  it("is made by exactly one of 12 processes that try at once, again and again", function()
    local code = ([[
      local state, core = require "caisson.state", require "caisson.core"
      while core.now() < %%.0f do end
      for round = 1, 20 do
        local dir, message, number = state.create(%q, "r" .. round)
        io.write(dir and "won " or number == core.errno.EEXIST and "lost " or message, round, "\n")
        if dir then dir:unlock() end
      end]]):format(root)
    code = code:format(core.now() + 0.3e9)
    local command = t.lua_command(code):gsub(";.*", "")
    local out = t.sh(("for i in 1 2 3 4 5 6 7 8 9 10 11 12; do %s & done; wait; rm -f %s"):format(command, command:match("%S+$")))
    local won, lost = {}, 0
    for word, round in out:gmatch("(%w+) (%d+)\n") do
      if word == "won" then won[#won + 1] = tonumber(round) else lost = lost + 1 end
    end
    table.sort(won)
    local each = {}
    for i = 1, 20 do each[i] = i end
    assert.same(each, won, out)
    assert.equal(220, lost, out)
  end)

  describe("lock", function()
    -- A process that holds the lock of "box" until it is killed.
    local function holder()
      local code = ([[local dir = require("caisson.state").open(%q, "box")
        assert(dir:lock(0))
        io.write("locked\n") io.flush()
        require("caisson.core").poll({}, 60)]]):format(root)
      local words = {}
      for w in t.lua_command(code):gsub(";.*", ""):gmatch("%S+") do words[#words + 1] = w end
      local r, w = core.pipe()
      local null = core.open("/dev/null")
      local p = assert(core.spawn { plan = core.plan { t.step("clone", {}), t.step("exec", { argv = words,
        env = { "LUA_PATH=" .. package.path, "LUA_CPATH=" .. package.cpath }, files = { "null", "out", "err" } }) },
        slots = { null = null, out = w, err = 2 } })
      w:close()
      null:close()
      assert.equal("locked\n", r:read())
      r:close()
      os.remove(words[2])
      return p
    end

    it("is one process's at a time, and free once that was killed", function()
      new("box"):unlock()
      local p = holder()
      local dir = state.open(root, "box")
      local before = core.now()
      local ok, message, number = dir:lock(0.2)
      assert.same({ nil, errno.ETIMEDOUT }, { ok, number })
      assert.truthy(message:find("container 'box' is busy", 1, true), message)
      assert.truthy(core.now() - before >= 0.2e9)
      assert.equal(4321, dir:load().pid) -- a reader needs none
      assert.equal(errno.EEXIST, select(3, state.create(root, "box")))
      p:kill("KILL")
      assert.is_true(dir:lock(5))
      dir:unlock()
      p:wait()
      p:close()
    end)

    it("of a container that is removed meanwhile is nobody's", function()
      local dir = new("box")
      local waiting = state.open(root, "box")
      assert.is_nil((waiting:lock(0)))
      dir:remove()
      assert.equal(errno.ENOENT, select(3, waiting:lock(0)))
      new("box"):unlock() -- a new one of its name
      assert.is_true(waiting:lock(0))
      waiting:unlock()
    end)
  end)

  describe("removed by another between opening and locking", function()
    -- The next lock() comes after the directory was removed, and perhaps made anew.
    local function meanwhile(act)
      local lock = core.files.lock
      finally(function() core.files.lock = lock end)
      core.files.lock = function(...)
        core.files.lock = lock
        t.sh("rm -r " .. root .. "/box")
        act()
        return lock(...)
      end
    end

    it("is not there", function()
      new("box"):unlock()
      meanwhile(function() end)
      assert.equal(errno.ENOENT, select(3, state.open(root, "box"):lock(0.1)))
    end)

    it("is the new one of its name", function()
      new("box"):unlock()
      local made
      meanwhile(function() made = new("box", { pid = 77 }); made:unlock() end)
      local dir = state.open(root, "box")
      assert.is_true(dir:lock(0.1))
      assert.equal(1, core.files.stat(dir.fd).links > 0 and 1 or 0)
      assert.equal(77, dir:load().pid)
      dir:unlock()
    end)

    it("is made again", function()
      meanwhile(function() end)
      local dir = assert(state.create(root, "box"))
      assert.equal("creating", assert(state.open(root, "box")):load().status)
      dir:unlock()
    end)

    it("is another's who was faster", function()
      meanwhile(function() new("box"):unlock() end)
      assert.equal(errno.EEXIST, select(3, state.create(root, "box")))
    end)
  end)

  it("is never seen half by a reader", function()
    new("box"):unlock()
    local code = ([[
      local dir = require("caisson.state").open(%q, "box")
      assert(dir:lock(5))
      local core = require "caisson.core"
      local stop, i = core.now() + 0.7e9, 0
      while core.now() < stop or i < 40 do -- a busy machine's disk is slow
        i = i + 1
        assert(dir:save { status = "running", bundle = ("b"):rep(i * 37 %% 60000), created = tostring(i * 37 %% 60000) })
      end
      io.write(i)]]):format(root)
    local p = io.popen(t.lua_command(code), "r")
    local dir, seen, stop = state.open(root, "box"), {}, core.now() + 0.9e9
    local reads, n = 0, 0
    while core.now() < stop or n <= 10 and core.now() < stop + 20e9 do
      local s = assert(dir:load())
      if tonumber(s.created) then assert.equal(tonumber(s.created), #s.bundle) end
      local key = s.created or ""
      if not seen[key] then n = n + 1 end
      seen[key], reads = true, reads + 1
    end
    assert.truthy(tonumber(p:read("*a")) > 20)
    p:close()
    assert.truthy(n > 10, n .. " states seen in " .. reads)
  end)

  describe("that is damaged", function()
    local function load(text)
      write("box", text)
      return state.open(root, "box"):load()
    end

    local function text_of()
      new("box"):unlock()
      return t.read_file(root .. "/box/state.json")
    end

    it("is an error wherever it is cut off, that says so", function()
      local text = text_of()
      for n = 0, #text - 3 do
        local ok, message, number = load(text:sub(1, n))
        assert.same({ nil, errno.EBADMSG }, { ok, number }, n)
        assert.truthy(message:find("the state of container 'box' (" .. root, 1, true), message)
      end
      assert.truthy(load(text:sub(1, -2)))
    end)

    it("is an error, or a state, with any bit flipped; never more than that", function()
      local text = text_of()
      for i = 1, #text do
        for bit = 0, 7 do
          local c = text:byte(i)
          local flipped = math.floor(c / 2 ^ bit) % 2 == 1 and c - 2 ^ bit or c + 2 ^ bit
          local s, message, number = state.parse(text:sub(1, i - 1) .. string.char(flipped) .. text:sub(i + 1), "box")
          if s then
            assert.same({ 1, "box", "number" }, { s.version, s.id, type(s.pid or 0) })
          else
            assert.truthy(message)
            assert.truthy(number == errno.EBADMSG or number == errno.EPROTONOSUPPORT, message)
          end
        end
      end
    end)

    it("is an error with a value of a wrong type or size, that names the field", function()
      text_of()
      for field, values in pairs {
        version = { '"1"', "0", "-1", "1.5", "null", "{}", "1e300" },
        id = { "7", '"other"', "null", "[]" },
        status = { '"dead"', "1", "[]" },
        pid = { "0", "-1", "1.5", "1e9", '"1"', "true", "null", "nan" },
        start_time = { "-1", '"x"', "1e300" },
        annotations = { '"x"', "[1]", '{"a":1}', '{"a":{}}' },
        cgroup = { "1", '"x"', "true" }, namespaces = { "1", "[1]" }, options = { "[1]", "0" },
        recipe = { '"x"' }, hooks = { "1", "[1]" }, rdt = { "{}", "1" }, ended = { "1", '{"code":"1"}' }, bundle = { "7" }, created = { "{}" },
      } do
        for _, value in ipairs(values) do
          local base = { version = "1", id = '"box"', status = '"running"', pid = "5", start_time = "6" }
          base[field] = value
          local parts = {}
          for k, v in pairs(base) do parts[#parts + 1] = ('"%s":%s'):format(k, v) end
          local ok, message, number = load("{" .. table.concat(parts, ",") .. "}")
          assert.same({ nil, errno.EBADMSG }, { ok, number }, field .. " = " .. value)
          assert.truthy(message:find(field, 1, true), message)
        end
      end
      assert.truthy(select(2, load('{"version":1,"id":"box"}')):find("'status' is missing", 1, true))
      assert.truthy(select(2, load('{"version":1,"id":"box","status":"running","pid":5}')):find("without 'start_time'", 1, true))
      assert.truthy(select(2, load("[]")):find("version", 1, true))
      assert.truthy(select(2, load("7")):find("no JSON object", 1, true))
      assert.equal(errno.EBADMSG, select(3, load(("["):rep(100000))))
    end)

    it("is an error if it is of a later version, that says so", function()
      text_of()
      local ok, message, number = load('{"version":2,"id":"box","status":"running"}')
      assert.same({ nil, errno.EPROTONOSUPPORT }, { ok, number })
      assert.truthy(message:find("of version 2, made by a later caisson; this one knows up to 1", 1, true), message)
    end)

    it("is an error if it is huge, a symlink, a directory or a fifo", function()
      text_of()
      local file = root .. "/box/state.json"
      t.sh("truncate -s 17M " .. file)
      assert.equal(errno.EBADMSG, select(3, state.open(root, "box"):load()))
      t.sh("truncate -s 100G " .. file)
      assert.equal(errno.EBADMSG, select(3, state.open(root, "box"):load()))
      t.sh(("rm %s; ln -s /etc/passwd %s"):format(file, file))
      assert.equal(errno.ELOOP, select(3, state.open(root, "box"):load()))
      t.sh(("rm %s; mkfifo %s"):format(file, file))
      assert.equal(errno.EBADMSG, select(3, state.open(root, "box"):load()))
      t.sh(("rm %s; mkdir %s"):format(file, file))
      assert.equal(errno.EBADMSG, select(3, state.open(root, "box"):load()))
      local dir = state.open(root, "box")
      assert(dir:lock(0))
      assert.is_true(dir:remove()) -- and can be removed all the same
    end)

    it("tells what it still holds, cut off anywhere behind it", function()
      local text = text_of()
      local dir = state.open(root, "box")
      local had = 0
      for n = 0, #text do
        write("box", text:sub(1, n))
        local s = dir:salvage()
        assert.truthy(s.pid == nil and s.start_time == nil or s.pid == 4321 and s.start_time == 987654)
        if s.pid then had = had + 1 end
        if n > 300 then assert.same({ pid = 4321, start_time = 987654, cgroups = { "/sys/fs/cgroup/pids/box" } }, s, n) end
      end
      assert.truthy(had > 100)
      write("box", '{"pid": 12, "start_time": 7, "cgroup": ["/sys/fs/cgroup/../../etc", "/sys/fs/cgroup/ok"] ')
      assert.same({ pid = 12, start_time = 7, cgroups = { "/sys/fs/cgroup/ok" } }, dir:salvage())
    end)
  end)

  it("leaves no descriptor", function()
    new("box"):unlock()
    local before = t.count_fds()
    for _ = 1, 3 do
      local dir = state.open(root, "box")
      dir:load()
      state.create(root, "box")
      state.open(root, "none")
      state.list(root)
      dir:lock()
      dir:load()
      dir:salvage()
      dir:unlock()
    end
    assert.equal(before, t.count_fds())
  end)
end)
