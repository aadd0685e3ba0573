-- The shell recipe at a real terminal.
local t = require "support"
local cli = require "support.cli"
local core = t.core

describe("the shell recipe", function()
  if not t.needs "userns" then return end

  local function open(words, opts)
    local all = { "run", "recipes/shell.lua" }
    for _, w in ipairs(words or {}) do all[#all + 1] = w end
    return cli.at_terminal(cli.argv(all), opts)
  end

  it("is an interactive shell on a terminal of the container's own", function()
    local term = open({}, { rows = 30, columns = 90 })
    term:expect "$ "
    term:send "tty; stty size; echo $((6*7))\r"
    term:expect "/dev/pts/0\r\n30 90\r\n42\r\n"
    core.terminal.resize(term.master, 40, 100)
    t.sh "sleep 0.2"
    term:send "stty size\r"
    term:expect "40 100\r\n"
    term:send "exit 5\r"
    assert.equal(5, term:wait().code)
    assert.truthy(term:is_sane())
    term:close()
  end)

  it("has job control: ^C ends the job, not the shell", function()
    local term = open()
    term:expect "$ "
    term:send "sleep 47\r"
    t.sh "sleep 0.3"
    term:send "\3"
    term:expect "$ "
    term:send "echo al''ive $?\r"
    term:expect "alive 130\r\n"
    term:send "sleep 47\r"
    t.sh "sleep 0.3"
    term:send "\26"
    term:expect "Stopped"
    term:send "kill %1; exit\r"
    t.sh "sleep 0.1"
    term:send "exit\r"
    term:wait()
    assert.truthy(term:is_sane())
    term:close()
  end)

  it("can't type into the terminal it was started from", function()
    if t.sh "command -v perl" == "" then return pending "needs perl for the ioctl" end
    local term = open { "--", "perl", "-e",
      [[for my $fd (0..9) { open(my $f, "+<&=", $fd) or next; my $c = "x"; my $r = ioctl($f, 0x5412, $c);
        print "fd $fd ", ($r ? "pushed" : "refused"), "\n" } print "done\n"]] }
    local seen = term:expect "done\r\n"
    assert.truthy(seen:find("fd 0 ", 1, true))
    assert.equal(0, term:wait().code)
    -- whatever the inner terminal did, nothing is waiting in the outer one
    assert.is_nil(term.seen:find("x", 1, true))
    assert.truthy(term:is_sane())
    term:close()
  end)
end)
