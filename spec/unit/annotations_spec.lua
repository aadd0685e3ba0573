-- What editors know of Caisson: annotations (LuaCATS), each against what is loaded.
local annotations = require "support.annotations"
local caisson = require "caisson"
local core = caisson.core

local function lines_of(path)
  local list = {}
  for line in io.lines(path) do list[#list + 1] = line end
  return list
end

local files, classes, aliases, meta = {}, {}, {}, {}
do
  local p = assert(io.popen "find lua/caisson lua/meta -name '*.lua' | sort")
  for path in p:lines() do files[#files + 1] = annotations.read(path) end
  p:close()
  for _, file in ipairs(files) do
    for _, a in ipairs(file.aliases) do aliases[a.name] = a.at end
    for _, c in ipairs(file.classes) do
      classes[c.name] = classes[c.name] or { fields = {}, parents = {}, at = {} }
      classes[c.name].at[c.at] = true
      for _, name in ipairs(c.fields) do classes[c.name].fields[name] = true end
      for _, name in ipairs(c.parents) do table.insert(classes[c.name].parents, name) end
    end
    if file.path:find "^lua/meta/" then
      for _, f in ipairs(file.functions) do meta[(f.base or "?") .. "." .. (f.method or f.name)] = f end
    end
  end
end

local function fields_of(class, into)
  into = into or {}
  for name in pairs(classes[class].fields) do into[name] = true end
  for _, parent in ipairs(classes[class].parents) do fields_of(parent, into) end
  return into
end

-- One failure that names them all.
local function none(list)
  table.sort(list)
  assert(#list == 0, ("%d:\n%s"):format(#list, table.concat(list, "\n", 1, math.min(#list, tonumber(os.getenv "ALL") or 40))))
end

-- What is wrong with a function's annotation. returns: does it return anything?
local function look_at(list, f, name, returns)
  local args = {}
  for _, a in ipairs(f.args) do
    if a:sub(1, 1) ~= "_" then args[#args + 1] = a end -- not looked at
  end
  local given, wanted = table.concat(f.block.params, " "), table.concat(args, " ")
  if given ~= wanted then
    list[#list + 1] = ("%s: %s(%s): its parameters are annotated as (%s)"):format(f.at, name, wanted:gsub(" ", ", "), given:gsub(" ", ", "))
  end
  if returns and #f.block.returns == 0 then list[#list + 1] = ("%s: %s: what it returns"):format(f.at, name) end
  if #f.block.text == 0 and #f.block.returns == 0 then list[#list + 1] = ("%s: %s: what it does"):format(f.at, name) end
end

describe("annotations", function()
  it("can be read, and name no type that there is not", function()
    local list = {}
    for _, file in ipairs(files) do
      for _, message in ipairs(file.wrong) do list[#list + 1] = message end
      for _, use in ipairs(file.uses) do
        if not classes[use.name] and not aliases[use.name] and not annotations.is_basic(use.name) then
          list[#list + 1] = use.at .. ": no type is called " .. use.name
        end
      end
    end
    none(list)
  end)

  it("are read as a language server reads them", function()
    for text, rest in pairs { ["string? x"] = "x", ["integer|nil ok, string? message"] = "ok, string? message",
      ["fun(a: string, b?: integer): boolean?, string rest"] = "rest", ['"a"|"b"[] words'] = "words",
      ["{ a: string, b?: { c: integer }[] }|nil x"] = "x", ["table<string, fun(n: integer)> x"] = "x",
      ["(string|integer)[] x"] = "x" } do
      assert.equal(rest, select(2, annotations.type(text)), text)
    end
    for _, text in ipairs { "{ a: string", "fun(a)", "table<string", "", "(string", "|x" } do
      assert.is_false((pcall(annotations.type, text)), text)
    end
  end)
end)

-- The names in the core's tables, as annotations name them: { ["caisson.core.poll"] = true, … }.
local function core_names()
  local names = {}
  local function walk(t, name)
    for key, value in pairs(t) do
      if type(key) == "string" and not key:find "^_" then
        local mt = type(value) == "table" and getmetatable(value)
        if type(value) == "function" or mt and mt.__call then names[name .. "." .. key] = true end
        if type(value) == "table" and name .. "." .. key ~= "caisson.core.primitives" then walk(value, name .. "." .. key) end
      end
    end
  end
  walk(core, "caisson.core")
  for name in pairs(core.primitives) do names["caisson.core." .. name] = true end
  for key, mt in pairs(debug.getregistry()) do
    local path, last
    if type(key) == "string" then path, last = key:match "^(caisson%..-)([%w_]+)$" end
    if path and type(mt) == "table" and type(rawget(mt, "__index")) == "table" then
      local class = last:sub(1, 1):upper() .. last:sub(2)
      local name = classes["caisson.core." .. class] and path == "caisson." and "caisson.core." .. class or path .. class
      for method in pairs(mt.__index) do
        if not method:find "^__" then names[name .. "." .. method] = true end
      end
    end
  end
  -- those whose methods are there once one was made: here, or in a helper alone
  local r, w = assert(core.pipe())
  local pidfd = assert(core.helper(function()
    local function tell(class, object)
      for method in pairs(getmetatable(object).__index) do
        if not method:find "^__" then w:write(class .. "." .. method .. "\n") end
      end
    end
    tell("caisson.core.Learner", core.learn.new {})
    tell("caisson.ptrace.Watcher", core.ptrace.watch {})
  end, { w }))
  w:close()
  local told = ""
  repeat
    local bytes = r:read()
    told = told .. (bytes or "")
  until not bytes or bytes == ""
  core.pidfd.wait(pidfd)
  pidfd:close()
  r:close()
  for name in told:gmatch "[^\n]+" do names[name] = true end
  return names
end

describe("the core", function()
  -- errno.name() and errno.message() stand beside the numbers, and are told of there
  local told = { ["caisson.core.errno.name"] = true, ["caisson.core.errno.message"] = true }

  it("has an annotation of each binding, method and primitive: parameters, returns", function()
    local list = {}
    for name in pairs(core_names()) do
      local f = meta[name]
      if not f then
        if not told[name] then list[#list + 1] = name .. ": no annotation" end
      else
        look_at(list, f, name, true)
      end
    end
    none(list)
  end)

  it("has all that is annotated", function()
    local names, list = core_names(), {}
    for name, f in pairs(meta) do
      if not names[name] then list[#list + 1] = f.at .. ": " .. name .. " is not there" end
    end
    none(list)
  end)

  it("has the fields of each primitive's options, and no other", function()
    local list = {}
    for name, primitive in pairs(core.primitives) do
      local f = meta["caisson.core." .. name]
      local given = f and annotations.options(f, classes, fields_of)
      if given then
        local known = {}
        for i, field in ipairs(primitive.fields) do
          known[field.name] = true
          if not given[field.name] and not (i == 1 and given[1]) then list[#list + 1] = ("%s: %s: no field %s"):format(f.at, name, field.name) end
        end
        for field in pairs(given) do
          if field ~= 1 and not known[field] then list[#list + 1] = ("%s: %s: it has no field %s"):format(f.at, name, field) end
        end
      elseif f and #primitive.fields > 0 then
        list[#list + 1] = ("%s: %s: fields of its options"):format(f.at, name)
      end
    end
    none(list)
  end)
end)

-- Modules that a program requires by their names, beside caisson itself.
local modules = { "caisson", "caisson.plan", "caisson.plan.diff", "caisson.policy", "caisson.cgroup", "caisson.landlock",
  "caisson.trace", "caisson.learn", "caisson.probe", "caisson.check", "caisson.log", "caisson.process", "caisson.state" }

describe("the library", function()
  it("has an annotation of each public function and method: parameters, returns", function()
    local public = {}
    local function add(fn, name)
      local info = debug.getinfo(fn, "S")
      local path = info.source:match "^@%.?/?(lua/.*)$"
      if path then public[path .. ":" .. info.linedefined] = { name = name, to = info.lastlinedefined } end
    end
    for _, name in ipairs(modules) do
      for key, value in pairs(require(name)) do
        if type(value) == "function" then add(value, name .. "." .. key) end
      end
    end
    -- the functions of public modules; then the classes that those, or methods or fields of such, name
    local list, found, of_class, reached, new = {}, {}, {}, {}, {}
    -- what the rules of `caisson check` get
    local internal = { ["caisson.check.Model"] = true }
    local function reach(name)
      if classes[name] and not internal[name] and not reached[name] and not name:find "^caisson%.core" then
        reached[name] = true
        new[#new + 1] = name
      end
    end
    for _, file in ipairs(files) do
      for _, f in ipairs(file.functions) do
        f.file = file
        local named = public[file.path .. ":" .. f.line]
        if named then
          f.shown, f.to = named.name, named.to
          found[#found + 1] = f
          for _, name in ipairs(f.block.names) do reach(name) end
        elseif not file.path:find "^lua/meta/" and f.method and not f.method:find "^__" then
          f.shown = f.base .. ":" .. f.method
          of_class[f.base] = of_class[f.base] or {}
          table.insert(of_class[f.base], f)
        end
      end
    end
    while #new > 0 do
      local class = table.remove(new)
      for _, f in ipairs(of_class[class] or {}) do
        found[#found + 1] = f
        for _, name in ipairs(f.block.names) do reach(name) end
      end
      for _, file in ipairs(files) do
        for _, use in ipairs(file.uses) do
          if classes[class].at[use.at] then reach(use.name) end
        end
      end
    end
    for _, f in ipairs(found) do
      f.file.lines = f.file.lines or lines_of(f.file.path)
      local lines, to = f.file.lines, f.to or f.line
      -- to the line that ends it, which may be where it begins
      while not f.to and to < #lines and not (lines[to]:find "^end" or to == f.line and lines[to]:find " end$") do to = to + 1 end
      look_at(list, f, f.shown, annotations.returns(lines, f.line, to))
    end
    assert.truthy(#found > 150 and reached["caisson.Running"] and reached["caisson.Container"])
    none(list)
  end)
end)

describe("a recipe's table", function()
  -- What a class and a list of names differ in.
  local function compare(class, known)
    local list, fields = {}, fields_of(class)
    for name in pairs(known) do
      if not fields[name] then list[#list + 1] = class .. " has no field: " .. name end
    end
    for name in pairs(fields) do
      if not known[name] then list[#list + 1] = class .. ": nothing is called " .. name end
    end
    none(list)
  end

  local function union(kinds)
    local all = {}
    for _, keys in pairs(kinds) do
      for _, k in ipairs(keys) do all[k] = true end
    end
    return all
  end

  it("has a class with every option, and no other", function()
    local known = {}
    for name in pairs(require("caisson.build").options) do known[name] = true end
    for _, name in ipairs { "summary", "params", "build", "extends", "script", "name" } do known[name] = true end
    compare("caisson.RecipeOptions", known)
  end)

  it("has classes of its mounts and devices, with all that these take", function()
    compare("caisson.recipe.Mount", union(require("caisson.mounts").kinds))
    compare("caisson.recipe.Device", union(require("caisson.network").kinds))
  end)
end)
