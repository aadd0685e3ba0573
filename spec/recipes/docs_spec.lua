-- Every example in README.md and the cookbook is run: a ```lua block begins with "-- name.lua" and is
-- written to that file, and in a ```console block each "$ command" must print the lines below it.
-- In those, "…" stands for anything. Words behind ```console are what the block needs (t.needs).
local t = require "support"

local unpack = table.unpack or unpack -- luacheck: ignore (5.1 has it as a global)

local function quote(s) return "'" .. s:gsub("'", "'\\''") .. "'" end

local function blocks(text)
  local list = {}
  for kind, needs, body in text:gmatch("```(%l+)([^\n]*)\n(.-)```") do
    local b = { kind = kind, body = body, needs = {} }
    for word in needs:gmatch("%S+") do b.needs[#b.needs + 1] = word end
    list[#list + 1] = b
  end
  return list
end

local function pattern(line)
  return "^" .. line:gsub("[%^%$%(%)%%%.%[%]%*%+%-%?]", "%%%0"):gsub("…", ".*") .. "%s*$"
end

local function commands(body)
  local list, current = {}, nil
  for line in body:gmatch("([^\n]*)\n") do
    local command = line:match("^%$ (.*)")
    if command then
      current = { command = command, lines = {} }
      list[#list + 1] = current
    elseif current then
      current.lines[#current.lines + 1] = line
    end
  end
  return list
end

local here = t.sh("pwd"):gsub("\n", "")

local libraries = os.getenv("CAISSON_BUILD") or here .. "/build"
local interpreter = t.core.realpath("/proc/self/exe")

-- States of containers are in the directory too: root's stand in /run, which is therefore another one there.
local function run(command, dir)
  local shell = ("cd %s && exec sh -c %s"):format(quote(dir), quote(command))
  if t.is_root then
    shell = ("unshare --mount --propagation slave sh -c %s"):format(quote(
      ("mount --bind %s/run /run && %s"):format(quote(dir), shell)))
  else
    shell = "sh -c " .. quote(shell)
  end
  return t.sh(("PATH=%s:%s:$PATH CAISSON_RECIPES=%s XDG_RUNTIME_DIR=%s LUA_PATH=%s LUA_CPATH=%s LUA_INIT= %s 2>&1"):format(
    quote(dir .. "/bin"), quote(here .. "/build/bin"), quote(here .. "/recipes"), quote(dir .. "/run"),
    quote(("%s/lua/?.lua;%s/lua/?/init.lua;;"):format(here, here)), quote(libraries .. "/?.so;;"), shell))
end

-- The directory, with a `luajit` that is the interpreter of these specs.
local function make_directory()
  local dir = t.sh("mktemp -d /tmp/caisson-docs.XXXXXX"):gsub("\n", "")
  t.sh(("cd %s && mkdir bin && mkdir -m 700 run && chmod 755 ."):format(quote(dir)))
  local f = assert(io.open(dir .. "/bin/luajit", "w"))
  f:write(("#!/bin/sh\nexec %s \"$@\"\n"):format(quote(interpreter)))
  f:close()
  t.sh("chmod 755 " .. quote(dir .. "/bin/luajit"))
  return dir
end

for _, name in ipairs { "README.md", "recipes/README.md" } do
  describe("the examples of " .. name, function()
    local text = t.read_file(name)
    if not text or not t.needs "userns" then return end
    local dir
    setup(function() dir = make_directory() end)
    teardown(function() t.sh("rm -rf " .. quote(dir)) end)
    for _, block in ipairs(blocks(text)) do
      local file = block.kind == "lua" and block.body:match("^%-%- ([%w_-]+%.lua)")
      local source = block.body:match("^/%* ([%w_-]+%.c)")
      if file or source then
        it("write " .. (file or source), function()
          local f = assert(io.open(dir .. "/" .. (file or source), "w"))
          f:write(block.body)
          f:close()
          if file then assert(loadfile(dir .. "/" .. file)) end
        end)
      elseif block.kind == "console" then
        for _, c in ipairs(commands(block.body)) do
          it("$ " .. c.command, function()
            if not t.needs(unpack(block.needs)) then return end
            local output = run(c.command, dir)
            local lines = {}
            for line in output:gmatch("([^\n]*)\n?") do lines[#lines + 1] = line end
            local at, last = 1, 1
            for _, expected in ipairs(c.lines) do
              if expected == "…" then
                last = #lines -- any number of lines
              else
                local found
                for i = at, last do
                  if lines[i] and lines[i]:match(pattern(expected)) then found = i break end
                end
                assert(found, ("expected: %s\nin:\n%s"):format(expected, output))
                at, last = found + 1, found + 1
              end
            end
          end)
        end
      end
    end
  end)
end

describe("the cookbook's table of options", function()
  local text = assert(t.read_file("recipes/README.md"))
  local known = require("caisson.build").options
  local told = {}
  for cells in text:match("## All options of a recipe\n.-| %-%-%- | %-%-%- |\n(.-)\n\n"):gmatch("| ([^|]*) |[^\n]*") do
    for name, kind in cells:gmatch("`([%w_]+)`( ?m?)") do told[name] = kind == " m" and "map" or "other" end
  end

  it("has each of them, and no other", function()
    for name in pairs(known) do assert.truthy(told[name], name .. " is missing") end
    for name in pairs(told) do assert.truthy(known[name], name .. " is none") end
  end)

  it("tells the maps", function()
    for name, kind in pairs(known) do
      assert.equal(kind == "map", told[name] == "map", name)
    end
  end)
end)
