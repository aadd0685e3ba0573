-- judge: run an untrusted program on an input and say what became of it.
--
--   caisson run judge memory=64M time=2s input=1.in expect=1.out -- ./a.out
--
-- The sandbox recipe's container, with hard limits. The result carries the verdict: accepted,
-- wrong answer, time limit, memory limit, output limit, forbidden system call, or runtime error.
--
-- mode=ptrace: a tracer looks at each file that the program names, too. What is in none of the sets ends it, with
-- the path in the result; what is in `banned` it just can't have. The sets are of paths as the program sees them:
-- "/etc/passwd" is a file, "/usr/" a directory and all below, "/data/*" what is right in one.
local caisson = require "caisson"

-- What any program may need: its own files, the system's, and to find out what there is.
local sets = {
  readable = { "/usr/", "/etc/", "/proc/self/", "/proc/meminfo", "/proc/cpuinfo", "/proc/stat", "/proc/filesystems",
    "/sys/devices/system/cpu/", "/dev/null", "/dev/zero", "/dev/random", "/dev/urandom" },
  writable = { "/dev/null", "/dev/full" },
  statable = { "/*", "/dev/", "/proc/", "/sys/", "/tmp/" },
  banned = {},
}

local function tracer(p)
  local lists = {}
  for name, list in pairs(sets) do
    lists[name] = {}
    for _, source in ipairs { list, p[name] or {} } do
      for _, path in ipairs(source) do table.insert(lists[name], path) end
    end
  end
  table.insert(lists.readable, assert(caisson.core.realpath(p.dir)) .. "/")
  return { calls = { "@paths" }, decide = caisson.trace.by_sets(lists) }
end

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
  if r.status == "failed" then return "runner error" end
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
    mode = { "string", default = "seccomp", help = "ptrace: sets of paths say which files it may use" },
    readable = { "list", help = "mode=ptrace: more that may be read" },
    writable = { "list", help = "mode=ptrace: more that may be written and read" },
    statable = { "list", help = "mode=ptrace: more that may be looked at" },
    banned = { "list", help = "mode=ptrace: what is denied, and not the program's end" },
    optional_limits = { "boolean", default = false,
      help = "go on where memory and processes can't be limited; the result says so" },
  },
  build = function(p)
    local expected = p.expect and read(p.expect)
    if p.mode ~= "seccomp" and p.mode ~= "ptrace" then error("mode: seccomp or ptrace expected, got " .. p.mode, 0) end
    local traced = p.mode == "ptrace"
    return {
      cgroup = {
        memory = { max = p.memory, swap = 0, optional = p.optional_limits },
        pids = { max = p.pids, optional = p.optional_limits },
        cpu = { optional = true }, -- its time is then read there
      },
      rlimits = { stack = "max", fsize = p.output, core = 0, cpu = { math.ceil(p.time) + 1, math.ceil(p.time) + 2 } },
      limits = { cpu = p.time, time = p.wall or 2 * p.time + 1, output = p.output },
      stdin = p.input and { file = p.input } or "null",
      trace = traced and tracer(p) or nil,
      -- nothing that opens files behind the tracer's back
      seccomp = traced and caisson.policy.default() - { "@io-uring", "@mount", "@namespace", "ptrace",
        "open_by_handle_at" } or nil,
      stdout = "capture",
      stderr = "capture",
      result = function(r)
        r.verdict = verdict(r, expected)
        local what, d = nil, r.denied
        if d then what = ("%s: %s, to %s %s"):format(r.verdict, d.call, tostring(d.why), tostring(d.path)) end
        if r.trace_error then what = r.verdict .. ": " .. r.trace_error end
        r.report = ("%s (%.0f ms CPU, %.0f ms, %.1f MiB)"):format(what or r.verdict, r.cpu_ns / 1e6, r.wall_ns / 1e6,
          (r.memory_peak or 0) / 1048576)
      end,
    }
  end,
}
