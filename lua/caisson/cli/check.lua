-- caisson check: what is wrong with recipes, said without making a container.
--
-- Exit status: 0 where nothing is wrong; 1 with --strict where there are warnings; 2 where there are errors; 125 where it
-- can't be told of one of them, since there is no such recipe, or a parameter of it is missing.
local check = require "caisson.check"
local cli = require "caisson.cli"
local color = require "caisson.cli.color"
local plans = require "caisson.cli.plan"
local recipe = require "caisson.recipe"

local M = {}

local paint = { error = "red", warning = "yellow", note = "cyan" }

-- Text in lines of that width, the first after a head, the others below it.
local function wrapped(head, text, width, style)
  local indent, lines, line = (" "):rep(color.width(head)), {}, nil
  for word in text:gmatch("%S+") do
    if line and width and color.width(head) + color.width(line) + 1 + color.width(word) > width then
      lines[#lines + 1] = line
      line = word
    else
      line = line and line .. " " .. word or word
    end
  end
  lines[#lines + 1] = line or ""
  for i, l in ipairs(lines) do lines[i] = (i == 1 and head or indent) .. style(l) end
  return table.concat(lines, "\n")
end

local function plain(s) return s end

local function show(name, findings, o, c)
  local out = {}
  local function add(s) out[#out + 1] = s end
  for _, f in ipairs(findings) do
    if not (o.quiet and (f.level == "note" or f.accepted)) then
      local level = f.accepted and c.dim "accepted" or c[paint[f.level]](f.level)
      local at = f.at or name
      add(wrapped("", ("%s: %s: %s [%s]"):format(at, f.level, f.message, f.rule), c.columns, plain)
        :gsub("^(.-): " .. f.level .. ": ", function() return c.bold(at) .. ": " .. level .. ": " end, 1)
        :gsub("%[([%w%-]+)%]$", function(rule) return c.dim("[" .. rule .. "]") end))
      if f.accepted then
        add(wrapped("    since: ", f.accepted, c.columns, c.dim))
      else
        if f.why and f.level ~= "note" then add(wrapped("    why: ", f.why, c.columns, plain)) end
        if f.fix then add(wrapped("    fix: ", f.fix, c.columns, c.green)) end
      end
    end
  end
  local n = check.count(findings)
  local parts = {}
  for _, k in ipairs { "error", "warning", "note" } do
    if n[k] > 0 then
      local text = ("%d %s%s"):format(n[k], k, n[k] == 1 and "" or "s")
      parts[#parts + 1] = k == "note" and text or c[paint[k]](text)
    end
  end
  if n.accepted > 0 then parts[#parts + 1] = ("%d accepted"):format(n.accepted) end
  if n.error + n.warning == 0 then table.insert(parts, 1, c.green "nothing wrong") end
  add(c.bold(name) .. ": " .. table.concat(parts, ", "))
  return table.concat(out, "\n") .. "\n"
end

local function list_rules(o)
  local rules = check.rules()
  if o.json then
    local list = {}
    for i, r in ipairs(rules) do list[i] = { name = r.name, level = r.level, title = r.title, why = r.why, fix = r.fix } end
    io.write(require("caisson.json").document(list), "\n")
    return 0
  end
  local c, width = color.of(io.stdout), 0
  for _, r in ipairs(rules) do width = math.max(width, #r.name) end
  for _, r in ipairs(rules) do
    local head = color.pad(c[paint[r.level]](r.level), 7) .. "  " .. c.bold(color.pad(r.name, width)) .. "  "
    io.write(wrapped(head, r.title, c.columns, plain), "\n")
  end
  return 0
end

-- The rules of --allow.
local function allowed(o)
  local allow = {}
  for _, words in ipairs(o.allow or {}) do
    for name in words:gmatch("[^,%s]+") do
      local wrong = check.unknown(name)
      if wrong then cli.fail("--allow: " .. wrong .. " (see: caisson check --rules)") end
      allow[name] = "--allow"
    end
  end
  return allow
end

-- The recipes, each with its own words: its parameters stand behind it, or with it in quotes.
local function recipes(o)
  local list = {}
  for _, word in ipairs(o.words) do
    if not word:find("^[%w_]+=") then
      list[#list + 1] = plans.side(word)
    elseif #list == 0 then
      cli.fail(("'%s' stands before any recipe, whose parameter it would be"):format(word))
    else
      table.insert(list[#list], word)
    end
  end
  if #list == 0 then cli.fail("a recipe is expected (see: caisson recipes)") end
  return list
end

local function findings_of(words, o, allow)
  local opts = { allow = allow, here = not o.elsewhere }
  if plans.is_saved(words[1]) then
    if words[2] or o.program then cli.fail("a saved plan has its parameters and its program in it") end
    return check.of(plans.read(words[1]), opts)
  end
  if not recipe.locate(words[1]) then
    local found, message = recipe.load(words[1])
    if not found and not message:find("config.json", 1, true) then cli.fail(message) end
  end
  opts.params, opts.args = plans.parameters(words, 2), o.program
  opts.env, opts.mix = plans.environment(o.env), plans.mixes(o)
  return (check.recipe(words[1], opts))
end

function M.main(o)
  if o.rules then return list_rules(o) end
  local allow, status, documents = allowed(o), 0, {}
  local c = color.of(io.stdout)
  for _, words in ipairs(recipes(o)) do
    local findings = findings_of(words, o, allow)
    local n = check.count(findings)
    local untold = findings[1] and findings[1].untold
    if untold then
      status = cli.failed
    elseif n.error > 0 then
      status = math.max(status, 2)
    elseif n.warning > 0 and o.strict then
      status = math.max(status, 1)
    end
    local name = table.concat(words, " ")
    if untold and not o.json then
      cli.tell(("%s: it can't be told: %s"):format(name, findings[1].message))
    elseif o.json then
      documents[#documents + 1] = { recipe = name, errors = n.error, warnings = n.warning, notes = n.note, accepted = n.accepted,
        findings = findings }
    else
      io.write(show(name, findings, o, c))
    end
  end
  if o.json then io.write(require("caisson.json").document(documents), "\n") end
  return status
end

return M
