-- caisson run: a container in the foreground, with this process's streams, signals and terminal.
local attendant = require "caisson.cli.attendant"
local cli = require "caisson.cli"
local core = require "caisson.core"
local run = require "caisson.run"

local M = {}

-- ---- what the user is told ----

local function size(bytes)
  if not bytes then return "" end
  for _, unit in ipairs { { 2 ^ 30, "GiB" }, { 2 ^ 20, "MiB" }, { 2 ^ 10, "KiB" } } do
    if bytes >= unit[1] then return (" of %.4g %s"):format(bytes / unit[1], unit[2]) end
  end
  return (" of %d bytes"):format(bytes)
end

local function time(seconds)
  return seconds and (" of %.4g s"):format(seconds) or ""
end

-- One line on what a limit has ended.
local function ending_line(r, running)
  local limits, cgroup = running.limits, running.built.options.cgroup
  if r.status == "time_limit" then
    local cpu = limits.cpu and r.cpu_ns > limits.cpu * 1e9
    if cpu or not limits.time then
      return ("the limit of CPU time%s is used up"):format(time(limits.cpu))
    end
    return ("the time limit%s is over (%.3f s of it were CPU time)"):format(time(limits.time), r.cpu_ns / 1e9)
  elseif r.status == "memory_limit" then
    local max = cgroup and type(cgroup.memory) == "table" and cgroup.memory.max
    return ("out of memory: the limit%s is used up"):format(size(max and require("caisson.params").types.size(max)))
  elseif r.status == "output_limit" then
    return ("more output than the limit%s"):format(size(limits.output))
  elseif r.trace_error then
    return "the tracer has given up: " .. r.trace_error
  elseif r.denied then
    local what = r.denied.why and ", " .. r.denied.why or ""
    return ("the tracer has ended it at %s%s%s"):format(r.denied.call, what, r.denied.path and ": " .. r.denied.path or "")
  elseif r.status == "denied_syscall" then
    return "the seccomp policy does not allow a system call that it made (SIGSYS)"
  end
end

local function write_json(o, document)
  if o.observer then o.observer:ended(document) end
  local text = require("caisson.json").document(document) .. "\n"
  if o.json then io.write(text) end
  if o.result_file then o.result_file:write(text) end
end

-- ---- the command ----

local function what_to_run(o)
  local plan = require "caisson.cli.plan"
  o.environment = plan.environment(o.env)
  if o.plan then
    if o.mix and o.mix[1] then cli.fail("--mix: a saved plan is finished; mix-ins are for recipes") end
    if o.words[1] then cli.fail("--plan is run in place of a recipe: " .. o.words[1]) end
    local p = plan.read(o.plan)
    local last = p.steps[#p.steps]
    if not o.program and last and last.step == "exec" and last.options.argv[1] == plan.program then
      cli.fail("the plan names no program: it is to stand after --")
    end
    return require("caisson.saved").recipe(p)
  end
  o.params, o.mixes = plan.parameters(o.words, 2), plan.mixes(o)
  return plan.recipe(o.words)
end

-- Where --status-fd and --status lead.
local function status_of(o)
  if o.status_fd and o.status then cli.fail("--status-fd and --status are the same: one of the two") end
  if o.status then return { file = o.status } end
  if not o.status_fd then return nil end
  local fd = tonumber(o.status_fd:match "^%d+$")
  if not fd or not core.lstat("/proc/self/fd/" .. o.status_fd) then
    cli.fail("--status-fd: an open descriptor's number expected, got " .. o.status_fd)
  end
  return fd
end

-- What --break, --trace and --timeline need; nothing is loaded without them.
local function require_debug(o)
  if o["break"] and o["break"][1] or o.repl or o.trace or o.trace_calls or o.timeline then
    return require("caisson.cli.debug").new(o)
  end
end

function M.main(o)
  local recipe, status = what_to_run(o), status_of(o)
  local watch = require_debug(o)
  o.result_file = o.result and require("caisson.cli.output").open(o.result)
  if o.observer then o.observer:observe(recipe) end
  local by = attendant.new(o.cancel)
  local running, message, _, failure = run.start(recipe, { watch = watch and watch.build,
    params = o.params, args = o.program, env = o.environment,
    mix = o.mixes, cancel = by.cancel, late = 0.1, window = attendant.window(), status = status, log = cli.log,
    explain = o.explain })
  if watch then watch.close(failure) end
  if not running then
    local given_up = failure.code == "ECANCELED" and by:given_up()
    by:let_go()
    if given_up then return given_up end
    write_json(o, { status = "failed", message = message, failure = failure })
    if watch and watch.aborted(failure) then return cli.failed end
    return attendant.failed(message, failure)
  end
  if cli.log then cli.log:info("started", { pid = running:pid(), recipe = o.words and o.words[1] or o.plan }) end
  local r = by:attend(running, running.built.options)
  if cli.log then
    cli.log:info("ended", { status = r.status, code = r.code, signal = r.signal_name, cpu_ns = r.cpu_ns })
  end
  if r.report then io.write(r.report, "\n") end
  local line = ending_line(r, running)
  if line then cli.tell(line) end
  for _, text in ipairs(r.poststop_errors or {}) do cli.tell(text) end
  if o.explain then require("caisson.cli.explain").write(r, io.stderr) end
  write_json(o, r)
  return attendant.exit_status(r)
end

return M
