-- What a run tells of itself while it goes on: the option `status`, and --status-fd.
local t = require "support"
local caisson = require "caisson"
local cjson = require "caisson.json"

local function lines(text)
  local list = {}
  for l in text:gmatch "[^\n]+" do list[#list + 1] = cjson.decode(l) end
  return list
end

-- Run with a pipe for the status; its lines, and the result.
local function run(options, script, opts)
  local r, w = t.core.pipe()
  local o = { args = { "/bin/sh", "-c", script }, stdin = "null", stdout = "capture", stderr = "null", status = w }
  for k, v in pairs(opts or {}) do o[k] = v end
  local result, message = caisson.run(caisson.recipe(options), o)
  w:close()
  local text = t.slurp(r)
  r:close()
  return lines(text), result, message
end

local kinds = { "cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts" }

describe("status", function()
  it("tells the child's pid and namespaces, exec and the end", function()
    if not t.needs "userns" then return end
    local seen, result = run({ namespaces = { user = true, mount = true, pid = true, net = true, ipc = true, uts = true, cgroup = true,
      time = true }, idmap = t.is_root and { uid = { { 0, 100000, 65536 } }, gid = { { 0, 100000, 65536 } } } or nil,
      mounts = { { bind = "/usr" }, { bind = "/bin" }, { bind = "/lib" }, { bind = "/lib64", optional = true }, { proc = "/proc" } } },
      "for n in cgroup ipc mnt net pid time user uts; do readlink /proc/self/ns/$n; done; exit 7")
    assert.equal(3, #seen)
    local inside = {}
    for kind, inode in result.stdout:gmatch "(%a+):%[(%d+)%]" do inside[kind] = tonumber(inode) end
    for _, kind in ipairs(kinds) do
      assert.equal(inside[kind], seen[1][kind .. "-namespace"], kind)
      assert.not_equal(t.namespace(kind):match "%d+", tostring(inside[kind]), kind)
    end
    assert.equal("number", type(seen[1]["child-pid"]))
    assert.equal("number", type(seen[2]["exec-ns"]))
    assert.same({ ["exit-code"] = 7, status = "exited" }, seen[3])
  end)

  it("is told before the program runs, and names the process", function()
    local r, w = t.core.pipe()
    local running = assert(caisson.start(caisson.recipe {}, { args = { "/bin/cat" }, stdin = "pipe", stdout = "null", status = w }))
    w:close()
    local first = lines(r:read())
    assert.equal(running:pid(), first[1]["child-pid"])
    running.stdin:close()
    running:wait()
    local rest = lines(t.slurp(r))
    assert.same({ ["exit-code"] = 0, status = "exited" }, rest[#rest])
    r:close()
  end)

  it("tells a signal and a limit", function()
    assert.same({ ["exit-code"] = 143, signal = 15, status = "signalled" }, run({}, "kill -TERM $$")[3])
    assert.same({ ["exit-code"] = 137, signal = 9, status = "time_limit" }, run({}, "exec sleep 30", { limits = { time = 0.1 } })[3])
  end)

  it("tells why nothing was executed", function()
    local seen = run({}, "", { args = { "/no/such/program" } })
    assert.equal(2, #seen)
    assert.same({ "exec", t.core.errno.ENOENT }, { seen[2].step, seen[2].errno })
    assert.matches("/no/such/program", seen[2].error)
    seen = run({ umask = "1000" }, "true") -- at a step before it could tell of the child
    assert.equal("umask", seen[#seen].step)
  end)

  it("goes to a file, or to a function as tables", function()
    local path = os.tmpname()
    finally(function() os.remove(path) end)
    assert(caisson.run(caisson.recipe {}, { args = { "/bin/true" }, status = { file = path } }))
    assert.equal(0, lines(t.read_file(path))[3]["exit-code"])
    local seen = {}
    assert(caisson.run(caisson.recipe {}, { args = { "/bin/true" }, status = function(s) seen[#seen + 1] = s end }))
    assert.same({ ["exit-code"] = 0, status = "exited" }, seen[3])
    os.execute("ln -sf /tmp/.caisson-elsewhere " .. path)
    local _, _, errno = caisson.run(caisson.recipe {}, { args = { "/bin/true" }, status = { file = path } })
    assert.equal(t.core.errno.ELOOP, errno)
  end)

  it("is not handed to the program, and leaves nothing open", function()
    collectgarbage()
    local before = t.count_fds()
    local seen, result = run({}, "ls /proc/self/fd | wc -l")
    assert.equal(3, #seen)
    assert.equal("4\n", result.stdout) -- ls's own directory is the fourth
    run({}, "", { args = { "/no/such/program" } })
    assert.equal(before, t.count_fds())
  end)

  it("works beside functions of the recipe's, and for a saved plan", function()
    local called
    local seen = run({ hooks = { prestart = function() called = true end } }, "true")
    assert.same({ true, 3 }, { called, #seen })
    local plan = assert(caisson.recipe({}):build { args = { "/bin/true" } }).plan
    local r, w = t.core.pipe()
    assert(require("caisson.run").run(require("caisson.saved").recipe(plan), { status = w }))
    w:close()
    assert.equal(3, #lines(t.slurp(r)))
    r:close()
  end)

  it("refuses bad input", function()
    for _, bad in ipairs { "x", true, {}, { file = 5 }, { file = "/x", fd = 1 } } do
      local ok, message = pcall(caisson.run, caisson.recipe {}, { args = { "/bin/true" }, status = bad })
      assert.is_false(ok)
      assert.matches("status: a descriptor, { file = } or a function expected", message)
    end
  end)

  it("is the command's too", function()
    local cli = t.core.realpath "build/bin/caisson"
    if not cli then return pending "the command is not built" end
    local text = t.sh(cli .. " run --status-fd 9 sandbox -- /bin/sh -c 'exit 4' 9>&1 >/dev/null 2>&1; echo $?")
    local seen = lines((text:gsub("%d+\n$", "")))
    if #seen == 1 then return pending("the recipe can't run here: " .. seen[1].error) end
    assert.equal(4, seen[3]["exit-code"])
    assert.matches("4\n$", text)
    assert.matches("an open descriptor's number expected, got 77", t.sh(cli .. " run --status-fd 77 inside -- true 2>&1"))
    assert.matches("expected, got x", t.sh(cli .. " run --status-fd x inside -- true 2>&1"))
    -- and so is the log, of what failed too
    local log = os.tmpname()
    finally(function() os.remove(log) end)
    t.sh(cli .. " --log " .. log .. " --log-format json run sandbox -- nosuch 2>&1; " .. cli .. " run --log " .. log
      .. " --log-format json sandbox -- true")
    local entries = lines(t.read_file(log))
    assert.same({ "error", "info", "info" }, { entries[1].level, entries[2] and entries[2].level, entries[3] and entries[3].level })
    assert.matches("nosuch", entries[1].msg)
    assert.same({ "ended", 0 }, { entries[3].msg, entries[3].code })
  end)
end)
