-- The manual pages, caisson(1) and caisson-oci(8), as troff: made from what the parsers and the help are made of.
local M = {}

-- When the text here was last changed, as troff wants a page to say.
local date = "2026-11-22"

-- What stands there as it is: no escape, no request.
local function text(s)
  s = s:gsub("\\", "\\e"):gsub("%-", "\\-"):gsub("`([^`]*)`", "\\fB%1\\fR"):gsub("\t", "    ")
  return (s:gsub("^([.'])", "\\&%1"):gsub("\n([.'])", "\n\\&%1"))
end

-- In quotes, as an argument of a request.
local function quoted(s) return '"' .. text(s):gsub('"', "\\(dq") .. '"' end

---@class caisson.cli.Page
local Page = {}
Page.__index = Page

function Page:put(...)
  self[#self + 1] = table.concat { ... }
  return self
end

function Page:section(name) return self:put(".SH ", name) end

-- A sentence begins a line, as troff likes it, and none is longer than 78 columns.
function Page:say(s)
  for sentence in (text(s):gsub("([%a)'][.?]) +(%u)", "%1\n%2") .. "\n"):gmatch "(.-)\n" do
    local line = ""
    for word in sentence:gmatch "%S+" do
      if line ~= "" and #line + #word > 77 then
        self:put(line)
        line = word:find "^[.']" and "\\&" .. word or word
      else
        line = line .. (line == "" and "" or " ") .. word
      end
    end
    if line ~= "" then self:put(line) end
  end
  return self
end

-- An item of a list: what is bold, what is to be filled in, what it is.
function Page:item(bold, italic, about)
  self:put(".TP")
  bold = bold ~= "" and "\\fB" .. text(bold) .. "\\fR" or nil
  italic = italic ~= "" and "\\fI" .. text(italic) .. "\\fR" or nil
  self:put(bold or "", bold and italic and " " or "", italic or "")
  return self:say(about)
end

function Page:example(s)
  self:put(".PP\n.RS 4\n.nf")
  self:put(text(s))
  return self:put(".fi\n.RE")
end

local function page(name, section, what)
  local p = setmetatable({}, Page)
  p:put((".TH %s %d %s %s %s"):format(name:upper():gsub("-", "\\-"), section, '"' .. date .. '"',
    quoted("Caisson " .. require("caisson.version").caisson), quoted(what)))
  return p
end

local function finish(p) return table.concat(p, "\n") .. "\n" end

-- ---- caisson(1) ----

local function argument_name(element)
  local names = element._argname
  if type(names) == "table" then return table.concat(names, " ") end
  return names or (element._name or ""):upper()
end

local function options_of(p, element, command)
  for _, o in ipairs(element._options) do
    if not o._hidden and not (command and o._aliases[2] == "--help") then
      p:item(table.concat(o._aliases, ", "), o._minargs > 0 and argument_name(o) or "", o._description
        .. (o._maxcount > 1 and " May be given more than once." or "")
        .. (o._default and (" The default is %s."):format(o._default) or ""))
    end
  end
end

-- "run RECIPE [NAME=VALUE]... [-- PROGRAM [ARGUMENT]...]"
local function usage(name, c, program)
  local words = { "\\fBcaisson " .. text(name) .. "\\fR" }
  if c._options[2] then words[2] = "[\\fIOPTION\\fR]..." end -- the first is --help
  for _, a in ipairs(c._arguments) do
    local names = type(a._argname) == "table" and a._argname or { argument_name(a) }
    for i, n in ipairs(names) do
      local shown = "\\fI" .. text(n) .. "\\fR"
      if n == "NAME=VALUE" then
        shown = "[" .. shown .. "]..."
      elseif a._minargs == 0 and #names == 1 then
        shown = "[" .. shown .. "]" .. (a._maxargs > 1 and "..." or "")
      elseif i > 1 and n ~= "DIR" then
        shown = "[" .. shown .. "]"
      end
      words[#words + 1] = shown
    end
  end
  if program then words[#words + 1] = "[\\fB\\-\\-\\fR \\fIPROGRAM\\fR [\\fIARGUMENT\\fR]...]" end
  return table.concat(words, " ")
end

local function caisson()
  local cli, arguments = require "caisson.cli", require "caisson.cli.arguments"
  local root, commands = arguments.parser()
  local p = page("caisson", 1, "User Commands")
  p:section("NAME"):put("caisson \\- containers built by recipes")
  p:section("SYNOPSIS")
  p:put("\\fBcaisson\\fR [\\fIOPTION\\fR]... \\fICOMMAND\\fR [\\fIARGUMENT\\fR]...")
  p:section("DESCRIPTION")
  p:say("A recipe is a Lua file that says what a container is: mounts, namespaces, limits, a policy of system calls. "
    .. "Caisson makes a plan of it, a list of steps in the order that the kernel needs, which can be shown, compared, "
    .. "changed and saved; and runs a program in what the plan builds. It needs no daemon, and no root where the "
    .. "kernel lets users make namespaces.")
  p:put(".PP")
  p:say("A recipe is named by its file, which has a slash in it or ends in .lua, or by a name that `caisson recipes` "
    .. "lists; or it is the directory of an OCI bundle. What it can be told follows as NAME=VALUE: see `caisson help RECIPE`.")
  p:section("OPTIONS")
  p:say("Before the command or behind it; every command has --help, too.")
  options_of(p, root)
  p:section("COMMANDS")
  for _, name in ipairs(arguments.names) do
    local c = commands[name]
    p:put(".SS ", usage(name, c, cli.programs[name] and name ~= "completion" or require("caisson.cli.lifecycle").programs[name]))
    p:say(c._description)
    for _, a in ipairs(c._arguments) do
      if a._description then p:item("", argument_name(a), a._description) end
    end
    options_of(p, c, true)
  end
  p:section("EXIT STATUS")
  p:say("Of `run`, `exec` and `wait`: the program's own; and")
  p:item("125", "", "where caisson itself failed, as all other commands do,")
  p:item("126", "", "where the program can't be executed,")
  p:item("127", "", "where it is not there,")
  p:item("128+N", "", "where signal N ended it.")
  p:section("ENVIRONMENT")
  p:item("XDG_RUNTIME_DIR", "", "Where containers' states are, in caisson, for who is not root.")
  p:item("NO_COLOR", "", "No colours, also at a terminal.")
  p:item("LUA_PATH", "", "Where a recipe's own modules are looked for.")
  p:section("FILES")
  p:item("/run/caisson", "", "The states of root's containers.")
  p:section("EXAMPLES")
  p:say("A program with the system read-only, a /tmp of its own, no network and no rights:")
  p:example "caisson run sandbox -- python3 -c 'print(1)'"
  p:say("The same that may write to this folder; first what it would do, step by step:")
  p:example "caisson plan sandbox dir=. write=yes\ncaisson run sandbox dir=. write=yes -- make"
  p:say("A recipe of one's own, run again at each change, with what that changed:")
  p:example "caisson new mine\ncaisson watch mine.lua -- make test"
  p:section("SEE ALSO")
  p:put(".BR caisson-oci (8),\n.BR namespaces (7),\n.BR seccomp (2),\n.BR capabilities (7),\n.BR cgroups (7)")
  return finish(p)
end

-- ---- caisson-oci(8) ----

-- Of a flag or a command; programs and words to give keep their letters.
local function sentence(s)
  local first = s:match "^%a+"
  if first ~= "criu" and first ~= "systemd" and first ~= "soft" then s = s:sub(1, 1):upper() .. s:sub(2) end
  return s .. (s:find "[.:]$" and "" or ".")
end

local function flags_of(p, rows)
  for _, row in ipairs(rows) do
    local names = {}
    for name in row[1]:gmatch "[^, ]+" do names[#names + 1] = (#name == 1 and "-" or "--") .. name end
    p:item(table.concat(names, ", "), row[2] == "bool" and "" or "value",
      sentence(row[3] .. (row[4] and ("; %s by default"):format(row[4]) or "")))
  end
end

local function oci()
  local cli, help = require "caisson.oci.cli", require "caisson.oci.cli.help"
  local p = page("caisson-oci", 8, "System Administration")
  p:section("NAME"):put("caisson\\-oci \\- run OCI bundles, in the place of runc")
  p:section("SYNOPSIS")
  p:put("\\fBcaisson\\-oci\\fR [\\fIglobal option\\fR]... \\fIcommand\\fR [\\fIoption\\fR]... [\\fIargument\\fR]...")
  p:section("DESCRIPTION")
  p:say("Runs containers of the Open Container Initiative: directories with a config.json and a root file system. It takes "
    .. "runc's commands and flags, so that an engine (Podman, containerd, CRI-O) can call it in runc's place.")
  p:section("OPTIONS")
  flags_of(p, cli.flags)
  p:section("COMMANDS")
  for _, name in ipairs(help.order) do
    local c = cli.command(name)
    p:put(".SS \\fBcaisson\\-oci ", text(name), "\\fR ", #c.flags > 0 and "[\\fIoption\\fR]... " or "", "\\fI",
      text(c.usage), "\\fR")
    p:say(sentence(c.text) .. (c.more and " " .. sentence(c.more) or ""))
    flags_of(p, c.flags)
  end
  p:section("EXIT STATUS")
  p:say("As runc's: of `run` and `exec` the program's own; 1 where the command failed, 255 where `exec` did.")
  p:section("FILES")
  p:item("/run/caisson", "", "The states of root's containers, unless --root says otherwise.")
  p:section("SEE ALSO")
  p:put(".BR caisson (1),\n.BR podman (1),\n.BR runc (8)")
  return finish(p)
end

-- The page called "caisson" or "caisson-oci".
function M.page(name)
  return name == "caisson-oci" and oci() or caisson()
end

return M
