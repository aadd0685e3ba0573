-- `make bench`: `caisson learn` of programs at work against the programs by themselves, and of programs that do nothing
-- but 100,000 system calls against strace -f. BENCH_ROUNDS (default 100) rounds.
--
--     luajit spec/bench/learn.lua BUILD
package.path = "./spec/bench/?.lua;" .. package.path
local core = require "caisson.core"
local harness = require "harness"

local build = core.realpath(arg[1] or "build")
local bench = build .. "/bench"
local folder = bench .. "/learn"
assert(os.execute(("rm -rf %s && mkdir -p %s/www"):format(folder, folder)))

-- Without capabilities, as in most recipes; nginx, as root, changes its user.
local function learning(name, capabilities)
  local recipe = harness.write_file(folder .. "/" .. name, ("return require('caisson').recipe { namespaces = %s%s }\n"):format(
    harness.is_root and "{}" or "{ user = true }", capabilities))
  return { build .. "/bin/caisson", "learn", "-q", recipe, "-o", folder .. "/learnt.lua", "--" }
end
local learn, learn_with_rights = learning("host.lua", ", capabilities = {}"), learning("rights.lua", "")
local starter = harness.server { bench .. "/floor", bench .. "/root" }

local function joined(...)
  local all = {}
  for _, list in ipairs { ... } do for _, v in ipairs(list) do all[#all + 1] = v end end
  return all
end

-- ---- programs at work ----

local source = harness.write_file(folder .. "/hello.c", '#include <stdio.h>\nint main(void) { puts("hello"); return 0; }\n')
local script = harness.write_file(folder .. "/script.py",
  "import json, re, subprocess\nprint(json.dumps(re.findall('[a-z]+', 'a b c')))\nsubprocess.run(['true'])\n")
local port = 23000 + core.identity().pid % 1000
harness.write_file(folder .. "/www/index.html", ("hello "):rep(200) .. "\n")
harness.write_file(folder .. "/nginx.conf", ([[
daemon off;
worker_processes 1;
%s
pid %s/pid;
error_log %s/error.log;
events { worker_connections 64; }
http {
  access_log %s/access.log;
  client_body_temp_path %s/t1; proxy_temp_path %s/t2; fastcgi_temp_path %s/t3; uwsgi_temp_path %s/t4; scgi_temp_path %s/t5;
  server { listen 127.0.0.1:%d; root %s/www; }
}
]]):gsub("^(.-\n.-\n)%%s", harness.is_root and "%1user root;" or "%1"):format(folder, folder, folder, folder, folder, folder, folder,
  folder, port, folder))

local function against(name, aim, plain, learnt)
  harness.job(function() harness.measure(name, starter, harness.command(plain)) end)
  harness.job(function() harness.measure("learn " .. name, starter, harness.command(learnt)) end)
  harness.compare(("(h) caisson learn of %s / the same alone"):format(name), "learn " .. name, name, aim)
end

local gcc = { "/usr/bin/gcc", "-O2", "-o", folder .. "/hello", source }
against("gcc at work", 3, gcc, joined(learn, gcc))
local python = { "/usr/bin/python3", script }
if core.lstat(python[1]) then against("python3 and a script", 3, python, joined(learn, python)) end
local nginx = { "/usr/sbin/nginx", "-c", folder .. "/nginx.conf" }
if core.lstat(nginx[1]) then
  local pages = { bench .. "/work", "pages", tostring(port), "500" }
  against("nginx, 500 pages", 3, joined(pages, nginx), joined(pages, learn_with_rights, nginx))
end

-- ---- nothing but calls ----

local function one_in(n, f)
  local i = 0
  return function()
    i = i + 1
    if i % n == 3 then f() end -- the first two rounds only warm up
  end
end

if harness.found "strace" then
  for _, row in ipairs { { "calls", "by the C library", 0.1 }, { "generic", "by syscall(2)", 0.1 },
    { "others", "from places that are not known" } } do
    local program = { bench .. "/work", row[1], "100000" }
    harness.job(one_in(20, function()
      harness.measure("strace " .. row[1], starter, harness.command(joined({ "strace", "-f", "-o", "/dev/null" }, program)))
      harness.measure("learn " .. row[1], starter, harness.command(joined(learn, program)))
      harness.measure("plain " .. row[1], starter, harness.command(program))
    end))
    harness.compare(("(h) learn 100,000 calls %s / strace -f"):format(row[2]), "learn " .. row[1], "strace " .. row[1], row[3])
    harness.compare("    strace -f of the same / by itself", "strace " .. row[1], "plain " .. row[1])
  end
end

harness.run()
harness.report()
starter.process:close()
