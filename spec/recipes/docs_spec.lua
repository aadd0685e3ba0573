-- Every example in README.md and the cookbook is run: a ```lua block that begins with "-- name.lua" is
-- written to that file, and in a ```console block each "$ command" must print the lines below it.
-- In those, "…" stands for anything.
local t = require "support"

local function quote(s) return "'" .. s:gsub("'", "'\\''") .. "'" end

local function blocks(text)
  local list = {}
  for kind, body in text:gmatch("```(%l+)\n(.-)```") do list[#list + 1] = { kind = kind, body = body } end
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

local function run(command, dir)
  return t.sh(("cd %s && PATH=%s:$PATH CAISSON_RECIPES=%s sh -c %s 2>&1"):format(quote(dir),
    quote(here .. "/build/bin"), quote(here .. "/recipes"), quote(command)))
end

for _, name in ipairs { "README.md", "recipes/README.md" } do
  describe("the examples of " .. name, function()
    local text = t.read_file(name)
    if not text or not t.needs "userns" then return end
    local dir
    setup(function() dir = t.sh("mktemp -d /tmp/caisson-docs.XXXXXX"):gsub("\n", "") end)
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
            local output = run(c.command, dir)
            local lines = {}
            for line in output:gmatch("([^\n]*)\n?") do lines[#lines + 1] = line end
            local at = 1
            for _, expected in ipairs(c.lines) do
              if expected == "…" then
                at = nil -- any number of lines
              else
                local found
                for i = at or 1, at or #lines do
                  if lines[i] and lines[i]:match(pattern(expected)) then found = i break end
                end
                assert(found, ("expected: %s\nin:\n%s"):format(expected, output))
                at = found + 1
              end
            end
          end)
        end
      end
    end
  end)
end
