-- apidoc.lua [--check]: lua/API.md from the annotations (LuaCATS) in lua/meta/core/*.lua and lua/caisson/*.lua.
-- With --check nothing is written: it fails where the file is not what the annotations say, and where a
-- function, method or primitive that is there at run time has no entry.
package.path = "./lua/?.lua;./lua/?/init.lua;" .. package.path
package.cpath = (os.getenv("CAISSON_BUILD") or "./build") .. "/?.so;" .. package.cpath
local target = "lua/API.md"

local sections = {}                  -- { title, text, items = { entries and classes in order } }
local entries, by_line, classes = {}, {}, {}

-- "string|nil the rest" -> "string|nil", "the rest"; brackets and quotes hold together
local function take_type(s)
  local depth, quote = 0, nil
  for i = 1, #s do
    local c = s:sub(i, i)
    if quote then
      if c == quote then quote = nil end
    elseif c == '"' or c == "'" then
      quote = c
    elseif c:find("[%(%[{<]") then
      depth = depth + 1
    elseif c:find("[%)%]}>]") then
      depth = depth - 1
    elseif c == " " and depth == 0 and not s:sub(i - 1, i - 1):find("[|:,]") then
      return s:sub(1, i - 1), (s:sub(i + 1):gsub("^%s+", ""))
    end
  end
  return s, ""
end

local function new_block()
  return { text = {}, params = {}, returns = {} }
end

-- One line of annotation into the block.
local function annotate(block, line)
  local tag, rest = line:match("^@(%w+)%s*(.*)$")
  if tag == "class" then
    local name, about = take_type(rest)
    block.class = { name = name, about = about, fields = {} }
  elseif tag == "field" then
    local name, after = rest:match("^(%S+)%s+(.*)$")
    local kind, about = take_type(after or "")
    table.insert(block.class and block.class.fields or {}, { name = name, type = kind, about = about })
  elseif tag == "param" then
    local name, after = rest:match("^(%S+)%s*(.*)$")
    local kind, about = take_type(after)
    block.params[#block.params + 1] = { name = name, type = kind, about = about }
  elseif tag == "return" then
    block.returns[#block.returns + 1] = rest
  elseif tag == "type" then
    block.returns[#block.returns + 1] = "a table: " .. rest
  elseif tag == "alias" then
    local name, kind = rest:match("^(%S+)%s*(.*)$")
    block.class = { name = name, about = kind, fields = {} }
  elseif not tag then
    local class = block.class
    local field = class and class.fields[#class.fields]
    if field and line:find("^%s%s") then
      field.about = field.about .. " " .. line:gsub("^%s+", "")
    elseif class and line:find("^|") then
      class.about = class.about .. " " .. line
    else
      block.text[#block.text + 1] = line:gsub("^ ", "")
    end
  end
end

-- A file's entries. prefix: what its module's table is called; module files document with plain comments too.
local function read(path, prefix, title)
  local section = { title = title, text = {}, items = {} }
  local names = { M = prefix }
  local block, number, head = new_block(), 0, true
  for line in io.lines(path) do
    number = number + 1
    local note = line:match("^%-%-%-(.*)$") or line:match("^%-%-(.*)$")
    local name, args = line:match("^function ([%w_.:]+)%s*(%b())")
    local variable = line:match("^local ([%w_]+) = {") or line:match("^local ([%w_]+) = setmetatable")
    if not name then name = line:match("^([%w_]+%.[%w_.]+) = {}$") end
    if line:find("^%-%-%-@meta") then
      head = true
    elseif note then
      annotate(block, note)
      if head and line:find("^%-%-[^%-]") then section.text[#section.text + 1] = note:gsub("^ ", "") end
    else
      head = false
      if block.class then
        classes[block.class.name] = block.class
        block.class.text = block.text
        if variable then
          local class = block.class.name
          names[variable] = class:find("%u[%w]*$") and class:match("([%w]+)$") or class:gsub("^caisson%.", "")
        else
          table.insert(section.items, { class = block.class })
        end
      elseif variable == "core" then
        names.core = "core"
      elseif name then
        local base, rest = name:match("^([%w_]+)([.:].*)$")
        if base and names[base] then
          local entry = { name = names[base] .. rest, args = args or "", block = block, path = path, line = number }
          table.insert(section.items, { entry = entry })
          entries[entry.name:gsub(":", ".")] = entry
          by_line[path .. ":" .. number] = entry
        end
      end
      block = new_block()
    end
  end
  sections[#sections + 1] = section
end

local function lines_of(command)
  local list = {}
  local p = assert(io.popen(command))
  for line in p:lines() do list[#list + 1] = line end
  p:close()
  return list
end

read("lua/caisson/init.lua", "caisson", "caisson")
for _, path in ipairs(lines_of("find lua/caisson -name '*.lua' ! -path lua/caisson/init.lua ! -path 'lua/caisson/cli/*' | sort")) do
  local name = path:match("^lua/(.*)%.lua$"):gsub("/init$", ""):gsub("/", ".")
  read(path, name, name)
end
for _, path in ipairs(lines_of("find lua/meta/core -name '*.lua' | sort")) do
  read(path, "core", "core: " .. path:match("([^/]*)%.lua$"))
end

-- ------------------------------------------------------------------------------------- what is there

local caisson = require "caisson"
local core = caisson.core
local missing, public = {}, {}

local function want(name, fn, is_lua)
  local entry = entries[name]
  if is_lua then
    local info = debug.getinfo(fn, "S")
    entry = by_line[info.source:match("^@%.?/?(.*)$") .. ":" .. info.linedefined]
    if entry then public[entry] = name end
  end
  if not entry or (#entry.block.text == 0 and #entry.block.returns == 0) then missing[name] = true end
end

local function walk(t, name, is_lua)
  for key, value in pairs(t) do
    if type(key) == "string" and not key:find("^_") and value ~= core then
      local what = name .. "." .. key
      if type(value) == "function" and (not is_lua or debug.getinfo(value, "S").what == "Lua") then
        want(what, value, is_lua)
      elseif type(value) == "table" and what ~= "core.errno" and what ~= "core.primitives" and #name < 24 then
        walk(value, what, is_lua)
      end
    end
  end
end

walk(core, "core", false)
for name in pairs(core.primitives) do
  if not entries["core." .. name] then missing["core." .. name] = true end
end
for key, metatable in pairs(debug.getregistry()) do
  local class = type(key) == "string" and type(metatable) == "table" and key:match("^caisson%.(%w+)$")
  if class and type(metatable.__index) == "table" then
    for method in pairs(metatable.__index) do
      if not method:find("^__") then want(class:sub(1, 1):upper() .. class:sub(2) .. "." .. method) end
    end
  end
end
for module in pairs(getmetatable(caisson).lazy) do
  local _ = caisson[module] -- loaded when first asked for
end
walk(caisson, "caisson", true)
-- Modules that programs require by their names.
for _, module in ipairs { "log", "luv", "process", "state" } do
  for name, entry in pairs(entries) do
    if name:find("^caisson%." .. module .. "%.%l") then
      public[entry] = name
      if #entry.block.text == 0 and #entry.block.returns == 0 then missing[name] = true end
    end
  end
end

-- ------------------------------------------------------------------------------------- the page

local out = {}
local function put(s) out[#out + 1] = s end

local function put_fields(class, indent)
  for _, f in ipairs(class.fields) do
    put(("%s- `%s` %s%s"):format(indent, f.name, "`" .. f.type .. "`", f.about ~= "" and ": " .. f.about or ""))
  end
end

local function put_entry(entry)
  local block = entry.block
  put(("### %s%s\n"):format(public[entry] or entry.name, entry.args))
  for _, line in ipairs(block.text) do put(line) end
  put("")
  for _, p in ipairs(block.params) do
    put(("- `%s` `%s`%s"):format(p.name, p.type, p.about ~= "" and ": " .. p.about or ""))
    local class = classes[p.type:gsub("%?$", "")]
    if class and class.name:find("%.Options$") then put_fields(class, "  ") end
  end
  for _, r in ipairs(block.returns) do put("- → `" .. r .. "`") end
  if #block.params + #block.returns > 0 then put("") end
end

put("# Caisson: reference\n")
put("Made by `make docs` from the annotations in `lua/`; don't edit it. Where nothing else is said a function")
put("answers `nil, message, errno` for what the kernel refused, and raises for a call that is wrong in itself.\n")
for _, section in ipairs(sections) do
  local lines = {}
  for _, item in ipairs(section.items) do
    local used = item.class and not item.class.name:find("%.Options$") and #item.class.fields + #item.class.about > 0
    -- of the Lua modules only what a recipe's writer or a program can reach
    if item.entry and (section.title:find("^core") or public[item.entry] or item.entry.name:find("^%u")) or used then
      lines[#lines + 1] = item
    end
  end
  if #lines > 0 then
    put("## " .. section.title .. "\n")
    for _, line in ipairs(section.text) do put(line) end
    if #section.text > 0 then put("") end
    for _, item in ipairs(lines) do
      if item.entry then
        put_entry(item.entry)
      else
        put(("### %s\n"):format(item.class.name))
        if item.class.about ~= "" then put(item.class.about .. "\n") end
        for _, line in ipairs(item.class.text or {}) do put(line) end
        put_fields(item.class, "")
        put("")
      end
    end
  end
end
local page = (table.concat(out, "\n"):gsub("\n\n\n+", "\n\n"):gsub("%s+$", "\n"))

if arg[1] ~= "--check" then
  local f = assert(io.open(target, "w"))
  f:write(page)
  f:close()
  return
end
local failed = false
local f = io.open(target)
if not f or f:read("*a") ~= page then
  print(target .. " is not what the annotations say: make docs")
  failed = true
end
local names = {}
for name in pairs(missing) do names[#names + 1] = name end
table.sort(names)
for _, name in ipairs(names) do print("no documentation: " .. name) end
os.exit((failed or #names > 0) and 1 or 0)
