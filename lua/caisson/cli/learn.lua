-- caisson learn: run a program, and write the policy that it needs.
local attendant = require "caisson.cli.attendant"
local cli = require "caisson.cli"
local run = require "caisson.run"

local M = {}

local mark = "-- What this needed, and nothing else, learnt from "

local function read(path)
  local f = io.open(path, "rb")
  if not f then return nil end
  local s = f:read "*a"
  f:close()
  return s
end

-- Before the run: what it has learnt is not to be lost.
local function open_output(path)
  if path == "-" then return io.stdout end
  return path and require("caisson.cli.output").open(path)
end

local function count(set)
  local n = 0
  for _ in pairs(set) do n = n + 1 end
  return n
end

-- A few lines on what was learnt, and what to do with it.
local function tell(learnt, output, before)
  local n, c = learnt.needs, require("caisson.cli.color").of(io.stderr)
  local function say(...) io.stderr:write(("caisson: %s\n"):format(table.concat { ... })) end
  local conditions = 0
  for _, keys in pairs(n.calls) do if not keys[""] then conditions = conditions + count(keys) end end
  local files = {}
  for _, k in ipairs { "execute", "read", "write" } do files[#files + 1] = ("%d to %s"):format(count(n.files[k]), k) end
  say("learnt ", c.bold(("%d system calls"):format(count(n.calls))), (" (%d values of arguments), paths: %s"):format(
    conditions, table.concat(files, ", ")))
  if before then
    local new = {}
    for name, keys in pairs(n.calls) do
      local had = before.calls[name]
      if not had then
        new[#new + 1] = name
      elseif count(had) < count(keys) and not had[""] then
        new[#new + 1] = name .. " (arguments)"
      end
    end
    table.sort(new)
    for _, k in ipairs { "execute", "read", "write" } do
      local paths = {}
      for path in pairs(n.files[k]) do if not before.files[k][path] then paths[#paths + 1] = path end end
      table.sort(paths)
      for i, path in ipairs(paths) do new[#new + 1] = (i == 1 and "to " .. k .. " " or "") .. path end
    end
    say("new in this run: ", #new > 0 and table.concat(new, ", ") or "nothing")
  end
  for _, text in ipairs(n.notes) do say(c.yellow "note", ": ", text) end
  if output ~= "-" then say("written to ", output, "; try it: caisson run ", output, " -- ...") end
end

-- The same by what was learnt. Returns the status.
local function check(o, output, params, status)
  if output == "-" then cli.fail "--check runs what was written: --output names a file" end
  local found, message = require("caisson.recipe").load(output:find "[/.]" and output or "./" .. output)
  if not found then cli.fail(message) end
  local attending = attendant.new()
  local running, why, _, failure = run.start(found, { params = params, args = o.program,
    env = require("caisson.cli.plan").environment(o.env), cancel = attending.cancel, late = 0.1, window = attendant.window(),
    log = cli.log })
  if not running then
    attending:let_go()
    return attendant.failed(why, failure)
  end
  local again = attendant.exit_status(attending:attend(running, running.built.options))
  if again == status then
    if not o.quiet then io.stderr:write(("caisson: checked: by what was learnt it ends with status %d, too\n"):format(again)) end
  else
    cli.tell(("by what was learnt it ends with status %d, and not %d: --merge %s adds runs; caisson run --explain %s -- ... "
      .. "says what it is denied"):format(again, status, output, output))
  end
  return again
end

-- What was learnt before says in what: the recipe, and its parameters, as words.
local function words_of(path)
  local made, message = require("caisson.recipe").load(path)
  if not made then cli.fail("--merge " .. message) end
  local words = { made.def.extends }
  for name, d in pairs(made.params) do
    local v = type(d.default) == "table" and table.concat(d.default, ",") or d.default
    if v ~= nil then words[#words + 1] = name .. "=" .. tostring(v) end
  end
  return words
end

function M.main(o)
  local learn, plan = require "caisson.learn", require "caisson.cli.plan"
  if o.merge and not o.words[1] then o.words = words_of(o.merge) end
  local name = o.words[1]
  local recipe = plan.recipe(o.words)
  local params = plan.parameters(o.words, 2)
  local before
  if o.merge then
    local message
    before, message = learn.read(o.merge)
    if not before then cli.fail("--merge " .. message) end
  end
  local output = o.output or o.merge or "learnt.lua"
  if output ~= "-" and not o.merge then
    local there = read(output)
    if there and there ~= "" and there:sub(1, #mark) ~= mark then
      cli.fail(("%s is there, and not of learn's making: --output names another file"):format(output))
    end
  end
  local file, oci = open_output(output), open_output(o.oci)
  local by, options = learn.recipe(recipe, { params = params, trace_all = o.trace_all })
  if not by then cli.fail(options) end
  local attending = attendant.new()
  local running, message, _, failure = run.start(by, { params = params, args = o.program, env = plan.environment(o.env),
    cancel = attending.cancel, late = 0.1, window = attendant.window(), log = cli.log })
  if not running then
    local given_up = failure.code == "ECANCELED" and attending:given_up()
    attending:let_go()
    if given_up then return given_up end
    return attendant.failed(message, failure)
  end
  local r = attending:attend(running, running.built.options)
  if r.report then io.write(r.report, "\n") end
  if not r.learnt then cli.fail("nothing was learnt: " .. tostring(r.trace_error or "the program was ended")) end
  local learnt = learn.of(r, { extends = name, params = params, args = running.built.options.args, options = options,
    types = learn.types_of(recipe) })
  if before then learnt = before + learnt end
  file:write(learnt:text())
  if oci then
    local json
    json, message = learnt:oci()
    if not json then cli.fail("--oci: " .. message) end
    oci:write(json)
  end
  local status = attendant.exit_status(r)
  if status ~= 0 then
    cli.tell(("the program ended with status %d: what it did not come to is not in the policy"):format(status))
  end
  if not o.quiet then tell(learnt, output, before and before.needs) end
  if o.check then return check(o, output, params, status) end
  return status
end

return M
