-- A shell in the half-built container: what is executed, with which capabilities, and its terminal.
local core = require "caisson.core"

local M = {}

-- ---- what there is to execute ----

local function u16(s, i) return s:byte(i) + s:byte(i + 1) * 256 end
local function u32(s, i) return u16(s, i) + u16(s, i + 2) * 65536 end

-- Is it a program that needs no file but itself? (ELF of 64 bits without an interpreter)
local function is_static(fd)
  local head = fd:read(4096) or ""
  if #head < 64 or head:sub(1, 5) ~= "\127ELF\2" then return false end
  local at, size, n = u32(head, 33) + 1, u16(head, 55), u16(head, 57)
  for _ = 1, n do
    if at + 4 > #head + 1 or size < 4 then return false end
    if u32(head, at) == 3 then return false end -- PT_INTERP
    at = at + size
  end
  return n > 0
end

-- The host's busybox, where it is a static one: a shell for a root that has none. A descriptor, or nil.
function M.of_host()
  for dir in ((os.getenv "PATH" or "") .. ":/bin:/usr/bin"):gmatch "[^:]+" do
    local fd = core.open(dir .. "/busybox", "read")
    if fd then
      if is_static(fd) then return fd end
      fd:close()
    end
  end
end

-- The root's own. Returns its path, or nil.
function M.inside()
  for _, path in ipairs { "/bin/bash", "/usr/bin/bash", "/bin/sh", "/usr/bin/sh", "/bin/busybox" } do
    local real = core.realpath(path)
    local st = real and core.lstat(real)
    if st and st.type == "file" and st.mode % 2 == 1 then return path end
  end
end

-- ---- running it ----

local function write_all(fd, bytes)
  while #bytes > 0 do
    local n, message = fd:write(bytes)
    if not n then return nil, message end
    bytes = bytes:sub(n + 1)
  end
  return true
end

-- The caller's terminal and the shell's, until the shell has ended.
local function relay(process, master)
  local input, output = assert(core.dup(0)), assert(core.dup(core.terminal.size(1) and 1 or 0))
  local modes = core.terminal.raw(input)
  local rows, columns
  local function resize()
    local r, c = core.terminal.size(output)
    if r and (r ~= rows or c ~= columns) then
      rows, columns = r, c
      core.terminal.resize(master, r, c)
    end
  end
  local ended
  local function pump()
    local s = master:read(65536)
    if not s or s == "" then return false end
    return write_all(output, s)
  end
  while true do
    resize()
    local fds = { { fd = process:pidfd() }, { fd = master } }
    if not ended then fds[3] = { fd = input } end
    local ready = core.poll(fds, 0.5) or {}
    if ready[3] then
      local s = input:read(4096)
      if s and s ~= "" then write_all(master, s) else ended = true end
    end
    if ready[1] then break end
    if ready[2] then pump() end
  end
  master:nonblock(true)
  while pump() do end -- luacheck: ignore 542
  master:nonblock(false)
  if modes then core.terminal.restore(input, modes) end
  input:close()
  output:close()
end

-- Capabilities as they are now outlive the exec: by uid 0's own rules it would have others.
local function keep_capabilities(steps)
  local held = core.capabilities.get()
  if not held or #held.permitted == 0 then return end
  local has = {}
  for _, name in ipairs(held.permitted) do has[name] = true end
  if has.setpcap then
    steps[#steps + 1] = { step = "securebits", options = { flags = { "noroot" } }, optional = true }
  end
  steps[#steps + 1] = { step = "capabilities", options = { permitted = held.permitted, effective = held.effective,
    inheritable = held.permitted, ambient = held.permitted }, optional = true }
end

-- Run a shell as the child is now, behind the steps of `more` (which the child has before it still). o: master (of a
-- pty; nil: the streams are this process's), busybox (a descriptor), root (of the new root, where it is not in its place
-- yet: the shell's descriptor 3), prompt, output (the number of the output's descriptor), env.
-- Returns how it ended: { code =, signal = } | nil, message.
function M.run(more, o)
  local path = M.inside()
  if not path and not o.busybox then return nil, "no shell: this root has none, and the host no static busybox" end
  local steps = { { step = "clone", options = {} }, { step = "session" } }
  local files, slots = { "stdin", "stdout", "stderr" }, { stdin = 0, stdout = o.output, stderr = 2 }
  local slave, message
  if o.master then
    slave, message = core.terminal.peer(o.master)
    if not slave then return nil, message end
    steps[3] = { step = "tty", options = { fd = "tty" } }
    files, slots = { "tty", "tty", "tty" }, { tty = slave }
  end
  if o.root then
    files[4], slots.newroot = "newroot", o.root
  end
  -- behind steps that set capabilities it gets what the program would
  if #more == 0 then keep_capabilities(steps) end
  for _, s in ipairs(more) do steps[#steps + 1] = s end
  local argv = { path or "sh" }
  if path and path:find "bash$" then argv = { path, "--norc", "--noprofile" } end
  if path and path:find "busybox$" then argv = { path, "sh" } end
  if o.master then argv[#argv + 1] = "-i" end
  local exec = { argv = argv, env = { "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/",
    "TERM=" .. (os.getenv "TERM" or "dumb"), "PS1=" .. o.prompt }, files = files }
  for k, v in pairs(o.env or {}) do exec.env[#exec.env + 1] = k .. "=" .. v end
  if path then
    exec.path = path
  else
    exec.fd, slots.program = "program", o.busybox
  end
  steps[#steps + 1] = { step = "exec", options = exec }
  local process
  process, message = core.spawn { plan = core.plan(steps), slots = slots, fork = true }
  if slave then slave:close() end
  if not process then return nil, message end
  if o.master then relay(process, o.master) end
  local status = process:wait()
  process:close()
  return { code = status.code, signal = status.signal, path = path or "the host's static busybox" }
end

return M
