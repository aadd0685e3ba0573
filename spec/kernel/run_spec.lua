local t = require "support"
local caisson = require "caisson"
local core = caisson.core

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
    local r = assert(sh("exec sleep 30", nil, { limits = { time = 0.2 } }))
    assert.equal("time_limit", r.status)
    assert.truthy(r.wall_ns >= 0.2e9 and r.wall_ns < 5e9)
    r = assert(sh("sleep 0.1", nil, { limits = { time = 20 } }))
    assert.equal("exited", r.status)
  end)

  it("does not find a program guilty of the time that its caller took to look", function()
    local running = assert(caisson.start(recipe { limits = { time = 0.2 } }, { args = { "/bin/true" } }))
    assert(core.poll({}, 0.3))
    assert.equal("exited", running:wait().status)
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
      sh("exec sleep 30", nil, { limits = { time = 0.01 } })
      caisson.run(recipe(), { args = { "/no/such/program" } })
      caisson.start(recipe(), { args = { "/bin/sleep", "30" } }):close()
    end
    assert.equal(fds, t.count_fds())
    assert.equal(children, t.count_children())
  end)
end)
