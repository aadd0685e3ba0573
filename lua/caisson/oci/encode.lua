-- Documents as JSON: properties in the specification's order, as other runtimes write them, 64-bit values exact.
local decode = require "caisson.oci.decode"
local json = require "caisson.json"

local M = {}

local concat = table.concat

local function is_list(v, node)
  if #v > 0 or getmetatable(v) == decode.list then return true end
  return next(v) == nil and getmetatable(v) ~= decode.object and node ~= nil and node[1] == "list"
end

-- The keys in the order of the node's rows, the others after them by name.
local function ordered(v, node)
  local keys, rest = {}, {}
  for _, row in ipairs(node and node.rows or {}) do
    if v[row[1]] ~= nil then keys[#keys + 1] = row[1] end
  end
  for k in pairs(v) do
    if not (node and node.known and node.known[k]) then rest[#rest + 1] = k end
  end
  table.sort(rest)
  for _, k in ipairs(rest) do keys[#keys + 1] = k end
  return keys
end

local value

local function items_of(v, node, unit, inner)
  local items = {}
  if is_list(v, node) then
    for i = 1, #v do items[i] = inner .. value(v[i], node and node.of, unit, inner, v, i) end
    return items, "[", "]"
  end
  for i, k in ipairs(ordered(v, node)) do
    local below = node and (node.known and node.known[k] or node[1] == "map" and node.of)
    items[i] = inner .. json.string(k) .. ": " .. value(v[k], below or nil, unit, inner, v, k)
  end
  return items, "{", "}"
end

function value(v, node, unit, indent, owner, key)
  if type(v) == "string" then
    local number = v:find("^%-?%d+$") and (node and node[1] == "integer" or owner and decode.is_long(owner, key))
    if number then return v end
    if not json.is_utf8(v) then error({ oci = ("%s: no UTF-8, and JSON has nothing else"):format(tostring(key)) }, 0) end
    return json.string(v)
  elseif type(v) == "number" then
    return v % 1 == 0 and ("%.0f"):format(v) or ("%.17g"):format(v)
  elseif type(v) ~= "table" then
    return tostring(v)
  end
  local items, open, close = items_of(v, node, unit, indent .. unit)
  if #items == 0 then return open .. close end
  return open .. "\n" .. concat(items, ",\n") .. "\n" .. indent .. close
end

---The document as JSON. unit: the indentation; node: of oci/schema.lua, what the document is (a configuration,
---unless it is said). nil, message where JSON can't hold it.
function M.encode(document, unit, node)
  local ok, text = pcall(value, document, node or require("caisson.oci.schema").config, unit or "\t", "")
  if ok then return text .. "\n" end
  if type(text) == "table" and text.oci then return nil, text.oci end
  error(text, 0)
end

return M
