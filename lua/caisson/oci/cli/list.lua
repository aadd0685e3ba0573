-- list and ps.
local cli = require "caisson.oci.cli"

local M = { commands = {} }

local function check_format(o)
  if o.format and o.format ~= "table" and o.format ~= "json" then cli.fail("invalid format option") end
end

-- The name of a user; "#1000" where there is none.
local function user_name(uid)
  if not uid then return "" end
  local f = io.open("/etc/passwd", "r")
  local name = f and ("\n" .. f:read("*a")):match(("\n([^:\n]+):[^:\n]*:%d:"):format(uid))
  if f then f:close() end
  return name or ("#%d"):format(uid)
end

-- Rows as columns at least 12 wide, three blanks between them, as runc aligns them.
local function write_table(rows)
  local width = {}
  for _, row in ipairs(rows) do
    for i, cell in ipairs(row) do width[i] = math.max(width[i] or 12, #cell + 3) end
  end
  for _, row in ipairs(rows) do
    local line = {}
    for i, cell in ipairs(row) do line[i] = i < #row and cell .. (" "):rep(width[i] - #cell) or cell end
    io.write(table.concat(line), "\n")
  end
end

M.commands.list = { text = "list the containers", words = { 0, 0 }, usage = "",
  flags = { { "format, f", "string", "table, or json", "table" }, { "quiet, q", "bool", "their names alone" } },
  main = function(o)
    local list, message = require("caisson.container").list { root = cli.globals.root }
    if not list then cli.fail(message) end
    if o.quiet then
      for _, c in ipairs(list) do io.write(c.id, "\n") end
      return
    end
    check_format(o)
    local good = {}
    for _, c in ipairs(list) do
      if c.error then cli.warn(c.error) else good[#good + 1] = c end
    end
    if o.format == "json" then
      local document, items = require("caisson.oci.cli.container").document, {}
      for i, c in ipairs(good) do
        c.ociVersion = require("caisson.version").oci
        items[i] = document(c, user_name(c.owner), true)
      end
      io.write(#items == 0 and "null" or "[" .. table.concat(items, ",") .. "]", "\n")
      return
    end
    local rows = { { "ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER" } }
    for _, c in ipairs(good) do
      rows[#rows + 1] = { c.id, ("%d"):format(c.pid or 0), c.status, c.bundle or "", c.created or "", user_name(c.owner) }
    end
    write_table(rows)
  end }

-- What ps(1) says with these arguments, of these processes alone: its table has the pid where the heading says so.
local function ps_table(pids, words)
  local args = { "ps" }
  if #words == 0 then args[2] = "-ef" end
  for _, w in ipairs(words) do args[#args + 1] = w end
  local core = require "caisson.core"
  local parts = {}
  local env = { "PATH=" .. (os.getenv("PATH") or "/usr/bin:/bin"), "LC_ALL=C" }
  local r, w = core.pipe()
  if not r then cli.fail(w) end
  local process, message, errno = core.spawn { plan = core.plan { { step = "clone", options = {} },
    { step = "exec", options = { argv = args, env = env, files = { "stdin", "stdout", "stderr" } } } },
    slots = { stdin = 0, stdout = w, stderr = 2 } }
  w:close()
  if not process then
    cli.fail(errno == core.errno.ENOENT and 'exec: "ps": executable file not found in $PATH' or message)
  end
  repeat
    local bytes = r:read()
    parts[#parts + 1] = bytes
  until not bytes or bytes == ""
  local status = process:wait()
  process:close()
  if status.code ~= 0 then cli.fail(("exit status %d: %s"):format(status.code or -1, table.concat(parts))) end
  local is, column = {}, nil
  for _, pid in ipairs(pids) do is[("%d"):format(pid)] = true end
  for line in table.concat(parts):gmatch("[^\n]+") do
    local fields = {}
    for field in line:gmatch("%S+") do fields[#fields + 1] = field end
    if not column then
      for i, field in ipairs(fields) do
        if field == "PID" then column = i end
      end
      if not column then cli.fail("couldn't find PID field in ps output") end
      io.write(line, "\n")
    elseif is[fields[column]] then
      io.write(line, "\n")
    end
  end
end

M.commands.ps = { text = "list the processes of a container", words = { 1, math.huge },
  usage = "<container-id> [ps options]", verbatim = true,
  flags = { { "format, f", "string", "table, or json", "table" } },
  main = function(o, words)
    local c = cli.open(table.remove(words, 1))
    local pids, message, _, failure = c:ps()
    -- of one that has ended nothing is left to be listed
    if not pids and failure and failure.container == "stopped" then pids = {} end
    if not pids then cli.fail(message) end
    check_format(o)
    if o.format == "json" then
      for i, pid in ipairs(pids) do pids[i] = ("%d"):format(pid) end
      io.write(#pids == 0 and "null" or "[" .. table.concat(pids, ",") .. "]", "\n")
      return
    end
    ps_table(pids, words)
  end }

return M
