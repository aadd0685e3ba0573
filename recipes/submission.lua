-- submission: a student's program, on one of the tests.
--
--   caisson run submission dir=anna test=tests/3 -- python3 sum.py
--
-- It reads tests/3.in and is to say what is in tests/3.out, which it can't see; nor can it see
-- other submissions.
return require("caisson").recipe {
  summary = "A student's submission on a test: verdict, time, memory; it sees only itself",
  extends = "judge",
  params = {
    test = { "path", required = true, help = "input is in this file with .in, output in .out" },
    time = "2s",
  },
  build = function(p)
    p.input, p.expect = p.test .. ".in", p.test .. ".out" -- parameters of judge, set here
    return { env = { LANG = "C.UTF-8", TERM = false } }
  end,
}
