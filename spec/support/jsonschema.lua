-- As much of JSON Schema (draft 4) as the OCI runtime specification's own schemas use: a value compared with one, and
-- documents made out of one, right but for one value.
local decode = require "caisson.oci.decode"

local M = {}

-- The specification's schemas, where they are: $CAISSON_OCI_SCHEMA, or beside the checkout.
local function readable(path)
  local f = io.open(path, "r")
  if f then f:close() end
  return f ~= nil
end
local dir = os.getenv "CAISSON_OCI_SCHEMA" or "../shared/oci-schema"
M.dir = readable(dir .. "/config-schema.json") and dir or nil
M.why = "needs the specification's schemas in " .. dir .. " (CAISSON_OCI_SCHEMA)"

local files = {}

local function load(name)
  if not files[name] then
    local f = io.open(M.dir .. "/" .. name, "rb")
    if not f then return nil end
    files[name] = assert(decode.decode(f:read "*a"))
    f:close()
  end
  return files[name]
end

-- What a reference stands for, and its file; nil for one to a file that is not there (another platform's).
local function follow(schema, file)
  while schema["$ref"] do
    local name, path = schema["$ref"]:match "^([^#]*)#/(.*)$"
    file = name ~= "" and name or file
    schema = load(file)
    if not schema then return nil end
    for key in path:gmatch "[^/]+" do schema = schema[key] end
  end
  return schema, file
end

function M.load(name) return load(name), name end

local function pattern(regex) return (regex:gsub("{1,}", "+")) end

local function is_integer(v) return type(v) == "number" and v % 1 == 0 or type(v) == "string" and v:find "^%-?%d+$" ~= nil end
local function is_list(v) return type(v) == "table" and getmetatable(v) ~= decode.object and (#v > 0 or next(v) == nil) end
local is = {
  string = function(v) return type(v) == "string" end,
  boolean = function(v) return type(v) == "boolean" end,
  integer = is_integer,
  array = is_list,
  object = function(v) return type(v) == "table" and getmetatable(v) ~= decode.list and #v == 0 end,
}

-- Adds to faults what in v is not as the schema has it.
local function validate(v, schema, file, at, faults)
  schema, file = follow(schema, file)
  if not schema then return end
  local function fault(text) faults[#faults + 1] = at .. ": " .. text end
  if schema.type and not is[schema.type](v) then return fault("no " .. schema.type) end
  if schema.enum then
    local found = false
    for _, w in ipairs(schema.enum) do found = found or w == v end
    if not found then fault("not one of the words: " .. tostring(v)) end
  end
  if schema.pattern and not v:find(pattern(schema.pattern)) then fault("not as " .. schema.pattern .. ": " .. v) end
  if type(v) == "number" and type(schema.minimum) == "number" and v < schema.minimum then fault "too small" end
  if type(v) == "number" and type(schema.maximum) == "number" and v > schema.maximum then fault "too large" end
  if schema.minItems and #v < schema.minItems then fault "too short" end
  for _, part in ipairs(schema.allOf or schema.anyOf or {}) do validate(v, part, file, at, faults) end
  if type(v) ~= "table" then return end
  for _, name in ipairs(schema.required or {}) do if v[name] == nil then fault(name .. " is missing") end end
  if schema.items then for i, item in ipairs(v) do validate(item, schema.items, file, at .. "[" .. i .. "]", faults) end end
  for name, part in pairs(schema.properties or {}) do
    if v[name] ~= nil then validate(v[name], part, file, at .. "." .. name, faults) end
  end
  for regex, part in pairs(schema.patternProperties or {}) do
    for name, item in pairs(v) do
      if name:find(pattern(regex)) then validate(item, part, file, at .. "." .. name, faults) end
    end
  end
  if type(schema.additionalProperties) == "table" then
    for name, item in pairs(v) do
      if not (schema.properties and schema.properties[name]) then
        validate(item, schema.additionalProperties, file, at .. "." .. name, faults)
      end
    end
  end
end

-- The faults of a value, by a schema's file: none, if it is as it should be.
function M.faults(v, name)
  local faults = {}
  validate(v, load(name), name, "document", faults)
  table.sort(faults)
  return faults
end

-- ---- documents made out of a schema ----

local samples = { ["^RLIMIT_[A-Z]+$"] = "RLIMIT_AS", ["^[0-9, -]*$"] = "0-1", ["^[1-9][0-9]*[KMG]B$"] = "2MB",
  ["^[cbup]$"] = "c", ["^MB:[^\\n]*$"] = "MB:0=50", ["^MB:[^\n]*$"] = "MB:0=50" }

-- All properties and requirements of an object, its parts included.
local function parts_of(schema, file)
  local list, required = {}, {}
  local function add(s, f)
    s, f = follow(s, f)
    if not s then return end
    for name, p in pairs(s.properties or {}) do list[name] = { p, f } end
    for _, name in ipairs(s.required or {}) do required[name] = true end
    for _, p in ipairs(s.allOf or {}) do add(p, f) end
    for _, p in ipairs(s.anyOf or {}) do add(p, f) end
  end
  add(schema, file)
  return list, required
end

-- The least value that is right. texts: what a string is, by its path.
local function least(schema, file, at, texts)
  schema, file = follow(schema, file)
  local list, required = parts_of(schema, file)
  if texts[at] then return texts[at] end
  if schema.enum then return schema.enum[1] end
  if schema.pattern then return assert(samples[schema.pattern], schema.pattern) end
  if schema.type == "string" then return "/x" end
  if schema.type == "boolean" then return true end
  if schema.type == "integer" then return schema.minimum == 1 and 1 or 0 end
  if schema.type == "array" then
    if not schema.minItems then return setmetatable({}, decode.list) end
    return { least(schema.items, file, at .. "[1]", texts) }
  end
  local v = {}
  for name in pairs(required) do v[name] = least(list[name][1], list[name][2], at == "" and name or at .. "." .. name, texts) end
  return next(v) == nil and setmetatable(v, decode.object) or v
end

local function text_of(n, up)
  if type(n) == "string" then -- past 2^53: one more, or one less
    local digits = n:gsub("(%d)$", function(d) return tostring(tonumber(d) + 1) end)
    return digits
  end
  return n + up
end

-- Values that a schema does not allow.
local function wrong_values(schema)
  local t = { { schema.type == "string" and 17 or "wrong" }, { schema.type == "boolean" and 1 or schema.type and true },
    { schema.type == "object" and { "x" } or { x = "x" } } }
  if schema.type ~= "array" and schema.type ~= "object" then t[#t + 1] = { { "x" } } end
  if schema.type == "boolean" then t[2] = { 0 } end
  if schema.type == "array" then t[3] = { { x = 1 } } end
  if schema.enum then t[#t + 1] = { schema.enum[1] .. "_NOT" } end
  if schema.pattern then t[#t + 1] = { "~" } end
  if schema.type == "integer" then
    t[#t + 1] = { 1.5 }
    if schema.minimum then t[#t + 1] = { text_of(schema.minimum, -1), "minimum" } end
    if schema.maximum then t[#t + 1] = { text_of(schema.maximum, 1), "maximum" } end
  end
  return t
end

-- Calls visit(at, make, wrong) for each place of the schema: make(v) is the least document with v there (its right
-- value, without one), wrong a list of { value, what } that may not stand there.
function M.each(name, texts, visit)
  local function walk(schema, file, at, make)
    local s, f = follow(schema, file)
    if not s then return end
    local props, required = parts_of(s, f)
    local right = least(s, f, at, texts)
    if at ~= "" then
      visit(at, function(...)
        if select("#", ...) == 0 then return make(right) end
        return make((...))
      end, s.type and wrong_values(s) or wrong_values { type = "object" })
    end
    local function below(key, part, part_file, path, container)
      walk(part, part_file, path, function(v)
        local t = container()
        t[key] = v
        return make(setmetatable(t, nil))
      end)
    end
    local names = {}
    for k in pairs(props) do names[#names + 1] = k end
    table.sort(names)
    for _, k in ipairs(names) do
      below(k, props[k][1], props[k][2], at == "" and k or at .. "." .. k, function() return least(s, f, at, texts) end)
      if required[k] then
        visit((at == "" and k or at .. "." .. k), nil, { { nil, "missing", function()
          local t = least(s, f, at, texts)
          t[k] = nil
          return make(t)
        end } })
      end
    end
    if s.items then below(1, s.items, f, at .. "[1]", function() return {} end) end
    local more = type(s.additionalProperties) == "table" and s.additionalProperties
    for _, part in pairs(s.patternProperties or {}) do more = part end
    if more then
      local key = texts[at .. ".*"] or "x.y"
      below(key, more, f, at .. "." .. key, function() return {} end)
    end
  end
  walk(load(name), name, "", function(v) return v end)
end

return M
