local t = require "support"
local caisson = require "caisson"

local function recipe(options)
  local def = { namespaces = { uts = true } }
  for k, v in pairs(options or {}) do def[k] = v end
  return caisson.recipe(def)
end

local function sh(script, opts, options)
  local o = { args = { "/bin/sh", "-c", script }, stdin = "null", stdout = "capture", stderr = "capture" }
  for k, v in pairs(opts or {}) do o[k] = v end
  return caisson.run(recipe(options), o)
end

describe("caisson.run", function()
  it("tells the exit code, and the clock starts at exec", function()
    local r = assert(sh "echo out; echo err >&2; exit 3")
    assert.equal("exited", r.status)
    assert.equal(3, r.code)
    assert.equal("out\n", r.stdout)
    assert.equal("err\n", r.stderr)
    assert.truthy(r.wall_ns > 0 and r.setup_ns > 0)
    assert.falsy(r.oom)
  end)

  it("tells the signal", function()
    local r = assert(sh "kill -TERM $$")
    assert.same({ "signalled", 15 }, { r.status, r.signal })
  end)

  it("ends a program at its time limit, and all that it counts is the program's", function()
    local r = assert(sh("sleep 30", nil, { limits = { time = 0.2 } }))
    assert.equal("time_limit", r.status)
    assert.truthy(r.wall_ns >= 0.2e9 and r.wall_ns < 5e9)
    r = assert(sh("sleep 0.1", nil, { limits = { time = 20 } }))
    assert.equal("exited", r.status)
  end)

  it("ends a program at its CPU limit", function()
    local r = assert(sh("while :; do :; done", nil, { rlimits = { cpu = { 1, 2 } } }))
    assert.equal("time_limit", r.status)
    -- the limit is counted in ticks of the sampling clock, the usage exactly
    assert.truthy(r.cpu_ns > 0.5e9 and r.cpu_ns < 2e9)
  end)

  it("cuts the output at its limit", function()
    local r = assert(sh("while :; do echo 0123456789; done", nil, { limits = { output = 1000 } }))
    assert.equal("output_limit", r.status)
    assert.equal(1000, #r.stdout)
    r = assert(sh("printf %1000s x", nil, { limits = { output = 1000 } }))
    assert.equal("exited", r.status)
  end)

  it("hands chunks to a function, and both streams to one", function()
    local chunks = {}
    local r = assert(sh("echo a; echo b >&2", { stdout = function(s) chunks[#chunks + 1] = s end,
      stderr = "stdout" }))
    assert.equal("a\nb\n", table.concat(chunks))
    assert.is_nil(r.stdout)
  end)

  it("reads data, files and descriptors, and writes files", function()
    assert.equal("fed", assert(sh("cat", { stdin = { data = "fed" } })).stdout)
    local file = os.tmpname()
    assert(sh("echo one", { stdout = { file = file } }))
    assert(sh("echo two", { stdout = { file = file, append = true } }))
    assert.equal("one\ntwo\n", t.read_file(file))
    assert.equal("one\ntwo\n", assert(sh("cat", { stdin = { file = file } })).stdout)
    local fd = assert(t.core.open(file))
    assert.equal("one\ntwo\n", assert(sh("cat", { stdin = fd })).stdout)
    os.remove(file)
    local r, message = sh("cat", { stdin = { file = "/no/such" } })
    assert.is_nil(r)
    assert.equal("open /no/such: No such file or directory (ENOENT)", message)
  end)

  it("leaves the program nothing but its three descriptors", function()
    local spare = assert(t.core.open("/etc/passwd"))
    assert.equal("0 1 2 3 ", assert(sh("for f in /proc/self/fd/*; do printf '%s ' ${f##*/}; done",
      { args = { "/bin/sh", "-c", "ls /proc/self/fd | tr '\\n' ' '" } })).stdout)
    spare:close()
  end)

  it("gives a pipe to the caller, and can be polled by anyone", function()
    local running = assert(caisson.start(recipe(), { args = { "/bin/cat" }, stdin = "pipe", stdout = "capture" }))
    assert(running.stdin:write("through"))
    running.stdin:close()
    local result
    repeat
      assert(t.core.poll(running:fds(), running:timeout()))
      result = running:step()
    until result
    assert.equal("through", result.stdout)
  end)

  it("says what failed: step, index, object, errno, and the recipe's line", function()
    local r, message, errno, failure = sh("true", nil, { hostname = ("x"):rep(65) })
    assert.is_nil(r)
    assert.truthy(message:find("hostname[1] xxx", 1, true))
    assert.equal(22, errno)
    assert.equal("EINVAL", failure.code)
    assert.equal("system", failure.phase)
    assert.truthy(failure.at:match("run_spec%.lua:%d+"))
  end)

  it("leaves neither descriptors nor children, whatever happens", function()
    sh "true"
    local fds, children = t.count_fds(), t.count_children()
    for _ = 1, 5 do
      sh "true"
      sh("true", nil, { hostname = ("x"):rep(65) })
      sh("sleep 30", nil, { limits = { time = 0.01 } })
      caisson.run(recipe(), { args = { "/no/such/program" } })
      caisson.start(recipe(), { args = { "/bin/sleep", "30" } }):close()
    end
    assert.equal(fds, t.count_fds())
    assert.equal(children, t.count_children())
  end)
end)

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
    assert.same({ "prestart:creating:true", "createRuntime:creating:true", "poststart:running:true",
      "poststop:stopped:true" }, seen)
    assert.equal("createContainer:creating:false\nstartContainer:created:false\n", t.slurp(r))
    r:close()
  end)

  it("that fail stop construction, with their traceback", function()
    for _, point in ipairs { "prestart", "createRuntime", "createContainer", "startContainer" } do
      local r, message, _, failure = sh("true", nil, { hooks = { [point] = function() error("veto from " .. point) end } })
      assert.is_nil(r)
      assert.truthy(message:find("hooks." .. point .. "[1]", 1, true), message)
      assert.truthy(message:find("run_spec.lua:%d+: veto from " .. point), message)
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
    assert.truthy(text:match('^{"ociVersion":"1%.2%.0","id":"","status":"creating","pid":%d+,'), text)
    assert.truthy(text:match("}HOOK=1\n") or text:match("}\nHOOK=1\n"), text)
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
