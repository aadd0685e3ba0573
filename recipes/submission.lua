-- submission: a student's program, on one of the tests.
--
--   caisson run submission dir=anna test=tests/3 -- python3 sum.py
--
-- It reads tests/3.in and is to say what is in tests/3.out, which it can't see; nor can it see other submissions.
local caisson = require "caisson"

return caisson.recipe {
  summary = "A student's submission on a test: verdict, time, memory; it sees nothing but itself",
  extends = "judge",
  params = {
    dir = { "path", default = ".", help = "the submission's folder, shown read-only" },
    test = { "path", required = true, help = "its input is in this file with .in, its output in .out" },
    time = { "time", default = "2s", help = "CPU time" },
  },
  build = function(p)
    p.input, p.expect = p.test .. ".in", p.test .. ".out" -- what is set here goes to the recipe that this one extends
    return { env = { LANG = "C.UTF-8", TERM = false } }
  end,
}
