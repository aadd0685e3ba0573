-- judge: run an untrusted program on an input and say what became of it.
--
--   caisson run judge memory=64M time=2s input=1.in expect=1.out -- ./a.out
--
-- The sandbox recipe's container, with hard limits. The result carries the verdict: accepted,
-- wrong answer, time limit, memory limit, output limit, forbidden system call, or runtime error.
local caisson = require "caisson"

local verdicts = {
  time_limit = "time limit exceeded",
  memory_limit = "memory limit exceeded",
  output_limit = "output limit exceeded",
  denied_syscall = "forbidden system call",
}

-- Answers are compared as judges do: blanks at the ends of lines and of the text don't count.
local function normal(text)
  return (text:gsub("[ \t\r]+\n", "\n"):gsub("%s+$", ""))
end

local function verdict(r, expected)
  if r.oom then return verdicts.memory_limit end -- whichever of its processes it was, and however it went on
  if verdicts[r.status] then return verdicts[r.status] end
  if r.status == "signalled" then return ("runtime error (signal %d)"):format(r.signal) end
  if r.code ~= 0 then return ("runtime error (exit status %d)"):format(r.code) end
  if expected and normal(r.stdout) ~= normal(expected) then return "wrong answer" end
  return "accepted"
end

local function read(path)
  local f = assert(io.open(path, "rb"))
  local text = f:read("*a")
  f:close()
  return text
end

return caisson.recipe {
  summary = "Judge an untrusted program: time, memory and output limits, expected output, a verdict",
  extends = "sandbox",
  params = {
    dir = { "path", default = ".", help = "the directory that the program is in, shown read-only" },
    time = { "time", default = "1s", help = "CPU time" },
    wall = { "time", help = "time by the clock; twice the CPU time and a second by default" },
    memory = { "size", default = "256M", help = "memory" },
    pids = { "integer", default = 16, help = "processes and threads" },
    output = { "size", default = "16M", help = "bytes of output" },
    input = { "path", help = "file for the standard input; nothing by default" },
    expect = { "path", help = "file with the expected output" },
    optional_limits = { "boolean", default = false,
      help = "go on where memory and processes can't be limited; the result says so" },
  },
  build = function(p)
    local expected = p.expect and read(p.expect)
    return {
      cgroup = {
        memory = { max = p.memory, swap = 0, optional = p.optional_limits },
        pids = { max = p.pids, optional = p.optional_limits },
        cpu = { optional = true }, -- its time is then read there
      },
      rlimits = { stack = "max", fsize = p.output, core = 0, cpu = { math.ceil(p.time) + 1, math.ceil(p.time) + 2 } },
      limits = { cpu = p.time, time = p.wall or 2 * p.time + 1, output = p.output },
      stdin = p.input and { file = p.input } or "null",
      stdout = "capture",
      stderr = "capture",
      result = function(r)
        r.verdict = verdict(r, expected)
        r.report = ("%s (%.0f ms CPU, %.0f ms, %.1f MiB)"):format(r.verdict, r.cpu_ns / 1e6, r.wall_ns / 1e6,
          (r.memory_peak or 0) / 1048576)
      end,
    }
  end,
}
