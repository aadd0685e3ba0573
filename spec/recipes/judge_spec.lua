local t = require "support"
local caisson = require "caisson"
local unpack = table.unpack or unpack -- luacheck: ignore

describe("the judge recipe", function()
  if not t.needs "userns" then return end
  local dir
  -- who can't make cgroups judges without, and is told so
  local optional = not t.is_root

  local function write(name, text)
    local f = assert(io.open(dir .. "/" .. name, "w"))
    f:write(text)
    f:close()
    return dir .. "/" .. name
  end

  local function judge(params, ...)
    local p = { dir = dir, optional_limits = optional }
    for k, v in pairs(params) do p[k] = v end
    return caisson.run("judge", { params = p, args = { ... } })
  end

  local function verdict(...)
    return assert(judge(...)).verdict
  end

  setup(function()
    dir = t.sh("mktemp -d /tmp/caisson-judge.XXXXXX && chmod 755 /tmp/caisson-judge.*"):match("[^\n]+")
    write("greedy.c", "#include <stdlib.h>\n#include <string.h>\n"
      .. "int main(void){for(;;)memset(malloc(1<<20),1,1<<20);}\n")
    -- compiled in the sandbox recipe, as make run does
    local r = assert(caisson.run("sandbox", { params = { dir = dir, write = true }, stdout = "capture",
      stderr = "stdout", args = { "/usr/bin/gcc", "-O0", "-o", "greedy", "greedy.c" } }))
    assert(r.code == 0, r.stdout)
  end)
  teardown(function() t.sh("rm -rf " .. dir) end)

  it("accepts the right answer and refuses a wrong one", function()
    local input, expect = write("in", "3\n4\n"), write("out", "7  \n\n")
    local sum = { "/bin/sh", "-c", "read a; read b; echo $((a + b))" }
    assert.equal("accepted", verdict({ input = input, expect = expect }, unpack(sum)))
    assert.equal("wrong answer", verdict({ input = write("in", "3\n5\n"), expect = expect }, unpack(sum)))
    assert.equal("wrong answer", verdict({ expect = expect }, "/bin/true"))
  end)

  it("tells the limits apart", function()
    local r = assert(judge({ time = "200ms" }, "/bin/sh", "-c", "while :; do :; done"))
    assert.equal("time limit exceeded", r.verdict)
    assert.truthy(r.cpu_ns >= 0.2e9 and r.cpu_ns < 2e9)
    r = assert(judge({ wall = "300ms" }, "/bin/sleep", "20"))
    assert.equal("time limit exceeded", r.verdict)
    r = assert(judge({ output = "1K" }, "/usr/bin/yes"))
    assert.equal("output limit exceeded", r.verdict)
    assert.equal(1024, #r.stdout)
  end)

  it("tells errors and forbidden calls apart", function()
    assert.equal("runtime error (exit status 3)", verdict({}, "/bin/sh", "-c", "exit 3"))
    assert.equal("runtime error (signal 11)", verdict({}, "/bin/sh", "-c", "kill -SEGV $$"))
  end)

  it("limits memory, and says what was used", function()
    if not t.needs("root") then return end
    local r = assert(judge({ memory = "32M" }, "./greedy"))
    assert.equal("memory limit exceeded", r.verdict)
    assert.same({ "memory_limit", true, "cgroup", "cgroup" }, { r.status, r.oom, r.memory_from, r.cpu_from })
    assert.truthy(r.memory_peak > 30 * 1048576 and r.memory_peak <= 32 * 1048576)
    assert.is_nil(r.memory)
  end)

  it("limits processes", function()
    if not t.needs("root") then return end
    local r = assert(judge({ pids = 4 }, "/bin/sh", "-c",
      "for i in 1 2 3 4 5 6 7 8; do sleep 0.2 & done 2>&1; wait"))
    assert.truthy(r.pids_peak == nil or r.pids_peak <= 4)
    assert.truthy((r.stdout .. r.stderr):find("fork"), r.stderr)
  end)

  it("without the right to limit fails and says which controller, or says that there is no limit", function()
    if t.is_root then return end
    local r, message, _, failure = judge({ optional_limits = false }, "/bin/true")
    assert.is_nil(r)
    assert.truthy(message:find("memory.max can't be set", 1, true), message)
    assert.truthy(failure.hint, "a hint how to delegate")
    r = assert(judge({}, "/bin/true"))
    assert.same({ "unlimited", "unlimited" }, { r.memory, r.pids })
  end)

  it("leaves no cgroup behind", function()
    if not t.needs("root") then return end
    local function cgroups() return t.sh "find /sys/fs/cgroup -type d -name '*caisson*' | sort" end
    local before = cgroups()
    judge({}, "/bin/true")
    judge({ wall = "50ms" }, "/bin/sleep", "9")
    judge({ input = "/no/such/file" }, "/bin/true")
    caisson.run("judge", { params = { dir = dir }, args = { "/no/such/program" } })
    assert.equal(before, cgroups())
  end)
end)
