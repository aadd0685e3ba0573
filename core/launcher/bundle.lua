-- bundle.lua OUT FILE...: the library's modules as one block of bytecode for the launcher: for each module
-- its name and code, each with its length before it (4 bytes). Line numbers stay, for tracebacks.
local out = assert(io.open(arg[1], "wb"))

local function put(s)
  local n = #s
  out:write(string.char(n % 256, math.floor(n / 256) % 256, math.floor(n / 65536) % 256,
    math.floor(n / 16777216)), s)
end

local function add(name, path, chunkname)
  local f = assert(io.open(path, "rb"))
  local source = f:read("*a")
  f:close()
  put(name)
  put(string.dump(assert(loadstring(source, "@" .. chunkname))))
end

for i = 2, #arg do
  local file = arg[i]:gsub("^lua/", "")
  add(file:gsub("/init%.lua$", ""):gsub("%.lua$", ""):gsub("/", "."), arg[i], file)
end
-- The command line's parser, a pure Lua library, starts four times as fast this way.
local path = assert(package.searchpath("argparse", package.path))
add("argparse", path, path)
assert(out:close())
