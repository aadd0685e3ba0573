-- A host with a network of its own, so that specs touch nobody's: a process in its own network namespace (and,
-- for who is not root, in a user namespace that owns it).
local t = require "support"

local M = {}

local preamble = [[
local core = require "caisson.core"
local caisson = require "caisson"
local me = core.identity()
if me.euid == 0 then
  assert(core.namespace.unshare { "net" })
else
  assert(core.namespace.unshare { "user", "net" })
  assert(core.idmap { uid = { { 0, me.euid, 1 } }, gid = { { 0, me.egid, 1 } }, setgroups = "deny" })
end
assert(core.net.loopback())

local function bridge(name, address)
  assert(core.link.add { name, kind = "bridge" })
  assert(core.link.set { name, up = true })
  if address then assert(core.address.add { address, dev = name }) end
end

-- The names of this namespace's devices but lo, those with drawn digits as "veth*".
local function devices()
  local names = {}
  for _, l in ipairs(assert(core.link.list())) do
    if l.name ~= "lo" then names[#names + 1] = (l.name:gsub(("%x"):rep(11) .. "$", "*")) end
  end
  table.sort(names)
  return table.concat(names, " ")
end

local function link(name)
  for _, l in ipairs(assert(core.link.list())) do if l.name == name then return l end end
end

local function addresses(name)
  local list = {}
  for _, a in ipairs(assert(core.address.list())) do
    if a.dev == name and a.global then list[#list + 1] = a.address end
  end
  return table.concat(list, " ")
end

-- A device of this host's, as a machine has them: the end of a cable, of which the other is NAMEx.
local function cable(name, address)
  assert(core.link.veth { name, host = name .. "x" })
  for _, end_ in ipairs { name, name .. "x" } do assert(core.link.set { end_, up = true }) end
  if address then assert(core.address.add { address, dev = name }) end
end

local function recipe(def)
  def.namespaces = def.namespaces or { net = true, pid = true }
  return caisson.recipe(def)
end

-- What a program of Lua prints inside: core and these functions are there too.
local prelude
local function inside(code)
  return { core.realpath "/proc/self/exe", "-e", prelude .. code }
end

-- Run it; its output, or its error.
local function run(def, code, opts)
  opts = opts or {}
  opts.args, opts.stdout = opts.args or inside(code), "capture"
  local r, message, _, failure = caisson.run(recipe(def), opts)
  if not r then return nil, message, failure end
  return r.stdout, r
end

-- A TCP server in there that answers with `word`, and what a client that asks there hears.
local function serve(def, word, port)
  local started = assert(caisson.start(recipe(def), { stdout = "pipe", args = { "perl", "-MSocket", "-e", ([=[
    $SIG{ALRM} = sub { exit 1 }; alarm 20;
    socket(S, PF_INET, SOCK_STREAM, 0); setsockopt(S, SOL_SOCKET, SO_REUSEADDR, 1);
    bind(S, pack_sockaddr_in(%d, INADDR_ANY)) or die; listen(S, 5); $| = 1; print "ready\n";
    while (accept(C, S)) { syswrite(C, "%s"); close C }]=]):format(port, word) } }))
  assert(started.stdout:read() == "ready\n")
  return started
end

local asking = [=[
  $SIG{ALRM} = sub { print "no answer"; exit 0 }; alarm 1;
  socket(S, PF_INET, SOCK_STREAM, 0);
  if (connect(S, pack_sockaddr_in(%d, inet_aton("%s")))) { sysread(S, $x, 100); print $x } else { print "$!" }]=]

local function ask(def, address, port)
  return (run(def, nil, { args = { "perl", "-MSocket", "-e", asking:format(port, address) } }))
end

local function ask_from_host(address, port)
  local p = io.popen("perl -MSocket -e '" .. asking:format(port, address):gsub('\n', ' ') .. "'")
  local s = p:read "*a"
  p:close()
  return s
end
]]

-- What code prints on such a host.
function M.host(code)
  local paths = ("package.path, package.cpath = %q, %q\n"):format(package.path, package.cpath)
  local shared = preamble:match("\n(local function devices.-)\n%-%- A device of this host's")
  local inner = paths .. 'local core = require "caisson.core"\n' .. shared .. "\n"
  return t.host(preamble:gsub("local prelude\n", function() return ("local prelude = %q\n"):format(inner) end) .. [[
    local ok, err = xpcall(function() ]] .. code .. [[ end, debug.traceback)
    if not ok then print("failed: " .. tostring(err)) end]])
end

-- Can this user make such a host at all?
function t.probes.network()
  local out = M.host [[print(core.link.add { "br0", kind = "bridge" })]]
  return out == "true\n", out
end

return M
