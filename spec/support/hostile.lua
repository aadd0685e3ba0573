-- The process that goes for each one that joins its container (hostile.c), and what it tells.
local t = require "support"

local M = {}

local folder

-- The folder of the program, compiled.
function M.folder()
  if not folder then
    folder = t.sh("mktemp -d"):gsub("\n", "")
    local out = t.sh(("cc -static -O1 -Wall -Wextra -o %s/hostile spec/support/hostile.c 2>&1 && chmod 755 %s"):format(folder, folder))
    if out ~= "" then error("hostile.c: " .. out) end
  end
  return folder
end

function M.program() return M.folder() .. "/hostile" end

function M.clean()
  if folder then os.execute("rm -rf " .. folder) end
  folder = nil
end

-- What it tells of those that came: { done =, program =, uid =, caps =, fds = {}, line = } each.
function M.read(text)
  local seen = {}
  for line in text:gmatch("[^\n]+") do
    local done, program, uid, caps, fds = line:match("^%d+ %a+ (%a+) (%S+) (%S+) (%S+)(.*)")
    if done then
      local one = { done = done == "yes", program = program, uid = uid, caps = caps, fds = {}, line = line }
      for fd in fds:gmatch("%S+") do one.fds[#one.fds + 1] = fd end
      seen[#seen + 1] = one
    end
  end
  return seen
end

return M
