-- Conditions on a system call's arguments, as sets: what "and" and "not" make of them.
--
-- A comparison is { index, operator, value [, value_two] }, as core.seccomp.compile takes it; a condition
-- is a list of comparisons that must all be true (none: always), with at most one for each argument; a
-- list of conditions is true where one of them is. Equality and masked equality are closed under both
-- operations; an order comparison can't be joined with another comparison of the same argument, since
-- libseccomp has no rule for that.
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

-- mask, value of an equality of either kind
local function masked(c)
  if c[2] == "==" then return all, u64.parse(c[3]) end
  if c[2] == "masked" then return u64.parse(c[3]), u64.parse(c[4]) end
end

-- Two comparisons of one argument as one; false where both can't be true; nil, message where there is no
-- such comparison.
local function join(a, b)
  if M.text { a } == M.text { b } then return a end
  local ma, va = masked(a)
  local mb, vb = masked(b)
  if not ma or not mb then
    return nil, ("argument %d: '%s' and '%s' can't be one comparison; load two programs instead"):format(a[1],
      M.text { a }, M.text { b })
  end
  local both = u64.band(ma, mb)
  if not u64.eq(u64.band(va, both), u64.band(vb, both)) then return false end
  return comparison { a[1], "masked", u64.text(u64.bor(ma, mb)), u64.text(u64.bor(va, vb)) }
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

-- The opposite of a condition: a list of conditions that never overlap where they need not.
function M.negate(condition)
  local out = {}
  for _, c in ipairs(condition) do
    if c[2] == "masked" then
      -- all that differs first in this bit, from the highest: as address ranges without one address
      local mask, value = u64.parse(c[3]), u64.parse(c[4])
      local prefix = { 0, 0 }
      for _, bit in ipairs(u64.bits(mask)) do
        local same = u64.band(value, prefix)
        prefix = u64.bor(prefix, bit)
        local flipped = u64.eq(u64.band(value, bit), bit) and same or u64.bor(same, bit)
        out[#out + 1] = { assert(comparison { c[1], "masked", u64.text(prefix), u64.text(flipped) }) }
      end
    else
      out[#out + 1] = { { c[1], opposite[c[2]], c[3] } }
    end
  end
  return out
end

-- Lists of conditions: those that two have in common; or nil, message.
function M.intersect(a, b)
  local out, seen = {}, {}
  for _, x in ipairs(a) do
    for _, y in ipairs(b) do
      local c, message = M.both(x, y)
      if c == nil then return nil, message end
      local text = c and M.text(c)
      if c and not seen[text] then
        seen[text] = true
        out[#out + 1] = c
      end
    end
  end
  for _, c in ipairs(out) do
    if #c == 0 then return { {} } end
  end
  return out
end

function M.union(a, b)
  local out, seen = {}, {}
  for _, list in ipairs { a, b } do
    for _, c in ipairs(list) do
      if #c == 0 then return { {} } end
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

return M
