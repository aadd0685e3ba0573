local t = require "support"
local cli = require "support.cli"

local function private_dir()
  local dir = os.tmpname()
  os.remove(dir)
  assert(t.sh("mkdir -m 700 " .. dir .. " && echo made") == "made\n")
  return dir
end

local dir
local UP, LEFT, RIGHT, HOME = "\27[A", "\27[D", "\27[C", "\27[H"

local function prompt(opts)
  local words = { "env", "XDG_STATE_HOME=" .. dir .. "/state" }
  for _, w in ipairs(cli.argv { "repl" }) do words[#words + 1] = w end
  local term = cli.at_terminal(words, opts)
  term:expect "Ctrl-D leaves.\r\n"
  term:expect "> "
  return term
end

-- What was shown, without what only moves the cursor.
local function plain(s) return (s:gsub("\27%[[%d;?]*%a", ""):gsub("\r", "")) end

local function leave(term)
  term:send "\4"
  assert.equal(0, term:wait().code)
  term:close()
end

-- Type an entry and give back what came of it.
local function enter(term, text, result)
  term:send(text .. "\r")
  term:expect(result)
  term:expect "\27[?2004h"
end

describe("caisson repl", function()
  setup(function() dir = private_dir() end)
  teardown(function() t.sh("rm -rf " .. dir) end)

  it("reads what is piped to it, and fails where a line did", function()
    local r = cli.run(cli.argv { "repl" }, { stdin = "x = 20 + 1\nfor i = 1, 2 do\n  x = x * 2\nend\nx\n'a\\27b', nil\n",
      env = { "XDG_STATE_HOME=" .. dir .. "/piped" } })
    assert.equal("84\n\"a\\027b\"\nnil\n", r.out)
    assert.equal("", r.err)
    assert.equal(0, r.code)
    r = cli.run(cli.argv { "repl" }, { stdin = "error 'no luck'\n2 +* 3\ncaisson.load 'none'\n7\nfor" })
    assert.equal("7\n", r.out)
    assert.truthy(r.err:find("no luck", 1, true))
    assert.truthy(r.err:find("prompt:1: unexpected symbol near", 1, true), r.err)
    assert.truthy(r.err:find("no recipe is called 'none'", 1, true), r.err)
    assert.equal(1, r.code)
  end)

  it("has recipes, plans, policies and primitives at hand", function()
    local r = cli.run(cli.argv { "repl" }, { stdin = [[
load "sandbox"
#plan("sandbox").steps > 20
plan.hostname "x"
policy.default() ~= nil
core.primitives.hostname.side
run("nothing")
options "hostname"
]] })
    assert.equal("recipe sandbox: " .. require("caisson").load("sandbox").summary ..
      '\ntrue\nstep hostname "x"\ntrue\n"child"\nhostname\n  name           string, required\n', r.out)
    assert.truthy(r.err:find("no recipe is called 'nothing'", 1, true), r.err)
  end)

  it("edits lines at a terminal: moving, words, killing and yanking, UTF-8", function()
    local term = prompt()
    enter(term, "1 + 3" .. LEFT .. "4", "44\r\n")
    enter(term, "'größe'" .. LEFT .. LEFT .. LEFT .. "\127" .. "aa", '"graaße"\r\n')
    enter(term, "'one two'" .. LEFT .. "\23" .. HOME .. RIGHT .. "\25\5", '"twoone "\r\n')
    leave(term)
  end)

  it("takes entries of many lines, and brings them back whole", function()
    local term = prompt()
    term:send "for i = 1, 2 do\r"
    term:send "print('n' .. i * 21)\r"
    term:send "end\r"
    term:expect "n21"
    term:expect "n42"
    term:expect "\27[?2004h"
    term:send(UP .. "\r")
    term:expect "n21"
    term:expect "n42"
    enter(term, "\27[200~k = 1\nk = k + 5\27[201~", "")
    enter(term, "k", "6\r\n")
    leave(term)
    local text = t.read_file(dir .. "/state/caisson/history")
    assert.truthy(text:find("for i = 1, 2 do\\nprint('n' .. i * 21)\\nend\n", 1, true), text)
  end)

  it("keeps a history that is its owner's alone, and finds what was typed before", function()
    local term = prompt()
    enter(term, "secret = 12", "")
    enter(term, "other = 1", "")
    leave(term)
    assert.equal("600\n", t.sh("stat -c %a " .. dir .. "/state/caisson/history"))
    assert.equal("700\n", t.sh("stat -c %a " .. dir .. "/state/caisson"))
    t.sh("chmod 644 " .. dir .. "/state/caisson/history")
    term = prompt()
    assert.equal("600\n", t.sh("stat -c %a " .. dir .. "/state/caisson/history"))
    enter(term, UP .. UP .. " + 1", "")
    enter(term, "secret", "13\r\n")
    term:send "\18cret = 12"
    term:expect "(search: cret = 12)"
    term:send "\r"
    term:expect "\27[?2004h"
    enter(term, "secret", "13\r\n")
    leave(term)
  end)

  it("completes names, fields, methods, options and recipes with Tab", function()
    local term = prompt()
    enter(term, "core.ident\t().pid > 0", "true\r\n")
    enter(term, "caisson.poli\t.def\t() ~= nil", "true\r\n")
    enter(term, "r = load 'sandb\t'", "")
    enter(term, "r:all_p\t().dir ~= nil", "true\r\n") -- a method
    term:send "core.mount.bind { sour\t"
    term:expect "source = "
    term:send "\3"
    term:expect "\27[?2004h"
    term:send "core.namespace.\t\t"
    term:expect "join"
    term:expect "unshare"
    term:send "\3"
    term:expect "\27[?2004h"
    leave(term)
  end)

  it("drops the entry at ^C, ends what is evaluated, and leaves a sane terminal", function()
    local term = prompt()
    term:send "nonsense(\3"
    term:expect "\27[?2004h"
    enter(term, "2 * 21", "42\r\n")
    term:send "while true do end\r"
    term:expect "\27[?2004l"
    t.core.poll({}, 0.2)
    term:send "\3"
    term:expect "interrupted"
    term:expect "\27[?2004h"
    enter(term, "3 * 5", "15\r\n")
    term:send "\4"
    assert.equal(0, term:wait().code)
    assert.is_true(term:is_sane())
    assert.falsy(plain(term.all):find("stack traceback", 1, true))
    term:close()
  end)

  it("runs programs at its terminal", function()
    if not t.needs "userns" then return end
    local term = prompt()
    enter(term, "run('sandbox', { args = { '/bin/sh', '-c', 'hostname; exit 3' } }).code", "sandbox")
    enter(term, "_", "3\r\n")
    leave(term)
  end)
end)
