local t = require "support"
local caisson = require "caisson"

local function sh(script, opts, options)
  local def = { namespaces = { uts = true } }
  for k, v in pairs(options or {}) do def[k] = v end
  local o = { args = { "/bin/sh", "-c", script }, stdin = "null", stdout = "capture", stderr = "capture" }
  for k, v in pairs(opts or {}) do o[k] = v end
  return caisson.run(caisson.recipe(def), o)
end

describe("hooks", function()
  local function ns(name) return t.sh("readlink /proc/self/ns/" .. name) end

  it("run at their points, in order, with upvalues, in the right namespaces", function()
    local seen, r, w = {}, t.core.pipe()
    local host = ns "uts"
    local function out_here(point)
      return function(state) seen[#seen + 1] = point .. ":" .. state.status .. ":" .. tostring(ns "uts" == host) end
    end
    local function in_there(point)
      return function(state)
        -- the child's copy of `seen` is its own; it tells through the pipe
        w:write(point .. ":" .. state.status .. ":" .. tostring(ns "uts" == host) .. "\n")
      end
    end
    local result = assert(sh("true", nil, { hooks = {
      prestart = out_here "prestart", createRuntime = { out_here "createRuntime" },
      createContainer = in_there "createContainer", startContainer = in_there "startContainer",
      poststart = out_here "poststart", poststop = out_here "poststop" } }))
    w:close()
    assert.equal("exited", result.status)
    assert.same({ "prestart:created:true", "createRuntime:created:true", "poststart:running:true",
      "poststop:stopped:true" }, seen)
    assert.equal("createContainer:created:false\nstartContainer:created:false\n", t.slurp(r))
    r:close()
  end)

  it("see all eight namespaces as documented", function()
    if not t.needs "userns" then return end
    local kinds = { "user", "mnt", "pid", "net", "ipc", "uts", "cgroup", "time" }
    local function inodes()
      local list = {}
      for i, k in ipairs(kinds) do list[i] = t.core.lstat("/proc/self/ns/" .. k).target end
      return table.concat(list, " ")
    end
    local host, seen, r, w = inodes(), {}, t.core.pipe()
    local function out_here(point) return function() seen[point] = inodes() end end
    local function in_there() w:write(inodes() .. "\n") end
    local result = assert(sh("for n in user mnt pid net ipc uts cgroup time; do printf '%s ' $(readlink /proc/self/ns/$n); done",
      nil, { namespaces = { user = true, mount = true, pid = true, net = true, ipc = true, uts = true, cgroup = true, time = true },
      idmap = t.is_root and { uid = { { 0, 100000, 65536 } }, gid = { { 0, 100000, 65536 } } } or nil,
      mounts = { { bind = "/usr" }, { bind = "/bin" }, { bind = "/lib" }, { bind = "/lib64", optional = true }, { proc = "/proc" } },
      hooks = { prestart = out_here "prestart", createRuntime = out_here "createRuntime", createContainer = in_there,
        startContainer = in_there, poststart = out_here "poststart", poststop = out_here "poststop" } }))
    w:close()
    for _, point in ipairs { "prestart", "createRuntime", "poststart", "poststop" } do
      assert.equal(host, seen[point], point)
    end
    local payload = (result.stdout:gsub("%s+$", ""))
    for word in payload:gmatch("%S+") do assert.falsy(host:find(word, 1, true), word) end
    local create, start = t.slurp(r):match("^(.-)\n(.-)\n$")
    r:close()
    -- the time namespace is entered by exec
    assert.equal(payload:gsub(" time:%S+$", ""), (create:gsub(" time:%S+$", "")))
    assert.equal(payload:gsub(" time:%S+$", ""), (start:gsub(" time:%S+$", "")))
  end)

  it("can change what comes next: startContainer mounts, and the program sees it", function()
    if not t.needs "userns" then return end
    local result = assert(caisson.run(caisson.recipe { extends = "sandbox", hooks = {
      startContainer = function()
        assert(t.core.mount.tmpfs { target = "/tmp", size = 65536 })
        local f = assert(io.open("/tmp/note", "w"))
        f:write("left by a hook\n")
        f:close()
      end } }, { args = { "/bin/cat", "/tmp/note" }, stdout = "capture" }))
    assert.equal("left by a hook\n", result.stdout)
  end)

  it("that fail stop construction, with their traceback", function()
    for _, point in ipairs { "prestart", "createRuntime", "createContainer", "startContainer" } do
      local r, message, _, failure = sh("true", nil, { hooks = { [point] = function() error("veto from " .. point) end } })
      assert.is_nil(r)
      assert.truthy(message:find("hooks." .. point .. "[1]", 1, true), message)
      assert.truthy(message:find("hooks_spec.lua:%d+: veto from " .. point), message)
      assert.equal("lua", failure.step)
      r, message = sh("true", nil, { hooks = { [point] = function() return nil, "not today", 1 end } })
      assert.is_nil(r)
      assert.truthy(message:find("not today: Operation not permitted (EPERM)", 1, true), message)
    end
  end)

  it("are commands too, with the state on stdin and only their own environment", function()
    local out = os.tmpname()
    local result = assert(sh("true", nil, { hooks = { createRuntime = {
      { path = "/bin/sh", args = { "sh", "-c", "cat >" .. out .. "; echo; tr '\\0' '\\n' </proc/self/environ >>" .. out },
        env = { "HOOK=1" } } } } }))
    assert.equal("exited", result.status)
    local text = t.read_file(out)
    os.remove(out)
    assert.truthy(text:match('^{"ociVersion":"1%.2%.0","id":"","status":"created","pid":%d+,'), text)
    assert.truthy(text:match("}HOOK=1\n") or text:match("}\nHOOK=1\n"), text)
  end)

  it("that are commands run in /, wherever the caller is", function()
    local out = os.tmpname()
    assert(sh("true", nil, { hooks = { createRuntime = { path = "/bin/sh", args = { "sh", "-c", "pwd >" .. out } } } }))
    assert.equal("/\n", t.read_file(out))
    os.remove(out)
  end)

  it("that are commands run in their dir", function()
    local out = os.tmpname()
    local function hook(dir) return { path = "/bin/sh", args = { "sh", "-c", "pwd -P >" .. out }, dir = dir } end
    assert(sh("true", nil, { hooks = { createRuntime = hook "/usr/bin" } }))
    assert.equal("/usr/bin\n", t.read_file(out))
    os.remove(out)
    local r, message, errno = sh("true", nil, { hooks = { createRuntime = hook "/nonexistent" } })
    assert.is_nil(r)
    assert.matches("/bin/sh: dir .*chdir%[1%] /nonexistent: .*No such file", message)
    assert.equal(t.core.errno.ENOENT, errno)
    for dir, why in pairs { usr = "option 'dir': an absolute path expected", [5] = "option 'dir': string expected" } do
      local _, text = caisson.recipe({ namespaces = {}, hooks = { prestart = hook(dir) } }):build { args = { "x" } }
      assert.truthy(text:find("hooks.prestart[1]: " .. why, 1, true), text)
    end
  end)

  it("that are commands fail with their output, and end at their time limit with all they started", function()
    local r, message = sh("true", nil, { hooks = { createRuntime = {
      { path = "/bin/sh", args = { "sh", "-c", "echo bad disk >&2; exit 4" } } } } })
    assert.is_nil(r)
    assert.truthy(message:find("/bin/sh: exit status 4: bad disk", 1, true), message)
    local before = t.core.now()
    local sleep = "sleep 61." .. t.getpid() -- of this run of the specs alone
    r, message = sh("true", nil, { hooks = { createContainer = {
      { path = "/bin/sh", args = { "sh", "-c", sleep .. " & " .. sleep }, timeout = 0.2 } } } })
    assert.is_nil(r)
    assert.truthy(message:find("/bin/sh: no end within its limit of 0.2 s", 1, true), message)
    assert.truthy(t.core.now() - before < 10e9)
    assert.equal("", t.sh("pgrep -f '^" .. sleep .. "$'"))
  end)

  it("that are functions end at their time limit", function()
    local r, message = sh("true", nil, { hooks = { createRuntime = {
      call = function() while true do end end, timeout = 0.1 } } })
    assert.is_nil(r)
    assert.truthy(message:find("no end within its limit of 0.1 s", 1, true), message)
  end)

  it("are refused when they are none", function()
    local function why(hooks)
      local ok, message = caisson.recipe({ namespaces = {}, hooks = hooks }):build { args = { "x" } }
      assert.is_nil(ok)
      return message
    end
    assert.truthy(why({ createRunime = print }):find("unknown point 'createRunime' (did you mean 'createRuntime'?)", 1, true))
    assert.truthy(why({ poststop = { { path = "rel" } } }):find("hooks.poststop[1]: option 'path': an absolute path expected", 1, true))
    assert.truthy(why({ poststop = { { pth = "/x" } } }):find("unknown option 'pth' (did you mean 'path'?)", 1, true))
  end)

  it("after the start that fail end the container", function()
    local r, message = sh("sleep 30", nil, { hooks = { poststart = function() error "no" end } })
    assert.is_nil(r)
    assert.truthy(message:match("^hooks%.poststart%[1%]: .*no$"), message)
    r = assert(sh("true", nil, { hooks = { poststop = function() error "late" end } }))
    assert.truthy(r.poststop_errors[1]:match("^hooks%.poststop%[1%]: .*late$"))
  end)
end)
