-- bundle.lua OUT FILE...: the library's modules as one block of bytecode for the launcher: first a list of the modules,
-- each with the length of its name, the name, where its code is in the block and how long it is (4 bytes each), and a
-- length of 0; then the code. Line numbers stay, for tracebacks.
local modules, head = {}, 4

local function number(n)
  return string.char(n % 256, math.floor(n / 256) % 256, math.floor(n / 65536) % 256, math.floor(n / 16777216))
end

local function add(name, path, chunkname)
  local f = assert(io.open(path, "rb"))
  local source = f:read("*a")
  f:close()
  modules[#modules + 1] = { name = name, code = string.dump(assert(loadstring(source, "@" .. chunkname))) }
  head = head + 12 + #name
end

for i = 2, #arg do
  local file = arg[i]:gsub("^lua/", "")
  add(file:gsub("/init%.lua$", ""):gsub("%.lua$", ""):gsub("/", "."), arg[i], file)
end
-- The command line's parser, a pure Lua library, starts four times as fast this way.
local path = assert(package.searchpath("argparse", package.path))
add("argparse", path, path)

local out = assert(io.open(arg[1], "wb"))
for _, m in ipairs(modules) do
  out:write(number(#m.name), m.name, number(head), number(#m.code))
  head = head + #m.code
end
out:write(number(0))
for _, m in ipairs(modules) do out:write(m.code) end
assert(out:close())
