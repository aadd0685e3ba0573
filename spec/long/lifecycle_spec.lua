-- Many processes at many containers at once, and commands that are killed at any instant: nothing is left,
-- and what is left can be deleted.
local t = require "support"
local lifecycle = require "support.lifecycle"
local core = t.core

local seconds = tonumber(os.getenv("CAISSON_SECONDS")) or 60

-- One of the processes: does what comes to its mind with any of 200 containers, through the library.
local worker = [[
local root, recipe_file, seed, seconds, out = %q, %q, %d, %g, %q
local caisson = require "caisson"
local core = caisson.core
math.randomseed(seed)
for _ = 1, 3 do math.random() end
local t = require "support"
local recipe = assert(caisson.load(recipe_file))
local counts, wrong, created = {}, {}, {}
local stop = core.now() + seconds * 1e9

-- What another of us may have done meanwhile.
local expected = {}
for _, name in ipairs { "ENOENT", "EEXIST", "ETIMEDOUT", "EBUSY", "ESRCH", "EINVAL", "ENODATA", "ENODEV", "EAGAIN",
  "ECANCELED", "EPERM", "ECHILD", "ECONNRESET", "ECONNREFUSED", "ESTALE", "EOPNOTSUPP" } do expected[core.errno[name] ] = name end

local function did(what, ok, message, number)
  local killed = not ok and tostring(message):find("killed by signal 9", 1, true)
  local key = what .. (ok and " ok" or killed and " killed" or " " .. (expected[number] or "?"))
  counts[key] = (counts[key] or 0) + 1
  if not ok and not killed and not expected[number] then wrong[#wrong + 1] = what .. ": " .. tostring(message) end
  return ok, message
end

local function opened(id, what, f)
  local c, message, number = caisson.open(id, { root = root })
  if not c then return did(what, nil, message, number) end
  local a, b, n = f(c)
  c:close()
  return did(what, a, b, n)
end

local acts = {
  function(id)
    local c, message, number = caisson.create(recipe, { id = id, root = root, args = { "/bin/sleep", "100" } })
    did("create", c, message, number)
    created[#created + 1] = c
  end,
  function(id) opened(id, "start", function(c) return c:start() end) end,
  function(id)
    opened(id, "exec", function(c)
      local r, message, number = c:exec({ args = { "/bin/true" } }, {})
      if not r then return nil, message, number end
      r:wait()
      return true
    end)
  end,
  function(id) opened(id, "pause", function(c) return c:pause() end) end,
  function(id) opened(id, "resume", function(c) return c:resume() end) end,
  function(id) opened(id, "kill", function(c) return c:kill("KILL", { all = math.random() < 0.5 }) end) end,
  function(id) opened(id, "delete", function(c) return c:delete { force = math.random() < 0.7 } end) end,
  function(id) opened(id, "state", function(c) return c:state() end) end,
  function() did("list", caisson.list { root = root }) end,
}
local weights = { 1, 1, 1, 2, 2, 3, 3, 3, 4, 5, 6, 7, 8, 9 }

for _, i in ipairs { 1, 2, 3, 4, 5, 8, 9 } do acts[i]("first" .. seed) end -- all modules are there, and what is made once
caisson.open("first" .. seed, { root = root }):delete { force = true }
created[1]:wait()
created[1]:close()
created[1] = nil
local before = t.count_fds()
local ok, raised = xpcall(function()
  while core.now() < stop do
    acts[weights[math.random(#weights)] ]("c" .. math.random(200))
  end
end, debug.traceback)
local text = {}
local f = { write = function(_, ...) for _, v in ipairs { ... } do text[#text + 1] = tostring(v) end end }
if not ok then f:write("raised: ", tostring(raised), "\n") end
for _, w in ipairs(wrong) do f:write("wrong: ", w, "\n") end
-- whom we made is our child still, and reaped by us
for _, c in ipairs(created) do
  c:kill("KILL", { all = true })
  if not c:wait(10) then f:write("no end: ", c.id, "\n") end
  c:close()
end
if t.count_children() > 0 then f:write("children: ", t.count_children(), "\n") end
local after = t.count_fds()
if after > before then
  f:write("descriptors: ", before, " before, ", after, " at the end:")
  for fd = 0, 100 do
    local at = core.lstat("/proc/self/fd/" .. fd)
    if at then f:write(" ", at.target) end
  end
  f:write("\n")
end
for k, v in pairs(counts) do f:write("did: ", k, " ", v, "\n") end
f = assert(io.open(out, "w"))
f:write(table.concat(text))
f:close()
]]

describe("200 containers", function()
  if not t.is_root and not t.needs("userns") then return end

  it("worked on by 8 processes at random leave nothing", function()
    local world = lifecycle.world()
    local mounts = t.read_file("/proc/self/mountinfo")
    local commands, temporary = {}, {}
    for i = 1, 8 do
      local command = t.lua_command(worker:format(world.root, world.box, i * 7919 + t.getpid(), seconds, world.dir .. "/w" .. i)):gsub(";.*", "")
      commands[i] = command .. " </dev/null >/dev/null 2>" .. world.dir .. "/e" .. i .. " &"
      temporary[i] = command:match("%S+$")
    end
    t.sh(table.concat(commands, "\n") .. "\nwait\nrm -f " .. table.concat(temporary, " "))
    local wrong, done = {}, {}
    for i = 1, 8 do
      local text = (t.read_file(world.dir .. "/w" .. i) or "no result\n") .. t.read_file(world.dir .. "/e" .. i)
      for line in text:gmatch("[^\n]+") do
        local what, n = line:match("^did: (.-) (%d+)$")
        if what then done[what] = (done[what] or 0) + tonumber(n) else wrong[#wrong + 1] = line end
      end
    end
    local left = world:close()
    if os.getenv("CAISSON_TELL") then
      for k, v in pairs(done) do io.stderr:write(k, " ", v, "\n") end
    end
    assert.same({}, wrong)
    for _, what in ipairs { "create", "start", "exec", "kill", "delete", "state", "list" } do
      assert.truthy((done[what .. " ok"] or 0) > 0, what .. " never succeeded")
    end
    assert.truthy(done["create EEXIST"] and done["delete ENOENT"] or seconds < 20)
    -- and so no namespaces either: processes, descriptors and mounts are what keeps them
    assert.same(lifecycle.nothing, left)
    assert.equal(mounts, t.read_file("/proc/self/mountinfo"))
  end)
end)

describe("A command that is killed", function()
  if not t.is_root and not t.needs("userns") then return end

  local world, mounts

  before_each(function()
    world = lifecycle.world()
    mounts = t.read_file("/proc/self/mountinfo")
  end)

  -- Begin a command, and kill it after so many seconds. Was it killed?
  local function kill_after(words, delay)
    local p = world:begin(words)
    core.poll({}, delay)
    p:kill "KILL"
    local status = p:wait()
    p:close()
    return status.signal == 9
  end

  -- How long a command takes when it is let.
  local function duration(words)
    local before = core.now()
    local p = world:begin(words)
    assert.equal(0, p:wait().code)
    p:close()
    return (core.now() - before) / 1e9
  end

  local function clean(what)
    world:run { "delete", "--force", "box" }
    local deadline = core.now() + 5e9
    while #world:processes() > 0 and core.now() < deadline do core.poll({}, 0.01) end
    assert.same({}, world:processes(), what .. ": processes")
    assert.equal("", world:groups(), what .. ": groups")
    assert.same({}, core.list(world.root) or {}, what .. ": states")
    assert.equal(mounts, t.read_file("/proc/self/mountinfo"), what .. ": mounts")
  end

  local create, start, delete = nil, { "start", "box" }, { "delete", "--force", "box" }

  local function tries(n, name, prepare, words)
    local whole = 1
    for _ = 1, 3 do -- the first may have more to do, or a busier machine
      prepare()
      whole = math.min(whole, duration(words))
      clean(name)
    end
    local killed = 0
    for i = 1, n do
      prepare()
      if kill_after(words, whole * i / n) then killed = killed + 1 end
      clean(("%s, killed after %d/%d of it"):format(name, i, n))
    end
    assert.truthy(killed > n / 3, ("%s: %d of %d were killed"):format(name, killed, n))
    assert.same(lifecycle.nothing, world:close())
  end

  it("while it creates leaves what can be deleted", function()
    create = { "create", "box", world.box, "out=" .. world.out, "--", "/bin/sh", "-c", "sleep 60 & sleep 60" }
    tries(30, "create", function() end, create)
  end)

  it("while it starts leaves what can be deleted", function()
    create = { "create", "box", world.box, "out=" .. world.out, "--", "/bin/sh", "-c", "sleep 60 & sleep 60" }
    tries(20, "start", function() world:ok((table.unpack or unpack)(create)) end, start) -- luacheck: ignore
  end)

  it("while it deletes leaves what can be deleted", function()
    create = { "create", "box", world.box, "out=" .. world.out, "--", "/bin/sh", "-c", "sleep 60 & sleep 60" }
    tries(20, "delete", function()
      world:ok((table.unpack or unpack)(create)) -- luacheck: ignore
      world:ok("start", "box")
    end, delete)
  end)

  it("while it creates leaves a name that can be used again", function()
    create = { "create", "box", world.box, "out=" .. world.out, "--", "/bin/sleep", "60" }
    local whole = duration(create)
    clean "create"
    for i = 1, 10 do
      kill_after(create, whole * i / 11)
      if not core.lstat(world.root .. "/box/state.json") or
          t.read_file(world.root .. "/box/state.json"):find('"status": "creating"', 1, true) then
        local deadline = core.now() + 3e9 -- what dies with its maker needs a moment
        local r
        repeat r = world:run(create) until r.code == 0 or core.now() > deadline
        assert.equal(0, r.code, r.err)
      end
      clean("created again after " .. i)
    end
    assert.same(lifecycle.nothing, world:close())
  end)
end)
