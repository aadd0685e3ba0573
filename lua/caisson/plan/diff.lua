-- What is different between two plans: steps that were added, removed, moved or changed, and what has changed inside of them.
--
--   local d = diff.of(a, b)       d.same   d:text()   d:json()
--
-- A step is the same one in both plans where it does the same to the same thing: binds to one target, limits one
-- resource, … Functions are compared by their name, and by their code where this Lua tells.
local color = require "caisson.cli.color"
local core = require "caisson.core"
local json = require "caisson.json"
local plan_module = require "caisson.plan"
local text = require "caisson.plan.text"

local M = {}

---@class caisson.plan.Diff
---@field same boolean
---@field unchanged integer   how many steps are in both as they are
---@field added table[]       rows of the second plan: { number, phase, side, step, object, at }
---@field removed table[]     rows of the first
---@field changed table[]     { step, from = row, to = row, moved?, fields = { { name, from, to } or { name, added, removed } } }
---@field moved table[]       { step, from = row, to = row }: what is the same, but at another place among the rest
---@field calls? table[]      what system calls get: { from, to, names }
---@field run? table[]        what is of the run as a whole, as fields of a step: limits, streams, hooks, …
local Diff = {}
Diff.__index = Diff

local concat = table.concat

-- ---- which step is which ----

-- What a step does something to, where that is not its field target, path, at or resource.
local identity = { sysctl = "name", ["cgroup.set"] = { "group", "file" }, ["cgroup.attach"] = "group", lua = "name",
  ["namespace.join"] = "namespaces", ["namespace.unshare"] = "namespaces", ["mount.tree"] = "tree", ["link.set"] = "name",
  ["link.add"] = "name", ["link.veth"] = "name", ["address.add"] = { "dev", "address" }, ["route.add"] = "to",
  ["landlock.port"] = "port", ["landlock.path"] = { "ruleset", "path" }, ["cgroup.create"] = { "at" }, chdir = {},
  ["root.bind"] = {}, ["root.tmpfs"] = {}, ["root.overlay"] = {} }
local usual = { "target", "path", "at", "resource" }

local function value_text(v)
  if type(v) ~= "table" then return tostring(v) end
  local parts = {}
  for i, item in ipairs(v) do parts[i] = value_text(item) end
  return concat(parts, ":")
end

local function name_of(s)
  local fields = identity[s.step]
  if type(fields) == "string" then fields = { fields } end
  local parts = { s.step }
  if s.step == "capabilities" then -- the two steps of it have different sets
    parts[2] = s.options.bounding and "bounding" or ""
  elseif fields then
    for _, f in ipairs(fields) do parts[#parts + 1] = value_text(s.options[f]) end
  else
    for _, f in ipairs(usual) do
      if s.options[f] ~= nil then
        parts[2] = value_text(s.options[f])
        break
      end
    end
  end
  return concat(parts, "\0")
end

-- A plan's steps, as core has understood them, with their rows and names. Those of one name are numbered.
local function steps_of(plan)
  local list, rows, seen = plan:compile():steps(), plan:rows(), {}
  for i, s in ipairs(list) do
    s.row, s.fn, s.phase = rows[i], plan.steps[i].fn, plan.steps[i].phase
    local name = name_of(s)
    seen[name] = (seen[name] or 0) + 1
    s.name = name .. "\0" .. seen[name]
  end
  return list
end

-- ---- inside of a step ----

local function same(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then return a == b end
  if #a ~= #b then return false end
  for k, v in pairs(a) do if not same(v, b[k]) then return false end end
  for k in pairs(b) do if a[k] == nil then return false end end
  return true
end

local as_set = { flags = true, strings = true, slots = true, u64s = true }
local in_order = { argv = true, files = true }

-- Items of list a that are not in b.
local function without(a, b)
  local has, left = {}, {}
  for _, v in ipairs(b) do has[v] = true end
  for _, v in ipairs(a) do if not has[v] then left[#left + 1] = tostring(v) end end
  return left
end

local function maps_text(list)
  local parts = {}
  for i, m in ipairs(list) do parts[i] = concat({ m[1] or m.inside, m[2] or m.outside, m[3] or m.count }, ":") end
  return concat(parts, " ")
end

local function shown(v, kind)
  if v == nil then return nil end
  if kind == "bytes" then return ("%d bytes"):format(#v) end
  if kind == "idmaps" then return maps_text(v) end
  if type(v) == "table" then
    local parts = {}
    for i, item in ipairs(v) do parts[i] = tostring(item) end
    return concat(parts, " ")
  end
  return tostring(v)
end

-- The first line in which two texts differ, of each.
local function lines_of(a, b)
  local from, to = {}, {}
  for line in (a .. "\n"):gmatch("(.-)\n") do from[#from + 1] = line end
  for line in (b .. "\n"):gmatch("(.-)\n") do to[#to + 1] = line end
  for i = 1, math.max(#from, #to) do
    if from[i] ~= to[i] then return i, from[i], to[i] end
  end
end

local function field_difference(field, a, b)
  if same(a, b) then return nil end
  local d = { name = field.name }
  if as_set[field.kind] and not in_order[field.name] and a and b then
    d.removed, d.added = without(a, b), without(b, a)
    if #d.removed > 0 or #d.added > 0 then return d end
    return { name = field.name, from = shown(a, field.kind), to = shown(b, field.kind) } -- another order
  end
  d.from, d.to = shown(a, field.kind), shown(b, field.kind)
  if field.name == "data" and a and b and json.is_utf8(a .. b) and not (a .. b):find("%z") then
    d.line, d.from, d.to = lines_of(a, b)
  end
  return d
end

-- Can functions be compared by what they do? Elsewhere their bytecode has the lines in it.
local strips = rawget(_G, "jit") ~= nil or tonumber(_VERSION:match("%d+%.%d+$")) >= 5.3

local function code_of(fn)
  local ok, code = pcall(string.dump, fn, true)
  return ok and code or nil
end

local function differences(a, b)
  local list = {}
  for _, field in ipairs(core.primitives[a.step].fields) do
    local d = field_difference(field, a.options[field.name], b.options[field.name])
    if d then list[#list + 1] = d end
  end
  for _, k in ipairs { "side", "phase" } do
    if a[k] ~= b[k] then list[#list + 1] = { name = k, from = a[k], to = b[k] } end
  end
  if (a.optional or false) ~= (b.optional or false) then
    list[#list + 1] = { name = "optional", from = tostring(a.optional or false), to = tostring(b.optional or false) }
  end
  if a.fn and b.fn and a.fn ~= b.fn and strips and code_of(a.fn) ~= code_of(b.fn) then
    list[#list + 1] = { name = "function", from = a.row.at, to = b.row.at }
  end
  return list
end

-- ---- order ----

-- Which of these positions (of one plan, in the order of the other) rise: the longest such chain, as a set.
local function rising(positions)
  local tails, before = {}, {}
  for i, p in ipairs(positions) do
    local low, high = 1, #tails + 1
    while low < high do
      local mid = math.floor((low + high) / 2)
      if positions[tails[mid]] < p then low = mid + 1 else high = mid end
    end
    before[i], tails[low] = tails[low - 1], i
  end
  local set, i = {}, tails[#tails]
  while i do
    set[i] = true
    i = before[i]
  end
  return set
end

-- ---- system calls ----

-- What all filters of a plan answer together; nil where it has none.
local function filters(steps)
  local list = {}
  for _, s in ipairs(steps) do
    if s.step == "seccomp" then list[#list + 1] = s.options.program end
  end
  return list
end

local function call_differences(a, b)
  local from, to = filters(a), filters(b)
  if same(from, to) then return nil end
  local answers = require "caisson.policy.answers"
  local x, y = answers.of(from):table(), answers.of(to):table()
  local groups, order = {}, {}
  for name, answer in pairs(x) do
    if y[name] ~= answer then
      local key = answer .. "\0" .. y[name]
      if not groups[key] then
        groups[key] = { from = answer, to = y[name], names = {} }
        order[#order + 1] = groups[key]
      end
      table.insert(groups[key].names, name)
    end
  end
  for _, g in ipairs(order) do table.sort(g.names) end
  table.sort(order, function(g, h)
    if #g.names ~= #h.names then return #g.names > #h.names end
    return g.names[1] < h.names[1]
  end)
  return #order > 0 and order or nil
end

-- ---- the run as a whole ----

-- Tables as flat fields: "limits.time" = "2".
local function flat(t, prefix, into)
  for k, v in pairs(t) do
    local name = prefix .. (type(k) == "number" and ("[%d]"):format(k) or (prefix ~= "" and "." or "") .. tostring(k))
    if type(v) == "table" then flat(v, name, into) else into[name] = tostring(v) end
  end
  return into
end

local function run_of(plan)
  local about = rawget(plan, "about")
  if type(about) == "function" then about = about() end
  local t = flat(about or {}, "", {})
  for k in pairs(t) do
    -- where it is from, and what the steps say already
    if k:find("^recipe%.") or k == "no_recipe" or k:find("^cgroup%.") then t[k] = nil end
  end
  return t
end

local function run_differences(a, b)
  local x, y, list = run_of(a), run_of(b), {}
  for k, v in pairs(x) do if y[k] ~= v then list[#list + 1] = { name = k, from = v, to = y[k] } end end
  for k, v in pairs(y) do if x[k] == nil then list[#list + 1] = { name = k, to = v } end end
  table.sort(list, function(l, r) return l.name < r.name end)
  return #list > 0 and list or nil
end

-- ---- all of it ----

---The difference between two plans.
---@param a caisson.Plan
---@param b caisson.Plan
---@return caisson.plan.Diff
function M.of(a, b)
  for i, p in ipairs { a, b } do
    if not plan_module.is(p) then error(("diff.of: argument %d: a plan expected, got %s"):format(i, type(p)), 2) end
  end
  local from, to = steps_of(a), steps_of(b)
  local in_a = {}
  for i, s in ipairs(from) do in_a[s.name] = i end
  local d = setmetatable({ unchanged = 0, added = {}, removed = {}, changed = {}, moved = {}, entries = {} }, Diff)
  -- filters of one program are the same filter, whichever they are of the plan's
  local function pair_filters()
    local left = {}
    for i, s in ipairs(from) do if s.step == "seccomp" then left[#left + 1] = i end end
    for _, s in ipairs(to) do
      if s.step == "seccomp" then
        for k, i in ipairs(left) do
          if same(from[i].options, s.options) then
            from[i].name = s.name .. "="
            in_a[from[i].name], s.name = i, from[i].name
            table.remove(left, k)
            break
          end
        end
      end
    end
    -- the rest in their order
    local n, m = 0, 0
    for _, i in ipairs(left) do
      n = n + 1
      from[i].name = "seccomp\0" .. n
      in_a[from[i].name] = i
    end
    for _, s in ipairs(to) do
      if s.step == "seccomp" and s.name:sub(-1) ~= "=" then
        m = m + 1
        s.name = "seccomp\0" .. m
      end
    end
  end
  pair_filters()
  local in_b, positions, common = {}, {}, {}
  for j, s in ipairs(to) do
    in_b[s.name] = j
    local i = in_a[s.name]
    if i and from[i].name == s.name then
      positions[#positions + 1], common[#common + 1] = i, s
    end
  end
  local stays, moved = rising(positions), {}
  for k, s in ipairs(common) do if not stays[k] then moved[s.name] = true end end

  local i = 1
  local function remove_until(last)
    while i <= last do
      local s = from[i]
      if not in_b[s.name] then
        d.removed[#d.removed + 1] = s.row
        d.entries[#d.entries + 1] = { sign = "-", row = s.row }
      end
      i = i + 1
    end
  end
  for _, s in ipairs(to) do
    local k = in_a[s.name]
    if not k or from[k].name ~= s.name then
      d.added[#d.added + 1] = s.row
      d.entries[#d.entries + 1] = { sign = "+", row = s.row }
    else
      if not moved[s.name] then remove_until(k) end
      local fields = differences(from[k], s)
      local entry = { step = s.step, from = from[k].row, to = s.row, moved = moved[s.name] or nil }
      if #fields > 0 then
        entry.fields = fields
        d.changed[#d.changed + 1] = entry
        d.entries[#d.entries + 1] = { sign = "~", row = s.row, entry = entry }
      elseif moved[s.name] then
        d.moved[#d.moved + 1] = entry
        d.entries[#d.entries + 1] = { sign = ">", row = s.row, entry = entry }
      else
        d.unchanged = d.unchanged + 1
      end
    end
  end
  remove_until(#from)
  d.calls, d.run = call_differences(from, to), run_differences(a, b)
  d.same = #d.entries == 0 and not d.calls and not d.run
  return d
end

-- ---- showing ----

local function joined(list, sign)
  local parts = {}
  for i, v in ipairs(list) do parts[i] = sign .. text.line(v) end
  return concat(parts, " ")
end

local function field_text(c, f)
  local head = f.name .. (f.line and (" (line %d)"):format(f.line) or "") .. ":"
  if f.removed then
    return ("%s %s"):format(head, concat({ c.red(joined(f.removed, "-")),
      #f.removed > 0 and #f.added > 0 and " " or "", c.green(joined(f.added, "+")) }))
  end
  local function one(v, paint) return v == nil and c.dim "nothing" or paint(text.line(v)) end
  return ("%s %s -> %s"):format(head, one(f.from, c.red), one(f.to, c.green))
end

-- Words in lines of that width, each with the indent before it.
local function filled(words, indent, width)
  local lines, line = {}, indent
  for _, w in ipairs(words) do
    if width and #line > #indent and #line + 1 + #w > width then
      lines[#lines + 1] = line
      line = indent
    end
    line = line .. (line == indent and "" or " ") .. w
  end
  lines[#lines + 1] = line
  return concat(lines, "\n")
end

---As text: a line for each step, what is different in it below.
---@param c? caisson.Color  colours and width of what it is written to
---@param names? { [1]: string, [2]: string }  what the two plans are called
---@return string
function Diff:text(c, names)
  c = c or color.of(false)
  local lines = {}
  local function add(s) lines[#lines + 1] = c.columns and color.cut(s, c.columns) or s end
  if self.same then return ("no difference (%d steps)\n"):format(self.unchanged) end
  if names then
    add(c.bold(c.red("--- " .. names[1])))
    add(c.bold(c.green("+++ " .. names[2])))
  end
  local paint = { ["+"] = c.green, ["-"] = c.red, ["~"] = c.yellow, [">"] = c.cyan }
  local width, objects = 0, 0
  for _, e in ipairs(self.entries) do
    width = math.max(width, #e.row.step)
    objects = math.max(objects, color.width(text.line(e.row.object)))
  end
  -- a terminal's line is cut in the object; where there is little room for that, in the place too
  local function whole(at) return at end
  local function left(of)
    local n = 0
    for _, e in ipairs(self.entries) do n = math.max(n, #of(e.row.at)) end
    return c.columns and c.columns - width - n - 11 or 72
  end
  local place = left(whole) >= math.min(objects, 40) and whole or text.short
  objects = math.min(objects, math.max(left(place), 16))
  for _, e in ipairs(self.entries) do
    local row = e.row
    local object = text.line(row.object)
    if c.columns then object = color.cut(object, objects) end
    add((paint[e.sign](("%s %3d  %s"):format(e.sign, row.number, color.pad(row.step, width))) .. "  "
      .. color.pad(object, objects) .. "  " .. c.dim(place(row.at))):gsub("%s+$", ""))
    if e.sign == ">" or e.entry and e.entry.moved then
      add(c.dim(("       moved: it was step %d"):format(e.entry.from.number)))
    end
    for _, f in ipairs(e.entry and e.entry.fields or {}) do add("       " .. field_text(c, f)) end
  end
  if self.calls then
    add(c.bold "system calls")
    for _, g in ipairs(self.calls) do
      add(("  %s -> %s: %s"):format(c.red(g.from), c.green(g.to), #g.names > 1 and #g.names .. " calls" or g.names[1]))
      if #g.names > 1 then lines[#lines + 1] = filled(g.names, "       ", c.columns or 100) end
    end
  end
  if self.run then
    add(c.bold "the run")
    for _, f in ipairs(self.run) do add("  " .. field_text(c, f)) end
  end
  local counts = {}
  for _, k in ipairs { "added", "removed", "changed", "moved" } do
    if #self[k] > 0 then counts[#counts + 1] = ("%d %s"):format(#self[k], k) end
  end
  if #counts == 0 then counts[1] = "steps" end
  counts[#counts + 1] = ("%d the same"):format(self.unchanged)
  add(c.dim(concat(counts, ", ")))
  return concat(lines, "\n") .. "\n"
end

---As JSON.
---@return string
function Diff:json()
  return json.document { same = self.same, unchanged = self.unchanged, added = self.added, removed = self.removed,
    changed = self.changed, moved = self.moved, calls = self.calls, run = self.run } .. "\n"
end

return M
