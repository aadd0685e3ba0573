-- System calls as text, of a program that makes known ones; and against what strace writes of the same program.
local caisson = require "caisson"
local decode = require "caisson.trace.decode"
local t = require "support"

local core = caisson.core

local expected = [[
openat(AT_FDCWD, "/no/where", O_RDONLY|O_CLOEXEC)
openat(AT_FDCWD, "/no/where", O_RDWR|O_CREAT|O_EXCL|O_NOFOLLOW, 0644)
openat(-1, "no\twhere", O_WRONLY|O_TRUNC|O_APPEND|O_NONBLOCK)
openat2(AT_FDCWD, "/no/where", {flags=O_RDONLY|O_DIRECTORY, resolve=RESOLVE_IN_ROOT}, 24)
mkdirat(AT_FDCWD, "/no/where", 0755)
fchownat(AT_FDCWD, "/no/where", 1000, -1, AT_SYMLINK_NOFOLLOW)
mount("none", "/no/where", "tmpfs", MS_NOSUID|MS_NODEV|MS_REC, "size=1m")
umount2("/no/where", MNT_DETACH|UMOUNT_NOFOLLOW)
socket(AF_UNIX, SOCK_STREAM|SOCK_CLOEXEC, 0)
socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE)
connect(-1, {sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("192.0.2.1")}, 16)
connect(-1, {sa_family=AF_UNIX, sun_path="/no/where"}, 12)
bind(-1, {sa_family=AF_UNIX, sun_path=@"name"}, 7)
mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0)
prctl(PR_CAPBSET_READ, CAP_SYS_ADMIN)
ioctl(-1, TIOCSTI, NULL)
unshare(CLONE_FS|CLONE_FILES)
kill(2147483632, SIGUSR1)
]]

describe("caisson.trace.decode", function()
  if not t.needs("userns", "cc") then return end
  local dir, program
  setup(function()
    dir = t.sh("mktemp -d"):match "%S+"
    program = dir .. "/calls"
    local out = t.sh("cc -O1 -o " .. program .. " spec/support/calls.c 2>&1; chmod 755 " .. dir)
    if out ~= "" then error(out) end
  end)
  teardown(function() t.sh("rm -rf " .. dir) end)

  local function traced()
    local names = {}
    for name in pairs(core.seccomp.syscalls()) do
      if name ~= "execve" then names[#names + 1] = name end
    end
    local lines = {}
    local r = assert(caisson.run(caisson.recipe { extends = "sandbox",
      mounts = { { bind = dir, at = "/mnt" } }, args = { "/mnt/calls" }, seccomp = caisson.policy.new { default = "allow" }, stdout = "capture", stderr = "capture",
      trace = { calls = names, decide = function(call) call:note(decode.call(call)) end } }))
    assert.equal(nil, r.trace_error)
    assert.equal(0, r.code, r.stderr)
    for _, line in ipairs(r.trace_notes) do lines[#lines + 1] = line end
    return lines
  end

  -- from the first call of the program's own to its last; addresses are different each time
  local function own(lines)
    local out, on = {}, false
    for _, line in ipairs(lines) do
      on = on or line:find('openat(AT_FDCWD, "/no/where", O_RDONLY|O_CLOEXEC', 1, true)
      if on and not line:find "^close%(" and not line:find "^execve" then
        out[#out + 1] = (line:gsub("0x%x%x%x%x%x%x%x+", "PTR"))
      end
      if on and line:find "^setresuid" then break end
    end
    return out
  end

  it("reads texts, addresses and structures, and names constants", function()
    local lines = own(traced())
    local text = "\n" .. table.concat(lines, "\n") .. "\n"
    for line in expected:gmatch "[^\n]+" do
      assert.is_truthy(text:find("\n" .. line .. "\n", 1, true), line .. "\nis not in:" .. text)
    end
  end)

  it("writes what strace does", function()
    if t.sh("command -v strace") == "" then return pending "needs strace" end
    local ours = own(traced())
    t.sh(("strace -o %s/trace %s > /dev/null 2>&1"):format(dir, program))
    local lines = {}
    for line in t.read_file(dir .. "/trace"):gmatch "[^\n]+" do
      line = line:gsub("%)%s+= .*$", ")")
      lines[#lines + 1] = line
    end
    local theirs = own(lines)
    assert.is_true(#theirs > 40, #theirs)
    assert.equal(table.concat(theirs, "\n"), table.concat(ours, "\n"))
  end)

  it("names values, by themselves or with the arguments that they depend on", function()
    assert.equal("AF_UNIX", decode.value("socket", 1, 1))
    assert.equal("SOCK_DGRAM|SOCK_CLOEXEC", decode.value("socket", 2, 0x80002))
    assert.equal("TIOCSTI", decode.value("ioctl", 2, 0x5412))
    assert.equal("PR_SET_SECCOMP", decode.value("prctl", 1, 22))
    assert.equal("SECCOMP_MODE_FILTER", decode.value("prctl", 2, 2, { 22, 2, 0, 0, 0, 0 }))
    assert.equal("CLONE_NEWUSER|SIGCHLD", decode.value("clone", 1, 0x10000011))
    assert.equal("F_SETFL", decode.value("fcntl", 2, 4))
    assert.equal("SIGKILL", decode.value("kill", 2, 9))
    assert.equal(nil, decode.value("socket", 1, 4000))
    assert.equal(nil, decode.value("read", 1, 0))
    assert.equal(nil, decode.value("no_such_call", 1, 0))
    assert.same({ "family", false }, { decode.family("socket", 1) })
    assert.same({ "prot", true }, { decode.family("mmap", 3) })
    assert.equal(nil, (decode.family("read", 1)))
  end)

  it("leaves as numbers what it can't read or name", function()
    assert.equal("openat(AT_FDCWD, 0x1000, O_RDONLY)", decode.call { name = "openat", args = { -100, 4096, 0, 0, 0, 0 } })
    assert.equal('openat(AT_FDCWD, "/x", O_RDONLY)', decode.call { name = "openat", args = { -100, 4096, 0, 0, 0, 0 },
      read = function(address) return address == 4096 and "/x\0more" or nil end })
    assert.equal("#999(0x1, 0xffffffffffffffff)", decode.call { name = "#999", args = { 1, "18446744073709551615", 0, 0, 0, 0 } })
    assert.equal("socket(77, SOCK_STREAM, 0)", decode.call { name = "socket", args = { 77, 1, 0, 0, 0, 0 } })
    assert.equal('connect(3, {sa_family=AF_INET6, sin6_port=htons(443), sin6_flowinfo=htonl(0), '
      .. 'inet_pton(AF_INET6, "::1", &sin6_addr), sin6_scope_id=0}, 28)', decode.call { name = "connect",
      args = { 3, 4096, 28, 0, 0, 0 },
      read = function() return "\10\0\1\187\0\0\0\0" .. ("\0"):rep(15) .. "\1\0\0\0\0" end })
    assert.equal("getpid()", decode.call { name = "getpid", args = { 1, 2, 3, 4, 5, 6 } })
  end)

  it("knows calls by their names, and constants by the kernel's headers", function()
    local signature, known = require "caisson.trace.signatures", core.seccomp.syscalls()
    local missing = {}
    for name in pairs(known) do if not signature(name) then missing[#missing + 1] = name end end
    assert.is_true(#missing < 90, table.concat(missing, " "))
    for _, family in ipairs(require("caisson.trace.constants").families()) do
      local list = require("caisson.trace.constants").family(family)
      assert.is_true(#list > 0, family)
      for _, c in ipairs(list) do assert.is_truthy(c[1]:find "^[%u_][%w_]+$", c[1]) end
    end
  end)
end)
