-- Conditions on a system call's arguments, as sets: what "and" and "not" make of them.
--
-- A comparison is { index, operator, value [, value_two] }, as core.seccomp.compile takes it; a condition
-- is a list of comparisons that must all be true (none: always), with at most one for each argument; a
-- list of conditions is true where one of them is. Equalities (==, !=, masked) are closed under both
-- operations; an order comparison can't always be joined with another comparison of the same argument,
-- since libseccomp has no rule for a range with two ends.
local u64 = require "caisson.u64"

local M = {}

local opposite = { ["=="] = "!=", ["!="] = "==", ["<"] = ">=", [">="] = "<", [">"] = "<=", ["<="] = ">" }
local all = u64.bnot { 0, 0 }

-- The comparison checked and in its one form: values as text. nil, message where it is none.
local function comparison(c)
  if type(c) ~= "table" then return nil, "a comparison {index, operator, value} expected, got " .. type(c) end
  local index, op = c[1], c[2]
  if type(index) ~= "number" or index < 0 or index > 5 or index % 1 ~= 0 then
    return nil, "an argument's index is 0 to 5, got " .. tostring(index)
  end
  if op ~= "masked" and not opposite[op] then
    return nil, ("unknown operator '%s' (known: ==, !=, <, <=, >, >=, masked)"):format(tostring(op))
  end
  local n = op == "masked" and 4 or 3
  for k in pairs(c) do
    if type(k) ~= "number" or k < 1 or k > n or k % 1 ~= 0 then
      return nil, ("a comparison has no field '%s'"):format(tostring(k))
    end
  end
  local a, b = u64.parse(c[3]), n == 4 and u64.parse(c[4]) or nil
  if not a or n == 4 and not b then
    return nil, "a value is a whole number to 2^53, or text such as '0xffffffff00000000'"
  end
  index = math.floor(index)
  if n == 3 then return { index, op, u64.text(a) } end
  if not u64.eq(u64.band(a, b), b) then
    return nil, "a masked value has bits outside its mask, and would never match"
  end
  if u64.eq(a, all) then return { index, "==", u64.text(b) } end
  return { index, "masked", u64.text(a), u64.text(b) }
end

-- A condition checked: sorted by argument. nil, message where it is none.
function M.condition(list)
  if type(list) ~= "table" then return nil, "a list of comparisons expected, got " .. type(list) end
  local out, seen, n = {}, {}, 0
  for _ in pairs(list) do n = n + 1 end
  if n ~= #list then return nil, "a list of comparisons without holes or names expected" end
  for i, c in ipairs(list) do
    local checked, message = comparison(c)
    if not checked then return nil, message end
    if seen[checked[1]] then
      return nil, ("argument %d is compared twice; a condition has one comparison for each"):format(checked[1])
    end
    seen[checked[1]], out[i] = true, checked
  end
  table.sort(out, function(a, b) return a[1] < b[1] end)
  return out
end

function M.text(condition)
  local parts = {}
  for i, c in ipairs(condition) do parts[i] = table.concat(c, " ") end
  return table.concat(parts, " & ")
end

-- mask, value of an equality of either kind; reading them once is enough
local parsed = setmetatable({}, { __mode = "k" })

local function masked(c)
  local p = parsed[c]
  if not p then
    if c[2] == "==" then p = { all, u64.parse(c[3]) } end
    if c[2] == "masked" then p = { u64.parse(c[3]), u64.parse(c[4]) } end
    if not p then return nil end
    parsed[c] = p
  end
  return p[1], p[2]
end

local function same(a, b)
  return a[1] == b[1] and a[2] == b[2] and a[3] == b[3] and a[4] == b[4]
end

-- An equality of the bits in mask, in its one form.
local function equality(index, mask, value)
  local c = u64.eq(mask, all) and { index, "==", u64.text(value) }
      or { index, "masked", u64.text(mask), u64.text(value) }
  parsed[c] = { mask, value }
  return c
end

-- Is a comparison true of a value, { high, low }?
local function holds(c, v)
  local mask, value = masked(c)
  if mask then return u64.eq(u64.band(v, mask), value) end
  local w = u64.parse(c[3])
  if c[2] == "!=" then return not u64.eq(v, w) end
  if c[2] == "<" then return u64.lt(v, w) end
  if c[2] == ">=" then return not u64.lt(v, w) end
  if c[2] == ">" then return u64.lt(w, v) end
  return not u64.lt(w, v)
end

-- Is a condition true of arguments, a list of { high, low } from argument 0 on?
function M.matches(condition, values)
  for _, c in ipairs(condition) do
    if not holds(c, values[c[1] + 1]) then return false end
  end
  return true
end

local function join_some(a, b)
  if a[2] == "==" then return holds(b, u64.parse(a[3])) and a end
  if a[2] == "!=" and not holds(b, u64.parse(a[3])) then return b end
  local same_way = a[2]:sub(1, 1) == b[2]:sub(1, 1) and (a[2]:sub(1, 1) == "<" or a[2]:sub(1, 1) == ">")
  if same_way then -- the narrower; of "< 5" and "<= 5" the strict one
    local x, y = u64.parse(a[3]), u64.parse(b[3])
    if u64.eq(x, y) then return #a[2] == 1 and a or b end
    return (u64.lt(x, y) == (a[2]:sub(1, 1) == "<")) and a or b
  end
end

-- Two comparisons of one argument as one; false where both can't be true; nil, message where there is no
-- such comparison.
local function join(a, b)
  if same(a, b) then return a end
  local joined = join_some(a, b)
  if joined == nil then joined = join_some(b, a) end
  if joined ~= nil then return joined end
  local ma, va = masked(a)
  local mb, vb = masked(b)
  if not ma or not mb then
    return nil, ("argument %d: '%s' and '%s' can't be one comparison; load two programs instead"):format(a[1],
      M.text { a }, M.text { b })
  end
  local both = u64.band(ma, mb)
  if not u64.eq(u64.band(va, both), u64.band(vb, both)) then return false end
  return equality(a[1], u64.bor(ma, mb), u64.bor(va, vb))
end

-- Both conditions: one; false where they exclude each other; nil, message.
function M.both(a, b)
  local out, at = {}, {}
  for _, c in ipairs(a) do
    out[#out + 1] = c
    at[c[1]] = #out
  end
  for _, c in ipairs(b) do
    local i = at[c[1]]
    if i then
      local joined, message = join(out[i], c)
      if not joined then return joined, message end
      out[i] = joined
    else
      out[#out + 1] = c
      at[c[1]] = #out
    end
  end
  table.sort(out, function(x, y) return x[1] < y[1] end)
  return out
end

-- What differs from an equality, as equalities: what differs first in this bit, from the highest, as
-- address ranges without one address. They never overlap.
local function differ(c, out)
  local mask, value = masked(c)
  local prefix = { 0, 0 }
  for _, bit in ipairs(u64.bits(mask)) do
    local above = u64.band(value, prefix)
    prefix = u64.bor(prefix, bit)
    local flipped = u64.eq(u64.band(value, bit), bit) and above or u64.bor(above, bit)
    out[#out + 1] = { equality(c[1], prefix, flipped) }
  end
  return out
end

-- The opposite of a condition: a list of conditions.
function M.negate(condition)
  local out = {}
  for _, c in ipairs(condition) do
    if c[2] == "masked" then differ(c, out) else out[#out + 1] = { { c[1], opposite[c[2]], c[3] } } end
  end
  return out
end

-- Conditions that together say the same with equalities in the place of the first "!="; nil where it has none.
local function without_unequal(condition)
  for i, c in ipairs(condition) do
    if c[2] == "!=" then
      local out = {}
      for k, e in ipairs(differ({ c[1], "==", c[3] }, {})) do
        out[k] = {}
        for at, other in ipairs(condition) do out[k][at] = at == i and e[1] or other end
      end
      return out
    end
  end
end

-- Lists of conditions: those that two have in common; or nil, message.
function M.intersect(a, b)
  local out, seen = {}, {}
  for _, x in ipairs(a) do
    for _, y in ipairs(b) do
      local c, message = M.both(x, y)
      local found = { c or nil }
      if c == nil then
        -- "!=" beside another comparison has no rule of its own, but as ranges it has
        local xs, ys = without_unequal(x), without_unequal(y)
        if not xs and not ys then return nil, message end
        found, message = M.intersect(xs or { x }, ys or { y })
        if not found then return nil, message end
      end
      for _, f in ipairs(found) do
        local text = M.text(f)
        if not seen[text] then
          seen[text] = true
          out[#out + 1] = f
        end
      end
    end
  end
  for _, c in ipairs(out) do
    if #c == 0 then return { c } end
  end
  return out
end

function M.union(a, b)
  local out, seen = {}, {}
  for _, list in ipairs { a, b } do
    for _, c in ipairs(list) do
      if #c == 0 then return { c } end
      local text = M.text(c)
      if not seen[text] then
        seen[text] = true
        out[#out + 1] = c
      end
    end
  end
  return out
end

-- What of a is not in b; or nil, message. What b does not touch stays as it is.
function M.subtract(a, b)
  for _, c in ipairs(b) do
    local rest, negated = {}, nil
    for _, x in ipairs(a) do
      if M.both(x, c) == false then
        rest[#rest + 1] = x
      else
        negated = negated or M.negate(c)
        local left, message = M.intersect({ x }, negated)
        if not left then return nil, message end
        for _, l in ipairs(left) do rest[#rest + 1] = l end
      end
    end
    a = rest
  end
  return a
end

-- Conditions that say that none of a list holds; or nil, message.
function M.none_of(list)
  return M.subtract({ {} }, list)
end

-- Clauses { action =, args = } of which the first that matches decides, as clauses of which only one can
-- match; same(a, b) tells whether two actions are one. Or nil, message.
function M.disjoint(clauses, equal)
  local out = {}
  for i, c in ipairs(clauses) do
    local others = {}
    for k = 1, i - 1 do
      if not equal(clauses[k].action, c.action) then others[#others + 1] = clauses[k].args end
    end
    local rest, message = M.subtract({ c.args }, others)
    if not rest then return nil, message end
    for _, r in ipairs(rest) do out[#out + 1] = { action = c.action, args = r, from = c.from } end
  end
  return out
end

return M
