-- What the benchmarks share: processes that are measured, the rounds, and the table.
--
-- All that is compared is measured in one interleaved run, in another order each round, with a pause before every
-- single measurement: an idle machine shows stalls that a tight loop hides.
local core = require "caisson.core"

local M = {}

local pause = 0.02
local rounds = tonumber(os.getenv("BENCH_ROUNDS") or 100)

M.is_root = core.identity().euid == 0
M.runtime = nil -- XDG_RUNTIME_DIR of what is measured

-- ---- processes that are measured ----

-- steps: what comes before its exec
function M.server(argv, steps)
  local in_r, in_w = assert(core.pipe())
  local out_r, out_w = assert(core.pipe())
  local env = { "LUA_PATH=" .. package.path, "LUA_CPATH=" .. package.cpath }
  for _, name in ipairs { "PATH", "HOME", "LC_ALL" } do
    if os.getenv(name) then env[#env + 1] = name .. "=" .. os.getenv(name) end
  end
  if M.runtime then env[#env + 1] = "XDG_RUNTIME_DIR=" .. M.runtime end
  local list = steps or { { step = "clone", options = {} } }
  list[#list + 1] = { step = "exec", options = { argv = argv, env = env, files = { "stdin", "stdout", "stderr" } } }
  local process = assert(core.spawn { plan = core.plan(list), slots = { stdin = in_r, stdout = out_w, stderr = 2 } })
  in_r:close()
  out_w:close()
  return { process = process, input = in_w, output = out_r }
end

-- Send a command; the numbers of its answer.
function M.ask(s, command)
  assert(s.input:write(command .. "\n"))
  local text = ""
  while not text:find("\n", 1, true) do
    local part = assert(s.output:read())
    if part == "" then error("the measured process ended at: " .. command, 0) end
    text = text .. part
  end
  local numbers = {}
  for n in text:gmatch("%S+") do numbers[#numbers + 1] = tonumber(n) end
  if numbers[2] == -1 then error("failed: " .. command:gsub("\t", " "), 0) end
  return numbers
end

function M.command(argv) return "run\t" .. table.concat(argv, "\t") end

function M.found(program)
  for dir in (os.getenv("PATH") or ""):gmatch("[^:]+") do
    if core.lstat(dir .. "/" .. program) then return true end
  end
  return false
end

function M.write_file(name, text)
  local f = assert(io.open(name, "wb"))
  f:write(text)
  f:close()
  return name
end

-- ---- statistics ----

local function percentile(list, p)
  local t = {}
  for i, v in ipairs(list) do t[i] = v end
  table.sort(t)
  return t[math.max(1, math.ceil(#t * p))]
end

local function ms(ns) return ("%.3f"):format(ns / 1e6) end

local series = {} -- name -> list of ns
local rows = {} -- { text, measured, against, aim }
local jobs = {}

M.percentile, M.ms = percentile, ms

function M.pause() core.poll({}, pause) end

-- One measurement of a round. Returns the numbers of the answer.
function M.measure(name, who, what)
  M.pause()
  local answer = M.ask(who, what)
  series[name] = series[name] or {}
  table.insert(series[name], answer[1])
  return answer
end

-- What is done in each round.
function M.job(f) jobs[#jobs + 1] = f end

-- A row of the table: one series against another; aim: the ratio that is aimed at, or nil.
function M.compare(text, a, b, aim) rows[#rows + 1] = { text, a, b, aim } end

function M.verdict(value, aim) return (not aim or value <= aim) and "" or "  MISSED" end

function M.run()
  math.randomseed(1)
  for round = 1, rounds + 2 do
    if round == 3 then series = {} end -- the first two only warm up
    for i = #jobs, 2, -1 do
      local k = math.random(i)
      jobs[i], jobs[k] = jobs[k], jobs[i]
    end
    for _, job in ipairs(jobs) do job() end
  end
end

function M.report()
  print(("%d rounds, %d ms before each run; ratio of medians, quartiles of the ratios of neighbours, and ms: p50 p99 of both")
    :format(rounds, pause * 1000))
  for _, row in ipairs(rows) do
    local a, b = series[row[2]], series[row[3]]
    local ratios = {}
    for i = 1, math.min(#a, #b) do ratios[i] = a[i] / b[i] end
    local ratio = percentile(a, 0.5) / percentile(b, 0.5)
    print(("%-62s %5.2f %9s  %.2f..%.2f  %s %s / %s %s%s"):format(row[1], ratio,
      row[4] and ("(aim %.1f)"):format(row[4]) or "", percentile(ratios, 0.25), percentile(ratios, 0.75),
      ms(percentile(a, 0.5)), ms(percentile(a, 0.99)), ms(percentile(b, 0.5)), ms(percentile(b, 0.99)),
      M.verdict(ratio, row[4])))
  end
end

function M.report_peaks(text, peaks)
  local names = {}
  for name in pairs(peaks) do names[#names + 1] = name end
  table.sort(names)
  for i, name in ipairs(names) do names[i] = ("%s %d"):format(name, peaks[name]) end
  print(("%-62s %s"):format(text, table.concat(names, ", ")))
end

return M
