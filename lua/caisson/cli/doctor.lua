-- caisson doctor: what this machine and this user can and can't do.
local doctor = require "caisson.doctor"

local M = {}

function M.main(o)
  local rows = doctor.examine()
  if o.json then
    io.write(require("caisson.json").document(rows), "\n")
    return 0
  end
  local width = 0
  for _, row in ipairs(rows) do width = math.max(width, #row.name) end
  for _, row in ipairs(rows) do
    local about = {}
    if row.detail then about[#about + 1] = row.detail end
    if row.why then about[#about + 1] = row.why end
    io.write((("%-3s  %s%s  %s"):format(row.able and "yes" or "no", row.name, (" "):rep(width - #row.name),
      table.concat(about, "; ")):gsub("%s+$", "")), "\n")
    if row.fix then io.write("     ", (" "):rep(width), "  -> ", row.fix, "\n") end
  end
  return 0
end

return M
