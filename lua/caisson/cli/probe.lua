-- caisson probe: what can be done from inside of recipes' containers.
local cli = require "caisson.cli"
local words = require "caisson.words"

local M = {}

-- RECIPE [NAME=VALUE...] [RECIPE ...]: parameters are those of the recipe before them.
local function wanted(list)
  local all = {}
  for _, word in ipairs(list) do
    local name, value = word:match("^([%w_]+)=(.*)$")
    if not name then
      all[#all + 1] = { name = word, params = {} }
    elseif not all[1] then
      cli.fail("a recipe is expected before " .. word)
    else
      all[#all].params[name] = value
    end
  end
  if not all[1] then cli.fail("a recipe is expected (see: caisson recipes)") end
  return all
end

-- What --fail-on names: a list of rules, and the least level that fails (nil: none).
local function conditions(list)
  local rules, found, least = require "caisson.probe.rules", {}, nil
  for _, text in ipairs(list or {}) do
    for word in text:gmatch("[^,%s]+") do
      if word ~= "ok" and rules.levels[word] then
        least = math.min(least or rules.levels[word], rules.levels[word])
      elseif rules.of(word) then
        found[#found + 1] = word
      else
        local known = { "danger", "warning", "note" }
        for _, r in ipairs(rules) do known[#known + 1] = r.name end
        cli.fail(words.unknown("--fail-on: unknown rule", word, known))
      end
    end
  end
  return found, least
end

-- Which of the conditions a report breaks: { text, ... }. A rule that could not be looked at is not kept.
local function broken(report, found, least)
  local rules, list = require "caisson.probe.rules", {}
  for _, name in ipairs(found) do
    local level = report.rules[name]
    if level ~= "ok" then list[#list + 1] = level == "unknown" and name .. " (could not be looked at)" or name end
  end
  for _, f in ipairs(report.findings) do
    local named = false
    for _, name in ipairs(found) do named = named or name == f.rule end
    if least and not named and rules.levels[f.level] >= least then list[#list + 1] = f.rule end
  end
  return list
end

local function write(path, text)
  local f, message = io.open(path, "wb")
  if not f then cli.fail(message) end
  f:write(text)
  local ok
  ok, message = f:close()
  if not ok then cli.fail(path .. ": " .. tostring(message)) end
end

function M.main(o)
  local style = require("caisson.cli.color").of(io.stdout)
  local shown = { color = style, columns = style.columns or 80, all = o.all }
  if o.rules then
    io.write(require("caisson.probe.text").rules(shown))
    return 0
  end
  local found, least = conditions(o.fail_on)
  local plans, reports, list = require "caisson.cli.plan", {}, {}
  local env, mixes = plans.environment(o.env), plans.mixes(o)
  for _, w in ipairs(wanted(o.words)) do
    list[#list + 1] = w
    if mixes then list[#list + 1] = { name = w.name, params = w.params, mixes = mixes } end
  end
  -- a signal that ends this process waits until a container is gone
  local by = require("caisson.cli.attendant").new()
  for i, w in ipairs(list) do
    local report, message, _, failure = require("caisson.probe").run(w.name, { params = w.params, env = env, cancel = by.cancel,
      mix = w.mixes })
    local given_up = by:given_up()
    if given_up then
      by:let_go()
      return given_up
    end
    if not report then cli.fail(w.name .. ": " .. message, failure) end
    reports[i] = report
    if w.mixes then report.mix = o.mix end
  end
  by:let_go()
  if o.html then write(o.html, require("caisson.probe.html").page(reports)) end
  if o.json then
    io.write(require("caisson.json").document { caisson_probe = 1, reports = reports }, "\n")
  elseif #reports == 1 then
    io.write(require("caisson.probe.text").one(reports[1], shown))
  else
    io.write(require("caisson.probe.text").several(reports, shown))
  end
  local status = 0
  for _, r in ipairs(reports) do
    local names = mixes and not r.mix and {} or broken(r, found, least)
    if #names > 0 then
      status = 1
      cli.tell(("%s: --fail-on: %s"):format(r.recipe, table.concat(names, ", ")))
    end
  end
  return status
end

return M
