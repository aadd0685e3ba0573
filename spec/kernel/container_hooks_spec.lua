-- Hooks of a container that one process creates, another starts and a third one deletes.
local t = require "support"
local caisson = require "caisson"
local core = t.core

if not t.needs("userns") then return end

local root = t.sh("mktemp -d"):match("%S+")
local out = t.sh("mktemp -d"):match("%S+")
os.execute("chmod 777 " .. out) -- the payload is nobody's
local file = out .. "/recipe.lua"
local number = 0
local kinds = { "user", "mnt", "pid", "net", "ipc", "uts", "cgroup", "time" }
local points = { "prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop" }

local function new_id()
  number = number + 1
  return ("hooks%d-%d"):format(t.getpid(), number)
end

local function write(path, text)
  local f = assert(io.open(path, "w"))
  f:write(text)
  f:close()
end

-- A recipe file whose container has the folder `out` in it, writable, under its own name. more: options.
local function recipe_file(more)
  write(file, ([[
local caisson = require "caisson"
local out = %q
-- Adds a line to out/NAME: what a hook can see from where it runs.
local function note(name, state)
  local inodes = {}
  for i, kind in ipairs { "user", "mnt", "pid", "net", "ipc", "uts", "cgroup", "time" } do
    inodes[i] = caisson.core.lstat("/proc/self/ns/" .. kind).target
  end
  local f = assert(io.open(out .. "/" .. name, "a"))
  f:write(table.concat(inodes, " "), " ", state.status, " ", tostring(state.pid), " ", state.id, " ",
    state.annotations.note or "-", " ", caisson.core.lstat("/proc/self/root").target or "?", "\n")
  f:close()
end
local function hook(name) return function(state) note(name, state) end end
return caisson.recipe {
  extends = "sandbox",
  params = { word = { "string", default = "none" } },
  build = function(p)
    return {
      args = { "/bin/sh", "-c", "for k in user mnt pid net ipc uts cgroup time; do readlink /proc/self/ns/$k; done > " ..
        out .. "/payload; uname -n > " .. out .. "/name; sleep 30" },
      namespaces = { time = true }, annotations = { note = p.word },
      mounts = { { bind = out, writable = true } },
      %s
    }
  end,
}
]]):format(out, more or [[
      hooks = { prestart = hook "prestart", createRuntime = hook "createRuntime", createContainer = hook "createContainer",
        startContainer = hook "startContainer", poststart = hook "poststart", poststop = hook "poststop" },]]))
end

-- In a process of its own.
local function other(code)
  return t.sh("exec 2>&1; " .. t.lua_command(([[
    local caisson, core, root = require "caisson", require "caisson.core", %q
    ]]):format(root) .. code))
end

local function create(id, params)
  return other(([[
    local r = assert(caisson.load(%q))
    local c, message = caisson.create(r, { id = %q, root = root, stdin = "null", stdout = "null", stderr = "null",
      params = %s })
    print(c and c:state().status or message)]]):format(file, id, params or "nil"))
end

local function start(id)
  return other(([[
    local c = assert(caisson.open(%q, { root = root }))
    local ok, message, errno = c:start()
    print(ok and "started" or message)
    for _, w in ipairs(c.warnings) do print(w) end]]):format(id))
end

local function delete(id)
  return other(([[
    local ok, list = require("caisson.container").delete(%q, { root = root, force = true })
    print(ok and "deleted" or list)
    for _, w in ipairs(ok and list or {}) do print(w) end]]):format(id))
end

local function noted(name)
  local text = t.read_file(out .. "/" .. name)
  os.remove(out .. "/" .. name)
  return text
end

local function eventually(check)
  for _ = 1, 300 do
    local v = check()
    if v then return v end
    core.poll({}, 0.01)
  end
end

local function words(text)
  local list = {}
  for w in (text or ""):gmatch("%S+") do list[#list + 1] = w end
  return list
end

describe("Hooks of a container", function()
  after_each(function()
    for _, id in ipairs(core.list(root)) do
      require("caisson.container").delete(id, { root = root, force = true })
    end
    os.execute("rm -rf " .. out .. "/*")
  end)
  teardown(function() os.execute("rm -rf " .. root .. " " .. out) end)

  it("that are functions run at all six points, in three processes, in the right namespaces", function()
    recipe_file()
    local id = new_id()
    assert.equal("created\n", create(id, "{ word = 'kept' }"))
    local pid = assert(caisson.open(id, { root = root })):state().pid
    local seen = {}
    for _, point in ipairs { "prestart", "createRuntime", "createContainer" } do seen[point] = words(noted(point)) end
    assert.is_nil(noted "startContainer")
    assert.equal("started\n", start(id))
    local payload = eventually(function()
      local w = words(t.read_file(out .. "/payload"))
      return #w == 8 and w
    end)
    for _, point in ipairs { "startContainer", "poststart" } do seen[point] = words(noted(point)) end
    assert.is_nil(noted "poststop")
    assert.equal("deleted\n", delete(id))
    seen.poststop = words(noted "poststop")

    local inside = { createContainer = true, startContainer = true }
    local status = { prestart = "created", createRuntime = "created", createContainer = "created",
      startContainer = "created", poststart = "running", poststop = "stopped" }
    for i, kind in ipairs(kinds) do
      local host = t.namespace(kind)
      if kind ~= "user" or not t.is_root then assert.is_not.equal(host, payload[i], kind) end
      for _, point in ipairs(points) do
        if not (kind == "time" and point == "createContainer") then -- see the next
          assert.equal(inside[point] and payload[i] or host, seen[point][i], point .. " " .. kind)
        end
      end
    end
    -- a time namespace is entered by exec: before that the fork is still in the host's, as unshare(2) has it
    assert.equal(t.namespace "time", seen.createContainer[8])
    for _, point in ipairs(points) do
      local w = seen[point]
      assert.same({ status[point], inside[point] and "1" or point ~= "poststop" and tostring(pid) or "nil", id, "kept" },
        { w[9], w[10], w[11], w[12] }, point)
    end
  end)

  it("at startContainer have the container's root, and what it may do there", function()
    recipe_file [[
      hostname = "before",
      hooks = { startContainer = function()
        assert(not io.open(%ROOT%), "the host's folder is seen")
        assert(caisson.core.hostname "after")
        note("startContainer", { status = "x", id = "x", annotations = {} })
      end },]]
    local text = t.read_file(file):gsub("%%ROOT%%", function() return ("%q"):format(root) end)
    write(file, text)
    local id = new_id()
    assert.equal("created\n", create(id))
    local before = t.read_file("/proc/sys/kernel/hostname")
    assert.equal("started\n", start(id))
    assert.is_not_nil(noted "startContainer")
    assert.equal(before, t.read_file("/proc/sys/kernel/hostname"))
    assert.equal("after\n", eventually(function()
      local name = t.read_file(out .. "/name")
      return name ~= "" and name
    end))
    -- the fork is gone
    assert.is_true(eventually(function() return #assert(caisson.open(id, { root = root })):ps() == 3 end))
  end)

  it("that are commands run there too, and find the state on their standard input", function()
    recipe_file(([[
      hooks = {
        startContainer = { path = "/bin/sh", args = { "sh", "-c", "cat > %s/in; readlink /proc/self/ns/pid >> %s/in" } },
        poststart = { path = "/bin/sh", args = { "sh", "-c", "cat > %s/post" } },
        poststop = { path = "/bin/sh", args = { "sh", "-c", "cat > %s/stop" } },
      },]]):format(out, out, out, out))
    local id = new_id()
    assert.equal("created\n", create(id))
    local pid = assert(caisson.open(id, { root = root })):state().pid
    local ns = t.namespace("pid", pid)
    os.remove(file) -- commands are saved
    assert.equal("started\nthe recipe " .. file .. " is gone\n", start(id))
    assert.equal(('{"ociVersion":"1.2.0","id":"%s","status":"created","pid":1,"bundle":"/","annotations":{"note":"none"}}%s\n')
      :format(id, ns), noted "in")
    assert.matches('"status":"running","pid":' .. pid, noted "post")
    assert.equal("deleted\nthe recipe " .. file .. " is gone\n", delete(id))
    assert.matches('"status":"stopped","bundle"', noted "stop")
  end)

  it("that fail at startContainer and poststart end the container, and are named", function()
    for _, point in ipairs { "startContainer", "poststart" } do
      recipe_file(([[hooks = { %s = { function() end, function() return nil, "not today" end } },]]):format(point))
      local id = new_id()
      assert.equal("created\n", create(id))
      assert.equal(("hooks.%s[2]: not today\n"):format(point), start(id))
      local c = assert(caisson.open(id, { root = root }))
      assert.equal("stopped", c:state().status)
      assert.equal("deleted\n", delete(id))
    end
  end)

  it("at poststart keep nobody from working on the container", function()
    recipe_file(([[hooks = { poststart = function()
        io.open("%s/entered", "w"):close()
        while not caisson.core.lstat "%s/go" do caisson.core.poll({}, 0.01) end
        return nil, "too late"
      end },]]):format(out, out))
    local id = new_id()
    assert.equal("created\n", create(id))
    t.sh("{ " .. t.lua_command(([[
      local c = assert(require "caisson".open(%q, { root = %q }))
      print(select(2, c:start()))]]):format(id, root)) .. "; } > " .. out .. "/said 2>&1 &")
    assert.truthy(eventually(function() return core.lstat(out .. "/entered") end))
    local c = assert(caisson.open(id, { root = root }))
    assert.equal("running", c:state().status)
    assert.equal("deleted\n", delete(id))
    assert.same({}, core.list(root))
    os.execute("touch " .. out .. "/go")
    assert.truthy(eventually(function() return (t.read_file(out .. "/said") or ""):find("poststart[1]: too late", 1, true) end),
      t.read_file(out .. "/said"))
    assert.same({}, core.list(root))
    c:close()
  end)

  it("that fail while it is created leave nothing", function()
    recipe_file [[hooks = { createContainer = function() return nil, "never" end },]]
    local id = new_id()
    assert.matches("hooks.createContainer%[1%]: never", create(id))
    assert.same({}, core.list(root))
  end)

  it("that fail at poststop are said, and the others run", function()
    recipe_file [[hooks = { poststop = { function() error("oh", 0) end, hook "poststop" } },]]
    local id = new_id()
    assert.equal("created\n", create(id))
    assert.equal("deleted\nhooks.poststop[1]: oh\n", delete(id))
    assert.is_not_nil(noted "poststop")
  end)

  it("are not found in a recipe that has changed: start refuses, delete goes on and says so", function()
    recipe_file()
    local id = new_id()
    assert.equal("created\n", create(id))
    local f = assert(io.open(file, "a"))
    f:write("-- changed\n")
    f:close()
    assert.equal("its hooks that are functions can't be found again: the recipe " .. file ..
      " has changed since the container was created\n", start(id))
    assert.is_nil(noted "startContainer")
    assert.equal("created", assert(caisson.open(id, { root = root })):state().status)
    assert.equal("deleted\nthe recipe " .. file .. " has changed since the container was created\n", delete(id))
    assert.is_not_nil(noted "poststop")
    assert.same({}, core.list(root))
  end)

  it("are not found where a recipe that it extends has changed", function()
    local base = out .. "/base.lua"
    write(base, [[return require("caisson").recipe { extends = "sandbox" }]])
    recipe_file()
    local text = t.read_file(file):gsub('extends = "sandbox"', function() return ("extends = %q"):format(base) end)
    write(file, text)
    local id = new_id()
    assert.equal("created\n", create(id))
    write(base, [[return require("caisson").recipe { extends = "sandbox", umask = "077" }]])
    assert.matches("the recipe " .. base:gsub("%p", "%%%0") .. " has changed", start(id))
    assert.matches("^deleted\nthe recipe " .. base:gsub("%p", "%%%0") .. " has changed", delete(id))
  end)

  it("of a recipe that is in no file are those of its process alone", function()
    local id = new_id()
    local code = ([[
      local r = caisson.recipe { extends = "sandbox", args = { "/bin/sleep", "30" }, hooks = {
        startContainer = function() end, poststop = function() end } }
      local c = assert(caisson.create(r, { id = %q, root = root, stdin = "null", stdout = "null", stderr = "null" }))
      if %%s then assert(c:start()) print(c:state().status) print(c:delete { force = true }) end]]):format(id)
    assert.matches("^running\ntrue\t", other(code:format("true")))
    assert.equal("", other(code:format("false")))
    assert.equal("its hooks that are functions can't be found again: the recipe is not from a file\n", start(id))
    assert.equal("deleted\nthe recipe is not from a file\nhooks.poststop[1]: the function is not found\n", delete(id))
    assert.same({}, core.list(root))
  end)

  it("keep their own limits of time, and leave no process behind", function()
    recipe_file [[hooks = { startContainer = { path = "/bin/sleep", args = { "sleep", "30" }, timeout = 0.1 } },]]
    local id = new_id()
    assert.equal("created\n", create(id))
    local pid = assert(caisson.open(id, { root = root })):state().pid
    assert.equal("hooks.startContainer[1]: /bin/sleep: no end within its limit of 0.1 s\n", start(id))
    assert.equal("stopped", assert(caisson.open(id, { root = root })):state().status)
    assert.is_true(eventually(function() return not core.lstat("/proc/" .. pid .. "/exe") end))
  end)
end)
