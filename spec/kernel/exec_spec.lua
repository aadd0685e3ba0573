-- exec: descriptors, signals, arguments, and how the program is found.
local t = require "support"
local core, step = t.core, t.step

local clone = step("clone", {})

local function fails(opts, errno, text)
  local ok, message, got, failure = t.run({ clone }, opts)
  assert.is_nil(ok)
  assert.equal(errno, got)
  assert.equal("exec", failure.step)
  assert.equal(2, failure.number)
  assert.truthy(message:find(text, 1, true), message)
end

local function script_file(text, mode)
  local path = os.tmpname()
  local f = assert(io.open(path, "w"))
  f:write(text)
  f:close()
  os.execute("chmod " .. mode .. " " .. path)
  return path
end

describe("The program", function()
  it("is looked up in the PATH that it will have", function()
    assert.equal("yes\n", assert(t.run({ clone }, { argv = { "echo", "yes" } })).output)
    fails({ argv = { "echo", "yes" }, env = { "PATH=/nonexistent:/etc" } }, core.errno.ENOENT, "not in PATH: echo")
    assert.equal(0, assert(t.run({ clone }, { argv = { "true" }, env = { "PATH=/nonexistent:/usr/bin:/bin" } })).code)
  end)

  it("may be another than argv says", function()
    local r = assert(t.run({ clone }, { argv = { "another name", "-c", "echo $0" }, exec = { path = "/bin/sh" } }))
    assert.equal("another name\n", r.output)
  end)

  it("that can't be executed fails with the kernel's reason", function()
    local text, secret = script_file("no program at all\n", "755"), script_file("#!/bin/sh\n", "644")
    local lost = script_file("#!/nonexistent/interpreter\n", "755")
    fails({ argv = { text } }, core.errno.ENOEXEC, text)
    fails({ argv = { secret } }, core.errno.EACCES, secret)
    fails({ argv = { lost } }, core.errno.ENOENT, lost)
    fails({ argv = { "/etc" } }, core.errno.EACCES, "/etc")
    fails({ argv = { "/etc/passwd/x" } }, core.errno.ENOTDIR, "/etc/passwd/x")
    fails({ argv = { "" } }, core.errno.ENOENT, "an empty name")
    fails({ argv = { ("/x"):rep(2048) } }, core.errno.ENAMETOOLONG, "/x/x")
    fails({ argv = { "x" }, env = { "PATH=/" .. ("y"):rep(5000) } }, core.errno.ENAMETOOLONG, "not in PATH: x")
    fails({ argv = { text:match("[^/]*$"), "x" }, env = { "PATH=/tmp" } }, core.errno.ENOEXEC, text)
    fails({ argv = { secret:match("[^/]*$"), "x" }, env = { "PATH=/nonexistent:/tmp:/usr/bin" } }, core.errno.EACCES,
      "not in PATH")
    for _, path in ipairs { text, secret, lost } do os.remove(path) end
  end)

  it("may be a descriptor: a file's, or a memfd's", function()
    local file = assert(core.open("/bin/sh", "path"))
    local r = assert(t.run({ clone }, { argv = { "me", "-c", "echo $0" }, exec = { fd = "program" }, slots = { program = file } }))
    assert.equal("me\n", r.output)
    local memfd = assert(core.memfd("program", t.read_file("/bin/true")))
    assert.equal(0, assert(t.run({ clone }, { argv = { "me" }, exec = { fd = "program" }, slots = { program = memfd } })).code)
    local ok, message = t.run({ clone }, { argv = { "me" }, exec = { fd = "program" } })
    assert.is_nil(ok)
    assert.truthy(message:find("no descriptor in the slot", 1, true))
  end)
end)

describe("Arguments", function()
  it("are passed as they are: empty, of any bytes, 5000 of them", function()
    local argv = { "/bin/sh", "-c", 'for last; do :; done; echo $# "<$1>" "<$last>"', "sh", "" }
    for i = 2, 4999 do argv[4 + i] = "\1\255" .. i end
    argv[#argv + 1] = "the\nlast"
    assert.equal("5000 <> <the\nlast>\n", assert(t.run({ clone }, { argv = argv })).output)
  end)

  it("and an environment of 2 MiB arrive; more than the kernel takes is its E2BIG", function()
    local env = {}
    for i = 1, 21000 do env[i] = ("V%05d=%s"):format(i, ("x"):rep(92)) end
    -- a quarter of the stack's limit is what it may be
    local r = assert(t.run({ clone, step("rlimit", { resource = "stack", soft = 16777216, hard = "max" }) },
      { argv = { "/bin/sh", "-c", "env | wc -c" }, env = env }))
    assert.truthy(tonumber(r.output) >= 2 * 1048576)
    for i = 21001, 100000 do env[i] = env[i - 21000] end
    fails({ argv = { "/bin/true" }, env = env }, core.errno.E2BIG, "/bin/true")
    fails({ argv = { "/bin/true", ("x"):rep(200000) } }, core.errno.E2BIG, "/bin/true")
  end)
end)

describe("Descriptors", function()
  local list = [[for f in /proc/self/fd/*; do n=${f##*/}; [ -e $f ] && echo $n; done | sort -n | tr '\n' ' ']]

  it("are those that the plan names, and no other", function()
    local others = {} -- luacheck: ignore 241
    for i = 1, 20 do others[i] = assert(core.open("/dev/null")) end
    local r = assert(t.run({ clone }, { script = list }))
    -- the pipe of the for loop's own process is not there yet: 0, 1, 2 and nothing of ours
    assert.equal("0 1 2 ", r.output)
    local sh = assert(core.open("/bin/sh", "path"))
    r = assert(t.run({ clone }, { argv = { "sh", "-c", list }, exec = { fd = "program" }, slots = { program = sh } }))
    assert.equal("0 1 2 ", r.output)
    r = assert(t.run({ clone }, { script = list .. " >&4", files = { "stdin", "-", "stdout", "-", "stdout" } }))
    assert.equal("0 2 4 ", (r.output:gsub("1 ", "")))
  end)

  it("come to their numbers in any permutation, 56 at once", function()
    -- the engine's copies take the low numbers, which are left free: most sit where another is to go
    local random = 7
    for round = 1, 4 do
      local slots, order, expected, fillers = {}, {}, {}, {}
      for i = 1, 64 do fillers[i] = assert(core.open("/dev/null")) end
      for i = 1, 56 do
        slots["s" .. i] = assert(core.memfd("s" .. i, "content " .. i .. "\n"))
        order[i] = "s" .. i
      end
      for _, fd in ipairs(fillers) do fd:close() end
      for i = 56, 2, -1 do
        random = (random * 1103515245 + 12345) % 2147483648
        local k = round == 1 and i or random % i + 1
        order[i], order[k] = order[k], order[i]
      end
      local files, script = { "stdin", "stdout", "stdout" }, {} -- dash takes one digit in <&N
      for i, name in ipairs(order) do
        files[3 + i] = name
        expected[i] = "content " .. name:sub(2) .. "\n"
        script[i] = "cat /proc/self/fd/" .. (2 + i)
      end
      local r = assert(t.run({ clone }, { script = table.concat(script, "; "), files = files, slots = slots }))
      assert.equal(table.concat(expected), r.output)
    end
  end)

  it("may stand in several places, and be swapped", function()
    local a, b = assert(core.memfd("a", "A")), assert(core.memfd("b", "B"))
    local r = assert(t.run({ clone }, { script = "cat /proc/self/fd/5 /proc/self/fd/3 /proc/self/fd/4",
      files = { "stdin", "stdout", "stdout", "b", "a", "b" }, slots = { a = a, b = b } }))
    assert.equal("BBA", r.output)
  end)

  it("of an empty slot fail", function()
    local ok, message, errno = t.run({ clone }, { files = { "stdin", "stdout", "nothing" } })
    assert.is_nil(ok)
    assert.truthy(message:find("no descriptor in the slot", 1, true))
    assert.equal(core.errno.EBADF, errno)
  end)

  it("are no more than a plan has slots", function()
    local files = {}
    for i = 1, 64 do files[i] = "s" .. i end
    assert.has_error(function() core.plan { clone, step("exec", { argv = { "true" }, files = files }) } end)
  end)
end)

describe("Signals", function()
  it("are blocked where the plan says so", function()
    local r = assert(t.run({ clone }, { argv = { "/bin/cat", "/proc/self/status" }, exec = { blocked = { "HUP", "TERM" } } }))
    assert.equal("0000000000004001", r.output:match("SigBlk:%s(%x+)"))
  end)
end)
