-- caisson new: the beginning of a recipe, in a file that was not there.
local cli = require "caisson.cli"
local core = require "caisson.core"
local recipe = require "caisson.recipe"

local M = {}

-- What each file begins with. $NAME: the recipe's, $FILE: its file's, $EXTENDS: what it begins from, as Lua.
local head = [[
-- $NAME: say here, in a line, what it is for.
--
--   caisson run $FILE -- sh           a program in it
--   caisson plan $FILE                every step of its construction, doing nothing
--   caisson check $FILE               what is wrong with it, or dangerous
--   caisson watch $FILE -- sh -c id   again whenever this file changes, and what that changed
--   caisson learn $FILE -- PROGRAM    what the program needs, as a policy
]]

-- From the sandbox: a folder to work in, and what is most often wanted next.
local sandbox = head .. [[
local caisson = require "caisson"

return caisson.recipe {
  summary = "$NAME: a sandbox of my own",
  -- A read-only system, a /tmp of its own, no network, no rights. Its parameters are this recipe's too:
  -- caisson help $FILE
  extends = $EXTENDS,

  -- What is given as NAME=VALUE. Types: string, path, integer, number, boolean, size, time, list, or a list of
  -- words. The first two are the sandbox's, with defaults of their own here.
  params = {
    dir = { "path", default = ".", help = "the folder that it sees, and starts in" },
    write = { "boolean", default = false, help = "may it write there?" },
    time = { "time", default = "1h", help = "it is ended after this" },
  },

  -- Options of the container, with the values of the parameters. A list (mounts) is added to the sandbox's, a map
  -- (env, cgroup, rlimits, ...) is merged with it, and anything else replaces it.
  build = function(p)
    return {
      hostname = "$NAME",
      limits = { time = p.time },
      -- Take away the dashes of what you need.
      -- args = { "/bin/sh" }, -- the program where none is given
      -- env = { LANG = "C.UTF-8" },
      -- mounts = { { bind = "/opt", optional = true }, { tmpfs = "/var/tmp", size = 16777216 } },
      -- namespaces = { net = false }, -- the host's network is its own
      -- rlimits = { nofile = 256 },
      -- cgroup = { memory = { max = "512M" }, pids = { max = 64 } },
      -- seccomp = caisson.policy.default() - { "@mount", "ptrace" },
      -- capabilities = { "net_bind_service" },
    }
  end,

  -- And the plan itself may be changed, step by step: `caisson plan` shows them.
  -- script = function(plan) plan:after("pivot_root", plan.symlink { "/usr", at = "/u" }) end,
}
]]

-- From any other: nothing that it says is said again.
local other = head .. [[
local caisson = require "caisson"
$HERE
return caisson.recipe {
  summary = "$NAME: like $BASE, but ...",
  extends = $EXTENDS,
$PARAMS
  -- Options of the container. A list is added to the other recipe's, a map is merged with it, and anything else
  -- replaces it. Take away the dashes of what you need:
  -- args = { "/bin/sh" }, -- the program where none is given
  -- env = { LANG = "C.UTF-8" },
  -- mounts = { { bind = "/opt", optional = true } },
  -- limits = { time = 60 },
  -- cgroup = { memory = { max = "512M" }, pids = { max = 64 } },
  -- script = function(plan) plan:remove("hostname") end, -- steps, as `caisson plan` shows them
}
]]

local function fill(template, values)
  return (template:gsub("%$(%u+)", values))
end

local function folder(path) return path:match("^(.*/)[^/]*$") or "./" end

-- One line of a comment.
local function comment(text)
  text = text:gsub("%c", " ")
  return #text > 110 and text:sub(1, 107) .. "..." or text
end

-- Its parameters, as comments.
local function parameters(base)
  local help = require "caisson.cli.help"
  local rows = help.parameters(base)
  if #rows == 0 then return "" end
  local lines = { "  -- Its parameters, which are this recipe's too:" }
  for line in help.table(rows, { "name", "type", "about" }, "  --   "):gmatch("[^\n]+") do
    lines[#lines + 1] = comment(line)
  end
  return table.concat(lines, "\n") .. "\n"
end

-- How the new file says what it begins from: a name, or a file, by its place beside the new one or from the root.
local function reference(from, base, path)
  if base.file ~= from and not base.bundle then return ("%q"):format(from) end
  local real = core.realpath(from) or from
  local file, here = real:match("[^/]*$"), core.realpath(folder(path))
  if here and real == (here == "/" and "" or here) .. "/" .. file then
    return ("here .. %q"):format(file), [[

-- Where this file is.
local here = debug.getinfo(1, "S").source:match("^@(.*/)") or "./"
]]
  end
  return ("%q"):format(real)
end

-- The text of a recipe file at path that begins from the recipe called `from`.
function M.text(path, from, base)
  local file = path:match("[^/]*$")
  local extends, here = reference(from, base, path)
  return fill(from == "sandbox" and sandbox or other, { FILE = file, NAME = file:gsub("%.lua$", ""), EXTENDS = extends,
    BASE = comment(base.name or from):gsub('[\\"]', "\\%0"), HERE = here or "", PARAMS = parameters(base) })
end

function M.main(o)
  local path = o.name:find("%.lua$") and o.name or o.name .. ".lua"
  if not ("/" .. path):find("/[%w_][%w_.+-]*$") then
    cli.fail(("'%s': a name of letters, digits, '_', '.', '+' and '-' expected"):format(require("caisson.words").show(o.name)))
  end
  local from = o.from or "sandbox"
  local base, message = recipe.load(from)
  if not base and not recipe.locate(from) and recipe.locate(from .. ".lua") then -- learnt, say
    from = from .. ".lua"
    base, message = recipe.load(from)
  end
  if not base then cli.fail("--from: " .. message) end
  local text = M.text(path, from, base)
  local fd, why, errno = core.open(path, { "write", "create", "exclusive", "nofollow" }, 420)
  if not fd then
    cli.fail(errno == core.errno.EEXIST and path .. ": there is such a file, and it stays as it is" or why)
  end
  local written
  written, why = fd:write(text)
  fd:close()
  if written ~= #text then
    os.remove(path)
    cli.fail(("write %s: %s"):format(path, why or "the file system is full"))
  end
  local needs = {}
  for name, d in pairs(base:all_params()) do
    if d.required then needs[#needs + 1] = " " .. name .. "=..." end
  end
  table.sort(needs)
  if type(base.def) ~= "table" or not base.def.args then needs[#needs + 1] = " -- sh" end
  io.write(path, ": a recipe to begin with, from ", from, "\n  caisson run ", path, table.concat(needs), "\n")
  return 0
end

return M
