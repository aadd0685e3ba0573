-- What is wrong with a recipe, said without making its container: what is not understood, what this machine or this user
-- can't do, and what would let the program out.
--
--   for _, f in ipairs(check.of(assert(recipe:build {}))) do print(f.at, f.level, f.rule, f.message) end
--
-- Each rule looks at the plan: at what the container will be, whoever asked for it. A recipe accepts a finding on purpose
-- by name and with its reason: accept = { ["host-network"] = "it is a proxy" }.
local words = require "caisson.words"

local M = {}

---@class caisson.Finding
---@field level "error"|"warning"|"note"
---@field rule string      the rule's name, which stays
---@field message string   what is so
---@field why? string      what can come of it
---@field fix? string      what to write instead
---@field at? string       file:line
---@field accepted? string why it is so on purpose
---@field untold? boolean  a parameter is missing: nothing can be said about the rest

---@class caisson.check.Rule
---@field name string
---@field level "error"|"warning"|"note"  of most cases
---@field title string
---@field why? string
---@field fix? string
---@field find fun(m: caisson.check.Model, found: fun(message: string, step?: table, over?: table))

local levels = { error = 1, warning = 2, note = 3 }

local families = { "works", "files", "kernel", "rights", "calls", "limits" }

local rules

---All rules, in the order in which they are looked at.
---@return caisson.check.Rule[]
function M.rules()
  if not rules then
    rules = { { name = "invalid", level = "error", title = "The recipe is understood, and a plan can be made of it." } }
    for _, family in ipairs(families) do
      for _, r in ipairs(require("caisson.check." .. family)) do rules[#rules + 1] = r end
    end
  end
  return rules
end

local function known(name)
  for _, r in ipairs(M.rules()) do if r.name == name then return true end end
  return false
end

-- "unknown rule 'x' (did you mean 'y'?)", or nil where it is one.
---@param name string
---@return string? message
function M.unknown(name)
  if known(name) then return nil end
  local list = {}
  for i, r in ipairs(M.rules()) do list[i] = r.name end
  return words.unknown("unknown rule", name, list)
end

local function order(findings)
  for i, f in ipairs(findings) do f.number = i end
  table.sort(findings, function(a, b)
    if levels[a.level] ~= levels[b.level] then return levels[a.level] < levels[b.level] end
    return a.number < b.number
  end)
  for _, f in ipairs(findings) do f.number = nil end
  return findings
end

-- What a recipe accepts, checked: rule -> reason.
local function accepted(built, findings)
  local list = built and built.options and built.options.accept or {}
  local at = built and built.recipe and built.recipe:locate { "accept" } or nil
  for name in pairs(list) do
    local wrong = M.unknown(tostring(name))
    if wrong then
      findings[#findings + 1] = { level = "error", rule = "invalid", message = "accept: " .. wrong, at = at }
    end
  end
  return list, at
end

---What is wrong with a recipe that was built, or with a plan. The worst stands first.
---@param built table|caisson.Plan
---@param opts? { here?: boolean, allow?: table<string, string|true>, identity?: table }  here = false: the container is for
---another machine, so what this one has and can do does not count
---@return caisson.Finding[]
function M.of(built, opts)
  opts = opts or {}
  local m = require("caisson.check.model").of(built, opts)
  local findings = {}
  local reasons, at = accepted(m.built, findings)
  local used = {}
  for _, r in ipairs(M.rules()) do
    local seen = {}
    local function found(message, step, over)
      over = over or {}
      local f = { level = over.level or r.level, rule = r.name, message = words.message(message), why = over.why or r.why,
        fix = over.fix or r.fix, at = over.at or m:at(step) }
      if m.recipe and m.recipe.bundle then f.fix = require("caisson.check.oci").fix(r.name, f.fix) end
      local reason = opts.allow and opts.allow[r.name] or reasons[r.name]
      if reason then
        used[r.name] = true
        f.accepted = reason == true and "allowed" or tostring(reason)
      end
      local key = f.message .. "\0" .. tostring(f.at)
      if not seen[key] then
        seen[key] = true
        findings[#findings + 1] = f
      end
    end
    if r.find then r.find(m, found) end
  end
  for name in pairs(reasons) do
    if not used[name] and known(name) and m.identity.euid == 0 then -- fewer are found where another starts it
      findings[#findings + 1] = { level = "note", rule = "invalid", at = at,
        message = ("accept: nothing is found by '%s' any more"):format(name), fix = "leave it out" }
    end
  end
  return order(findings)
end

-- file:line in front of a message, apart from it.
local function split(message)
  local at, rest = message:match("^([^\n:]+:%d+): (.*)$")
  if not at then at, rest = message:match("^(.-config%.json): (.*)$") end
  return at, rest or message
end

---The same of a recipe that has yet to be built, or of one by name, file or bundle's directory: what keeps it from being
---built is a finding too.
---@param r caisson.Recipe|string
---@param opts? table  those of Recipe:build (params, args, env, mix), and those of check.of
---@return caisson.Finding[] findings, caisson.Plan? plan
function M.recipe(r, opts)
  opts = opts or {}
  local recipe = require "caisson.recipe"
  local function invalid(text)
    local at, rest = split(text)
    local hint
    rest, hint = rest:match("^(.-)\n%s*hint: (.*)$")
    rest = rest or select(2, split(text))
    return { { level = "error", rule = "invalid", message = words.message(rest), at = at, fix = hint } }
  end
  if type(r) == "string" then
    local loaded, why = recipe.load(r)
    if not loaded then
      local findings = invalid(why)
      findings[1].at = findings[1].at or r
      return findings
    end
    r = loaded
  end
  local built, message = r:build { params = opts.params, args = opts.args, env = opts.env, mix = opts.mix,
    default_args = { M.program } }
  if not built then
    local findings = invalid(message)
    -- nothing is wrong with it: it can't be told without
    findings[1].untold = findings[1].message:find("^parameter '[%w_]+' is missing") ~= nil or nil
    findings[1].at = findings[1].at or r.file and (r.file:match("[^/]*/[^/]*$") or r.file) or r.name
    return findings
  end
  return M.of(built, opts), built.plan
end

-- What stands in a plan for the program that has yet to be named.
M.program = "PROGRAM"

---How many findings of each level there are that are not accepted.
---@param findings caisson.Finding[]
---@return { error: integer, warning: integer, note: integer, accepted: integer }
function M.count(findings)
  local n = { error = 0, warning = 0, note = 0, accepted = 0 }
  for _, f in ipairs(findings) do
    local k = f.accepted and "accepted" or f.level
    n[k] = n[k] + 1
  end
  return n
end

return M
