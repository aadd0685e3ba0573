-- The nearest right word for a wrong one.
local M = {}

local function distance(a, b)
  local before, row = nil, {}
  for j = 0, #b do row[j] = j end
  for i = 1, #a do
    local above = row
    row = { [0] = i }
    for j = 1, #b do
      local same = a:byte(i) == b:byte(j) and 0 or 1
      row[j] = math.min(above[j - 1] + same, above[j] + 1, row[j - 1] + 1)
      if before and i > 1 and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
        row[j] = math.min(row[j], before[j - 2] + 1)
      end
    end
    before = above
  end
  return row[#b]
end

-- The word of the list that is near enough to be meant, or nil.
function M.nearest(word, known)
  if #word > 64 then return nil end
  local best, least
  for _, k in ipairs(known) do
    local d = distance(word, k)
    if not least or d < least then best, least = k, d end
  end
  return best and least <= 1 + #best / 3 and best or nil
end

-- (one byte, or the two of a control character above 127: CSI, say, which terminals take as they take ESC [)
local function code(c) return (c:gsub(".", function(b) return ("\\x%02x"):format(b:byte()) end)) end

-- A message that may be shown at a terminal, whatever of others' is in it.
function M.message(s)
  if #s > 2000 then s = s:sub(1, 1900) .. "..." end
  return (s:gsub("[%z\1-\8\11-\31\127]", code):gsub("\194[\128-\159]", code))
end

-- A value as an error shows it: one line, the beginning of what is long.
function M.show(v)
  local s = tostring(v)
  return ((#s > 80 and s:sub(1, 64) .. "..." or s):gsub("[%z\1-\31\127]", code):gsub("\194[\128-\159]", code))
end

-- "what 'word' (did you mean 'x'?)", or the list of what is known.
function M.unknown(what, word, known)
  local best = M.nearest(word, known)
  word = M.show(word)
  if best then
    return ("%s '%s' (did you mean '%s'?)"):format(what, word, best)
  end
  return ("%s '%s' (known: %s)"):format(what, word, table.concat(known, ", "))
end

return M
