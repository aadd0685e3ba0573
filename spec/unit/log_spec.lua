local core = require "caisson.core"
local log = require "caisson.log"

local function slurp(path)
  local f = assert(io.open(path, "rb"))
  local s = f:read "*a"
  f:close()
  return s
end

describe("log.open", function()
  local dir
  before_each(function()
    dir = os.tmpname()
    os.remove(dir)
    assert(os.execute("mkdir -m 700 " .. dir))
  end)
  after_each(function() os.execute("rm -rf " .. dir) end)

  it("appends lines of text to a file", function()
    local f = assert(io.open(dir .. "/log", "w"))
    f:write "before\n"
    f:close()
    local l = assert(log.open(dir .. "/log"))
    l:info("started", { pid = 5, recipe = "a b", empty = "" })
    l:debug "not said"
    l:error "gone"
    l:close()
    l:error "after the end"
    assert(log.open(dir .. "/new")):close()
    local time = "%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%dZ"
    assert.matches("^before\n" .. time .. ' info started empty="" pid=5 recipe="a b"\n' .. time .. " error gone\n$",
      slurp(dir .. "/log"))
    local p = assert(io.popen("stat -c %a " .. dir .. "/new 2>&1"))
    assert.equal("600\n", p:read "*a")
    p:close()
  end)

  it("writes JSON, as runc's logs are", function()
    local l = assert(log.open { to = dir .. "/log", format = "json", level = "debug" })
    l:warning('say "hi"', { errno = 2, step = "mount.bind", done = true, msg = "no second one" })
    l:debug "detail"
    l:close()
    local first, second = slurp(dir .. "/log"):match "^([^\n]*)\n([^\n]*)\n$"
    local doc = require("caisson.json").decode(first)
    assert.matches("^%d+%-%d%d%-%d%dT%d%d:%d%d:%d%dZ$", doc.time)
    doc.time = nil
    assert.same({ level = "warning", msg = 'say "hi"', errno = 2, step = "mount.bind", done = true }, doc)
    assert.equal("detail", require("caisson.json").decode(second).msg)
  end)

  it("lets no message begin a line or an entry, or command a terminal", function()
    local evil = "x\n2026-01-01T00:00:00Z error forged\27[2J\r\0\127 \155"
    local l = assert(log.open(dir .. "/log"))
    l:info(evil, { at = "a\nb", quoted = 'a" b="c' })
    l:close()
    local text = slurp(dir .. "/log")
    assert.equal(1, select(2, text:gsub("\n", "")))
    assert.matches('x\\n2026%-01%-01T00:00:00Z error forged\\x1b%[2J\\x0d\\x00\\x7f \155 at=a\\nb quoted="a\\" b=\\"c"\n$', text)
    l = assert(log.open { to = dir .. "/json", format = "json" })
    l:info(evil)
    l:close()
    assert.equal(1, select(2, slurp(dir .. "/json"):gsub("[%c]", "")))
  end)

  it("follows no symlink, and cuts what is huge", function()
    assert(os.execute("ln -s " .. dir .. "/elsewhere " .. dir .. "/link"))
    local l, message, errno = log.open(dir .. "/link")
    assert.is_nil(l)
    assert.equal(core.errno.ELOOP, errno)
    assert.matches("^log: open .*/link", message)
    assert.is_nil(core.lstat(dir .. "/elsewhere"))
    l = assert(log.open(dir .. "/log"))
    l:info(("x"):rep(1e6))
    l:close()
    assert.truthy(#slurp(dir .. "/log") < 33000)
  end)

  -- A socket of the spec's own, and what comes over it.
  local function listener(name)
    local at = assert(core.open(dir, { "path", "directory" }))
    local fd = assert(core.socket.listen(at, name, "dgram"))
    fd:nonblock(true)
    at:close()
    return fd
  end

  it("writes to the journal, by its native protocol", function()
    local journal = listener "journal"
    local l = assert(log.open("journald:" .. dir .. "/journal"))
    l:error("it failed", { step = "mount.bind", ["exit-code"] = 125 })
    assert.equal("PRIORITY=3\nSYSLOG_IDENTIFIER=caisson\nMESSAGE=it failed\nCAISSON_EXIT_CODE=125\nCAISSON_STEP=mount.bind\n",
      journal:read())
    -- a value of several lines comes with its length: no field can be forged
    l:info "one\nPRIORITY=0\n"
    assert.equal("PRIORITY=6\nSYSLOG_IDENTIFIER=caisson\nMESSAGE\n\15\0\0\0\0\0\0\0one\nPRIORITY=0\n\n", journal:read())
    -- nobody listens any more: what is lost is counted, and nothing raised
    journal:close()
    l:info "unheard"
    assert.equal(1, l.lost)
    l:close()
  end)

  it("writes to syslog", function()
    local syslog = listener "log"
    local l = assert(log.open { to = "syslog:" .. dir .. "/log", level = "debug" })
    l:info("started\nforged", { pid = 7 })
    assert.matches("^<30>%u%l%l [ %d]%d %d%d:%d%d:%d%d caisson: started\\nforged pid=7$", syslog:read())
    l:debug "x"
    assert.matches("^<31>", syslog:read())
    l:error "x"
    assert.matches("^<27>", syslog:read())
    l:warning "x"
    assert.matches("^<28>", syslog:read())
    -- full, it does not keep the container waiting
    for _ = 1, 2000 do l:info(("x"):rep(5000)) end
    assert.truthy(l.lost > 0)
    l:close()
    syslog:close()
  end)

  it("tells a socket that is not there", function()
    local l, message, errno = log.open("journald:" .. dir .. "/none")
    assert.same({ nil, core.errno.ENOENT }, { l, errno })
    assert.matches("^log: .*/none: ", message)
    assert.is_nil((log.open("syslog:relative")))
  end)

  it("refuses bad input, naming the option", function()
    for message, o in pairs {
      ["log: a table or a string expected, got number"] = 5,
      ["log: option 'to' is missing"] = {},
      ["log: unknown option 'file' (known: format, level, to)"] = { file = "x" },
      ["log: option 'to': string expected, got table"] = { to = {} },
      ["log: option 'to': a string without NUL expected"] = { to = "/tmp/a\0b" },
      ["log: option 'format': unknown word 'xml' (known: json, logfmt, text)"] = { to = "/tmp/x", format = "xml" },
      ["log: option 'format': journald has its own"] = { to = "journald", format = "json" },
      ["log: unknown level 'warn' (did you mean 'warning'?)"] = { to = "/tmp/x", level = "warn" },
    } do
      local ok, got = pcall(log.open, o)
      assert.is_false(ok)
      assert.truthy(got:find(message, 1, true), got)
    end
  end)
end)
