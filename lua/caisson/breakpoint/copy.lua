-- A prompt behind the last steps. The child takes those in one go, right before its program: then there is no way back to
-- a prompt for it, and a filter may forbid what one needs. So a copy of the child takes the steps, and has the prompt.
local core = require "caisson.core"

local M = {}

-- The primitive of that name.
local function primitive(name)
  local v = core
  for part in name:gmatch "[^.]+" do v = v[part] end
  return v
end

-- talk() in a copy that has taken the steps; keep: descriptors it needs. Returns the word that talk() gave, or nil, and
-- then what has ended the copy.
function M.run(steps, talk, keep)
  local r, w = core.pipe()
  if not r then return nil, w end
  local fds = { w }
  for _, fd in ipairs(keep) do fds[#fds + 1] = fd end
  local pidfd, message = core.helper(function()
    for _, s in ipairs(steps) do
      local ok, why = primitive(s.step)(s.options)
      if not ok then
        w:write("!" .. why)
        return
      end
    end
    w:write("." .. (talk() or "continue"))
  end, fds)
  w:close()
  if not pidfd then
    r:close()
    return nil, message
  end
  local word = ""
  while true do
    local s = r:read()
    if not s or s == "" then break end
    word = word .. s
  end
  r:close()
  local status = core.pidfd.wait(pidfd)
  pidfd:close()
  if word:sub(1, 1) == "." then return word:sub(2) end
  if word ~= "" then return nil, word:sub(2) end
  local signal = type(status) == "table" and status.signal
  return nil, signal == 31 and "a filter that is in force here has ended the prompt (SIGSYS)"
    or signal and ("the prompt was ended by signal %d (%s)"):format(signal, core.signal.name(signal) or "?")
    or "the prompt has ended"
end

return M
