-- Loaded by busted before every run.
local busted = require "busted"

-- CAISSON_BUILD picks another build (sanitizers, another Lua).
local build = os.getenv("CAISSON_BUILD")
if build then package.cpath = build .. "/?.so;" .. package.cpath end

-- Between files busted forgets the modules that they have loaded. luv must not be opened twice: the loop of the first
-- time goes with the garbage, and what was made in it still looks there.
local luv
local function load_luv()
  if luv then return luv end
  package.preload.luv, package.loaded.luv = nil, nil
  local ok, found = pcall(require, "luv")
  package.preload.luv = load_luv
  luv = ok and found or error(found, 0)
  return luv
end
package.preload.luv = load_luv

-- CAISSON_RESULT: a file that gets a line for each spec, for spec/tools/summary.lua to count:
-- status, file, name, message. A run that ended well closes it with "end".
local path = os.getenv("CAISSON_RESULT")
if not path then return end
local out = assert(io.open(path, "w"))
out:setvbuf("line")

local function full_name(element)
  local names = {}
  while element and element.descriptor ~= "file" do
    if element.name then table.insert(names, 1, element.name) end
    element = busted.parent(element)
  end
  return table.concat(names, " ")
end

local function file_of(element)
  while element and element.descriptor ~= "file" do element = busted.parent(element) end
  return element and element.name or "?"
end

local function put(status, element, name, message)
  local fields = { status, file_of(element), name, type(message) == "string" and message or "" }
  for i, s in ipairs(fields) do fields[i] = s:gsub("[\t\n]+", " ") end
  out:write(table.concat(fields, "\t"), "\n")
end

local reasons = {}
busted.subscribe({ "pending" }, function(element, _, message)
  reasons[element] = message
  return nil, true
end)

busted.subscribe({ "test", "end" }, function(element, parent, status)
  if status == "pending" and element.descriptor == "pending" then
    -- pending() right in a describe: its text is the reason, the describe's name is what it is about
    put(status, element, full_name(parent), element.name)
  else
    put(status, element, full_name(element), reasons[element])
  end
  return nil, true
end)

-- Why a spec failed; or what fails outside of any: a file that doesn't load, a set-up or teardown that raises.
for _, event in ipairs { "error", "failure" } do
  busted.subscribe({ event }, function(element, _, message)
    if element.descriptor == "it" then
      reasons[element] = message
    else
      put("error", element, full_name(element), message)
    end
    return nil, true
  end)
end

busted.subscribe({ "suite", "end" }, function()
  out:write("end\n")
  return nil, true
end)
