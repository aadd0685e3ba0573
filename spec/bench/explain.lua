-- `make bench`: what `caisson run --explain` costs a program that is denied nothing. BENCH_ROUNDS (default 100) rounds.
--
--     luajit spec/bench/explain.lua BUILD
package.path = "./spec/bench/?.lua;" .. package.path
local core = require "caisson.core"
local harness = require "harness"

local build = core.realpath(arg[1] or "build")
local bench = build .. "/bench"
local work = bench .. "/explain"

os.execute(("mkdir -p %s && chmod 755 %s"):format(work, work))
harness.write_file(work .. "/hello.c", [[
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int main(int argc, char **argv) { return printf("%d %s\n", argc, argv[0]) < 0; }
]])
-- Calls that nobody denies, and files that are opened: the most that a tracer can be asked in vain.
harness.write_file(work .. "/loop.c", [[
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(int argc, char **argv)
{
  for (long i = 0, n = atol(argv[argc - 1]); i < n; i++)
    if (argc > 2)
      close(open("/etc/passwd", O_RDONLY));
    else
      syscall(SYS_getppid);
  return 0;
}
]])
assert(os.execute(("cc -O1 -o %s/loop %s/loop.c"):format(work, work)))

local floor = harness.server { bench .. "/floor", bench .. "/root" }

local function compare(text, aim, ...)
  local name = { plain = text .. " plain", explain = text .. " explained" }
  for which, flag in pairs { plain = false, explain = "--explain" } do
    local argv = { build .. "/bin/caisson", "run" }
    if flag then argv[3] = flag end
    for _, word in ipairs { "sandbox", "dir=" .. work, "--", ... } do argv[#argv + 1] = word end
    local command = harness.command(argv)
    harness.job(function() harness.measure(name[which], floor, command) end)
  end
  harness.compare("(x) --explain / without: " .. text, name.explain, name.plain, aim)
end

compare("gcc compiles and links a file", 1.3, "gcc", "-O2", "hello.c", "-o", "/tmp/hello")
compare("gcc compiles a file of no work", nil, "gcc", "-c", "hello.c", "-o", "/tmp/hello.o")
if core.lstat "/usr/bin/python3" then
  compare("python3 imports its modules", 1.3, "/usr/bin/python3", "-c", "import json, re, argparse, subprocess, email")
end
compare("a million cheap calls", 1.3, work .. "/loop", "1000000")
compare("true", nil, "/bin/true")
compare("1000 times open and close", nil, work .. "/loop", "open", "1000")

harness.run()
harness.report()
floor.process:close()
