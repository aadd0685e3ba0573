-- proxy-open: each file that the program opens is asked about. The function below says yes, no, or what the program shall
-- read in its place.
--
--   caisson run proxy-open -- sh -c 'cat /etc/hostname; cat /etc/passwd'
--   caisson run proxy-open hide=/usr/share/ verbose=yes -- python3 script.py
--
-- What it says yes to the kernel opens, by the path that stands in the program's memory then. A program that means to
-- deceive can change that in between; against one, mount what it may see and nothing else.
local caisson = require "caisson"

local function ask(path, access, p)
  if path == "/etc/hostname" then return "a name that was made at " .. os.date("%H:%M:%S") .. "\n" end
  if path == p.hide or p.hide:sub(-1) == "/" and path:sub(1, #p.hide) == p.hide then return false end
  return access == "read" or access == "stat" or path:find("^/tmp/") ~= nil or path:find("^/dev/") ~= nil
end

return caisson.recipe {
  summary = "Each file that the program opens is asked about, by a Lua function",
  extends = "sandbox",
  params = {
    hide = { "path", default = "/etc/passwd", help = "a file that can't be opened, or a folder (with a / at its end)" },
    verbose = { "boolean", default = false, help = "say what is opened, on standard error" },
  },
  build = function(p)
    local function open(call)
      local file = call:paths()[1]
      if not file.path then return call:deny(file.errno) end
      local says = ask(file.path, file.access, p)
      if p.verbose then io.stderr:write(("%s %s: %s\n"):format(file.access, file.path, says and "yes" or "no")) end
      if type(says) == "string" then return call:inject(caisson.core.memfd("answer", says), { cloexec = true }) end
      if not says then return call:deny "EACCES" end
    end
    return { seccomp_notify = { open = open, openat = open, openat2 = open, creat = open } }
  end,
}
