-- summary.lua [--strict[=NAME,...]] FILE...: sum the results that spec/support/helper.lua wrote, one file a pass
-- (build/results/TARGET.PASS.tsv). What is pending in one pass is no gap where it passed in another
-- (as another user, in the VM), or where a spec that its reason names passed; other pending ones are
-- listed, and are failures with --strict, but where the reason begins with one of the names. The last
-- line is the count; the exit status is 1 where anything failed.
local strict, excused = arg[1]:match("^%-%-strict(=?)(.*)$")
if strict then table.remove(arg, 1) end

local total = { success = 0, failure = 0, pending = 0 }
local passed, passed_files, pending, failures = {}, {}, {}, {}

local function fail(pass, what, message)
  total.failure = total.failure + 1
  failures[#failures + 1] = ("%s: %s%s"):format(pass, what, message ~= "" and "\n    " .. message or "")
end

print(("%-22s %8s %8s %8s"):format("pass", "passed", "failed", "pending"))
for _, path in ipairs(arg) do
  local pass = path:match("([^/]*)%.tsv$") or path
  local before = { success = total.success, failure = total.failure, pending = total.pending }
  local complete = false
  for line in assert(io.lines(path)) do
    local status, file, name, message = line:match("^(%w+)\t(.-)\t(.-)\t(.*)$")
    if status == "success" then
      total.success = total.success + 1
      passed_files[file] = true
      -- every describe around it has a spec that passed
      local prefix = ""
      for word in name:gmatch("%S+") do
        prefix = prefix .. (prefix == "" and "" or " ") .. word
        passed[file .. "\t" .. prefix] = true
      end
    elseif status == "pending" then
      total.pending = total.pending + 1
      pending[#pending + 1] = { pass = pass, file = file, name = name, message = message }
    elseif status then
      fail(pass, file .. ": " .. name, message)
    elseif line == "end" then
      complete = true
    end
  end
  if not complete then fail(pass, "the run did not come to its end", "") end
  print(("%-22s %8d %8d %8d"):format(pass, total.success - before.success,
    total.failure - before.failure, total.pending - before.pending))
end

local shown = {}
for _, p in ipairs(pending) do
  local proved = passed[p.file .. "\t" .. p.name]
  for spec in p.message:gmatch("spec/[%w_/]+_spec%.lua") do proved = proved or passed_files[spec] end
  local reason = p.message:match("^[^:]*:%d+: (.*)") or p.message -- behind where busted has it from
  local excuse = false
  for name in (excused or ""):gmatch("[^,]+") do excuse = excuse or reason:sub(1, #name) == name end
  local text = ("%s: %s\n    %s"):format(p.file, p.name, p.message)
  if not proved and not shown[text] then
    shown[text] = true
    if strict and not excuse then
      fail(p.pass, "pending, and nothing else proves it: " .. text, "")
    else
      print("pending: " .. text)
    end
  end
end
for _, text in ipairs(failures) do print("FAILED: " .. text) end
print(("%d passed, %d failed, %d skipped"):format(total.success, total.failure, total.pending))
os.exit(total.failure == 0 and total.success > 0 and 0 or 1)
