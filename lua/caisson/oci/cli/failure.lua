-- What failed, in the words that engines look for: a program that is not there, or may not be executed.
local M = {}

-- message, failure: of a container that could not be made or started, or of a process in it.
function M.text(message, failure)
  local given = message
  local detail = failure and failure.detail or ""
  -- one that waits for its start has looked for its program before
  local program = failure and failure.step == "exec" and failure.object
    or failure and failure.step == "wait" and (detail:match("^not in PATH: (.*)$") or detail:match("^/.*$")
      or detail == "an empty name" and "")
  if program and not failure.interpreter then
    program = program:match("^%S+") or program -- nothing but its name
    if failure.code == "ENOENT" and program:find("/", 1, true) then
      message = ('exec: "%s": stat %s: no such file or directory'):format(program, program)
    elseif failure.code == "ENOENT" then
      message = ('exec: "%s": executable file not found in $PATH'):format(program)
    elseif failure.code == "EACCES" then
      message = ('exec: "%s": permission denied'):format(program)
    elseif failure.code == "ENOEXEC" then
      message = ("exec %s: exec format error"):format(program)
    end
  end
  if failure and failure.step == "chdir" and failure.code == "ENOENT" then
    local path = (failure.object or ""):match("^%S+") or ""
    message = ('chdir to cwd ("%s") set in config.json failed: no such file or directory'):format(path)
  end
  if failure and failure.at and message == given then message = ("%s (%s)"):format(message, failure.at) end
  if failure and failure.hint then message = message .. " (" .. failure.hint:gsub("\n", "; ") .. ")" end
  return "unable to start container process: " .. message
end

return M
