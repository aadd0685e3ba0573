-- Tracing: system calls seen, with their arguments and paths, by a function that lets them be or answers in
-- their place (ptrace(2), seccomp's action trace).
local core = require "caisson.core"
local plan_module = require "caisson.plan"

local M = {}

-- Recipe option ptrace = true, or a function(pid): the thread that starts the program traces it, and finds it
-- stopped at its exec. A filter that comes before is one that may ask the tracer, so the program stops before
-- that too, for the function; true lets no tracee outlive the tracer, and has it told what the filter asks.
function M.by_host(b)
  local fn = b.options.ptrace
  b:check_type("ptrace", fn, "boolean", "function")
  if b.options.init then b:fail("ptrace", "the program's parent is its init (init = true), which traces nobody") end
  b.phase = "policy"
  b:step("ptrace", "ptrace_me", {})
  if fn == true and not b.options.seccomp then return end
  b:step("ptrace", "stop", {})
  b.plan.steps[#b.plan.steps + 1] = plan_module.call(fn ~= true and fn or function(pid)
    return core.ptrace.setoptions(pid, { "exitkill", "seccomp" })
  end, { name = "ptrace", side = "parent", phase = b.phase, origin = b.origins.ptrace })
end

return M
