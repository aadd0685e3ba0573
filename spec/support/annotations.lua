-- LuaCATS annotations, read as an editor's language server reads them: files into classes, aliases and functions, with
-- every type parsed, so that what is misspelt there is found.
local M = {}

-- ---- types ----

local Reader = {}
Reader.__index = Reader

function Reader:blanks() self.at = self.text:find("%S", self.at) or #self.text + 1 end

function Reader:take(pattern)
  local from, to = self.text:find("^" .. pattern, self.at)
  if not from then return nil end
  self.at = to + 1
  return self.text:sub(from, to)
end

function Reader:want(pattern, what)
  local s = self:take(pattern)
  if not s then error(("%s expected at '%s'"):format(what, self.text:sub(self.at, self.at + 20)), 0) end
  return s
end

-- fun(a: T, b?: T, ...: T): T, T
function Reader:signature()
  self:want("%(", "(")
  self:blanks()
  while not self:take "%)" do
    local name = self:take "%.%.%." or self:want("[%a_][%w_]*", "a parameter's name")
    self:take "%?"
    self:blanks()
    if self:take ":" then
      self:blanks()
      self:union()
    elseif name ~= "..." then
      error(("the parameter %s has no type"):format(name), 0)
    end
    self:blanks()
    if not self:take "," then
      self:want("%)", ")")
      break
    end
    self:blanks()
  end
  if self:take ":" then
    repeat
      self:blanks()
      self:union()
      local comma = self.text:find("^%s*,%s*[%a{(\"]", self.at) and self.nested == 0
      if comma then
        self:blanks()
        self:take ","
      end
    until not comma
  end
end

-- { a: T, b?: T, [K]: V } or { T, T }
function Reader:shape()
  self.nested = self.nested + 1
  self:blanks()
  while not self:take "}" do
    if self:take "%[" then
      self:union()
      self:want("%]", "]")
      self:want(":", ":")
    else
      local key = self.text:match("^[%a_][%w_]*%??:", self.at)
      if key then self.at = self.at + #key end
    end
    self:blanks()
    self:union()
    self:blanks()
    if not self:take "[,;]" then
      self:want("}", "}")
      break
    end
    self:blanks()
  end
  self.nested = self.nested - 1
end

function Reader:one()
  if self:take "{" then
    self:shape()
  elseif self:take "%(" then
    self.nested = self.nested + 1
    self:blanks()
    self:union()
    self:blanks()
    self:want("%)", ")")
    self.nested = self.nested - 1
  elseif self:take '"[^"]*"' or self:take "'[^']*'" or self:take "%-?%d+" then
    self.literal = true
  else
    local name = self:want("[%a_][%w_.%-]*", "a type")
    if name == "fun" and self.text:sub(self.at, self.at) == "(" then
      self:signature()
    elseif self:take "<" then
      self.nested = self.nested + 1
      repeat
        self:blanks()
        self:union()
        self:blanks()
      until not self:take ","
      self:want(">", ">")
      self.nested = self.nested - 1
    else
      self.names[#self.names + 1] = name
    end
  end
  while self:take "%[%]" or self:take "%?" do self.suffix = true end
end

function Reader:union()
  self:one()
  while self.text:find("^%s*|", self.at) do
    self:blanks()
    self:take "|"
    self:blanks()
    self:one()
  end
end

-- The type that text begins with: the names in it, and what stands behind. Raises where there is none.
function M.type(text, names)
  local r = setmetatable({ text = text, at = 1, names = names or {}, nested = 0 }, Reader)
  r:union()
  return text:sub(1, r.at - 1), text:sub(r.at):gsub("^%s+", ""), r.names
end

-- ---- files ----

local function new_block(at) return { at = at, params = {}, types = {}, returns = {}, names = {}, text = {} } end

local basic = { ["nil"] = true, any = true, boolean = true, string = true, number = true, integer = true, ["function"] = true,
  table = true, thread = true, userdata = true, lightuserdata = true, ["true"] = true, ["false"] = true, unknown = true,
  self = true }

function M.is_basic(name) return basic[name] or false end

local tags = {}

function tags.class(block, rest, file)
  local name, after = rest:match "^([%w_.]+)(.*)$"
  local class = { name = name, fields = {}, parents = {}, at = block.at }
  if after:find "^%s*:" then
    local _, _, names = M.type(after:match "^%s*:%s*(.*)$", block.names)
    class.parents = { names[#names] }
  end
  block.class = class
  file.classes[#file.classes + 1] = class
end

function tags.field(block, rest)
  if not block.class then error("a field of no class", 0) end
  local name, after = rest:match "^([%w_]+%??)%s+(.*)$"
  if not name then name, after = rest:match "^(%b[])%s+(.*)$" end
  if not name then error("no field: " .. rest, 0) end
  M.type(after, block.names)
  table.insert(block.class.fields, (name:gsub("%?$", "")))
end

function tags.alias(block, rest, file)
  local name, after = rest:match "^([%w_.]+)%s*(.*)$"
  if after ~= "" then M.type(after, block.names) end
  file.aliases[#file.aliases + 1] = { name = name, at = block.at }
  block.alias = true
end

function tags.param(block, rest)
  local name, after = rest:match "^([%w_.]+%??)%s+(.*)$"
  if not name then error("no parameter: " .. rest, 0) end
  local kind = M.type(after, block.names)
  table.insert(block.params, (name:gsub("%?$", "")))
  table.insert(block.types, kind)
end

tags["return"] = function(block, rest)
  repeat
    local _, after = M.type(rest, block.names)
    block.returns[#block.returns + 1] = true
    rest = after:match "^[%a_][%w_]*%s*,%s*(.*)$" or after:match "^,%s*(.*)$"
  until not rest
end

function tags.type(block, rest) M.type(rest, block.names) end
function tags.meta() end
function tags.overload(block, rest) M.type(rest, block.names) end
function tags.generic(block, rest)
  for name in rest:gmatch "[%w_]+" do block.generics = block.generics or {} block.generics[name] = true end
end
-- @operator add(T): T
function tags.operator(block, rest)
  local argument, result = rest:match "^%a+%(?([^)]*)%)?:%s*(.+)$"
  if not argument then error("no operator: " .. rest, 0) end
  if argument ~= "" then M.type(argument, block.names) end
  M.type(result, block.names)
end
function tags.deprecated() end
function tags.see() end

-- One line behind "---" into the block. Raises what is wrong in it.
local function annotate(block, line, file)
  local tag, rest = line:match "^@([%w_-]+)%s*(.*)$"
  if not tag then
    if block.alias and line:find "^|" then
      M.type((line:gsub("^|%s*", "")), block.names)
    elseif line:find "%S" then
      block.text[#block.text + 1] = line
    end
    return
  end
  if not tags[tag] then error("unknown tag @" .. tag, 0) end
  tags[tag](block, rest, file)
end

-- "core.capabilities", where core is a class's variable.
function M.base(variables, base)
  local root, rest = base:match "^([%w_]+)(%..*)$"
  return root and variables[root] and variables[root] .. rest or base
end

-- A file's { classes, aliases, functions = { { name, base, method, args, block, at } }, uses = { { name, at } }, wrong = {
-- message } }. base is what stands before the function's name: a class's name or a path such as "core.cgroup".
function M.read(path)
  local file = { classes = {}, aliases = {}, functions = {}, uses = {}, wrong = {}, path = path }
  local variables, block, number = {}, nil, 0
  local function close(used)
    if block then
      for _, name in ipairs(block.names) do
        if not (block.generics and block.generics[name]) then file.uses[#file.uses + 1] = { name = name, at = block.at } end
      end
      if not used and #block.params > 0 then
        file.wrong[#file.wrong + 1] = block.at .. ": parameters of no function"
      end
    end
    block = nil
  end
  for line in io.lines(path) do
    number = number + 1
    local at = ("%s:%d"):format(path, number)
    local note = line:match "^%s*%-%-%-(.*)$"
    if note and not note:find "^%-" then
      block = block or new_block(at)
      local ok, message = pcall(annotate, block, note, file)
      if not ok then file.wrong[#file.wrong + 1] = at .. ": " .. message end
    elseif line:find "^%-%-" then
      -- plain comments may stand between
      block = block or new_block(at)
      block.text[#block.text + 1] = line
    else
      local name, args = line:match "^function ([%w_.:]+)%s*(%b())"
      if not name then name, args = line:match "^([%w_.]+) = function%s*(%b())" end
      local variable = line:match "^local ([%w_]+) = {" or line:match "^local ([%w_]+) = setmetatable"
        or line:match "^([%w_]+%.[%w_.]+) = {}"
      if name then
        local base, method = name:match "^(.-)[.:]([%w_]+)$"
        local list = {}
        for a in args:gmatch "[%w_.]+" do list[#list + 1] = a end
        file.functions[#file.functions + 1] = { name = name, base = base and (variables[base] or M.base(variables, base)), method = method, args = list,
          is_method = name:find ":" ~= nil, block = block or new_block(at), at = at, line = number }
      elseif variable then
        local root, rest = variable:match "^([%w_]+)(%..*)$"
        variables[variable] = block and block.class and block.class.name
          or root and variables[root] and variables[root] .. rest or variable
      end
      close(name ~= nil)
    end
  end
  close(false)
  return file
end

-- The names of the options that a function takes in one table, its first parameter: a class, a table's shape, or a union
-- with one of them. nil where there is none. fields_of(class): its fields' names, with those it inherits.
function M.options(f, classes, fields_of)
  local kind = f.block.types[1]
  if not kind then return nil end
  local shape = kind:match "%b{}"
  if shape then
    local fields, inner = { shape:find "^{%s*%[1%]:" and true or nil }, shape:sub(2, -2):gsub("%b{}", ""):gsub("%b()", ""):gsub("%b<>", ""):gsub('"[^"]*"', "")
    for name in inner:gmatch "([%a_][%w_]*)%??:" do fields[name] = true end
    if next(fields) then return fields end
  end
  for name in kind:gmatch "[%w_.]+" do
    if classes[name] then return fields_of(name) end
  end
end

-- ---- what functions do ----

local opens = { ["function"] = true, ["if"] = true, ["do"] = true, ["repeat"] = true }
local ends_return = { ["end"] = true, ["else"] = true, ["elseif"] = true, ["until"] = true, [";"] = true }

-- Does a function (of Lua) return anything? lines: its file's; from, to: its first and last line.
function M.returns(lines, from, to)
  local source = table.concat(lines, "\n", from, to)
  source = source:gsub("%-%-%[(=*)%[.-%]%1%]", ""):gsub("%-%-[^\n]*", "")
    :gsub('"[^"\n]*"', '""'):gsub("'[^'\n]*'", "''"):gsub("%[(=*)%[.-%]%1%]", '""')
  local stack = {}
  for position, word in source:gmatch "()([%a_][%w_]*)" do
    if word == "function" then
      stack[#stack + 1] = "function"
    elseif opens[word] then
      stack[#stack + 1] = word
    elseif word == "end" or word == "until" then
      stack[#stack] = nil
    elseif word == "return" then
      local functions = 0
      for _, s in ipairs(stack) do if s == "function" then functions = functions + 1 end end
      local behind = source:match("^%s*([%a_][%w_]*)", position + 6) or source:match("^%s*(%S)", position + 6)
      if functions == 1 and behind and not ends_return[behind] and behind ~= "nil" then return true end
    end
  end
  return false
end

return M
