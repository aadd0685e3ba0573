-- System calls that pass, the terminal, keys.
local rules = {}

local function rule(name, level, title, why, fix, find)
  rules[#rules + 1] = { name = name, level = level, title = title, why = why, fix = fix, find = find }
end

local default = "seccomp = caisson.policy.default()"

rule("no-seccomp", "warning", "A filter denies system calls.", "every bug of the kernel is within reach", default,
  function(m, found)
  if #m.filters == 0 then
    local why = m.userns
      and "every bug of the kernel is within reach, also those that take a user namespace's capabilities" or nil
    found("no system call is forbidden", m.last.exec, { why = why })
  end
end)

rule("filter-default", "warning", "What the filter does not name is denied.",
  "calls that newer kernels add pass, as do those nobody thought of",
  "a list of what is allowed: policy.default(), policy.new { ... }", function(m, found)
    if #m.filters > 0 and m.answers:table()["(newer calls)"] == "allow" then
      found("the filter lets through what it does not name", m:filter_step())
    end
  end)

rule("foreign-calls", "warning", "Calls of other architectures are denied.",
  "the numbers of a 32-bit program mean other calls, which the filter takes for harmless ones",
    "test the architecture first, as policies do",
  function(m, found)
    if #m.filters == 0 then return end
    local a = m.answers:table()["(other architectures)"]
    if a == "allow" or a == "log" then found("the filter lets calls of another architecture through", m:filter_step()) end
    local core = require "caisson.core"
    if core.seccomp.architecture() == "x86_64" then
      -- x32: the same architecture to the filter, with bit 30 in the number
      local x32 = m.answers:decide(1073741824 + 101) -- ptrace
      if x32 == "allow" and not (m.answers:decide(101) == "allow" and m.answers:table()["(newer calls)"] == "allow") then
        found("the filter lets x32 calls through", m:filter_step())
      end
    end
  end)

rule("nested-userns", "warning", "It can make no user namespace.",
  "in one it has all capabilities over what it makes: the latest ways into the kernel begin there (CVE-2022-0185, CVE-2024-1086)",
  default .. ", or limit_userns = true", function(m, found)
    if m.limit_userns or #m.filters == 0 then return end
    local ways = {}
    if m:passes("unshare", { 0x10000000 }) then ways[1] = "unshare" end
    if m:passes("clone", { 0x10000011 }) then ways[#ways + 1] = "clone" end
    if m:passes "clone3" then ways[#ways + 1] = "clone3" end
    if #ways > 0 then found(("user namespaces can be made by %s"):format(table.concat(ways, ", ")), m:filter_step()) end
  end)

local function call_rule(name, level, calls, title, why, only)
  rule(name, level, title, why, ("seccomp without %s"):format(table.concat(calls, ", ")), function(m, found)
    if #m.filters == 0 or only and not only(m) then return end
    local list = {}
    for _, c in ipairs(calls) do if m:passes(c) then list[#list + 1] = c end end
    if #list > 0 then found(("%s pass%s"):format(table.concat(list, ", "), #list == 1 and "es" or ""), m:filter_step()) end
  end)
end

call_rule("io-uring", "warning", { "io_uring_setup", "io_uring_enter" }, "io_uring is denied.",
  "its operations pass by every filter and every listener, and it has a long list of bugs")
call_rule("bpf", "warning", { "bpf" }, "bpf is denied.", "it loads programs into the kernel")
call_rule("userfaultfd", "warning", { "userfaultfd" }, "userfaultfd is denied.", "it makes races in the kernel easy to win")
call_rule("perf-event", "warning", { "perf_event_open" }, "perf_event_open is denied.",
  "it is a side channel, and has a long list of bugs")
call_rule("open-by-handle", "error", { "open_by_handle_at" }, "open_by_handle_at is denied to who may use it.",
  "it opens any file of a file system of which one is shown (\"shocker\")", function(m) return m:real "dac_read_search" end)
call_rule("module-calls", "error", { "init_module", "finit_module", "kexec_load" },
  "The kernel can't be changed or replaced.",
  "it is code in the kernel", function(m) return m:real "sys_module" or m:real "sys_boot" end)

rule("keyring-shared", "warning", "It has a session keyring of its own, or no calls for keys.",
  "keys and tickets of who starts it can be used", 'keyring = "name", or ' .. default, function(m, found)
    if m.last.keyring then return end
    if m:passes "keyctl" or m:passes "request_key" or m:passes "add_key" then
      found("the caller's session keyring is the program's too", m.last.exec,
        -- keys of another user namespace's are possessed all the same, but for those of users
        { level = m.userns and "note" or nil })
    end
  end)

-- Does the program get the streams of who starts it, which may be a terminal?
local function terminal(m)
  if m.last.tty then return false end
  local exec = m.last.exec
  for i, name in ipairs { "stdin", "stdout", "stderr" } do
    local v = m.options[name]
    local inherited = v == nil or v == "inherit"
    if inherited and exec and (exec.options.files or {})[i] == name then return true end
  end
  return false
end

rule("terminal-injection", "warning", "It can't type into the terminal that it was started from.",
  "TIOCSTI puts characters there as if they were typed: they are run outside when it has ended (CVE-2017-5226)",
  "leave session as it is (true); or tty = true; or " .. default, function(m, found)
    if not terminal(m) then return end
    local sti, linux = m:passes("ioctl", { 0, 0x5412 }), m:passes("ioctl", { 0, 0x541c })
    if not m.last.session and (sti or linux) then
      found(("the caller's session is the program's, and %s pass%s"):format(sti and linux and "TIOCSTI and TIOCLINUX"
        or sti and "TIOCSTI"
        or "TIOCLINUX", not (sti and linux) and "es" or ""), m.last.exec)
    elseif m:real "sys_admin" and sti then
      found("CAP_SYS_ADMIN may type into any terminal that it has open", m.last.exec)
    end
  end)

rule("terminal-filter", "warning", "TIOCSTI is compared by the bits that the kernel looks at.",
  "the kernel looks at the low 32 bits of an ioctl's number: with a bit set above them it passes (CVE-2019-7303)",
  '{ "ioctl", args = { { 1, "masked", "0xffffffff", "0x5412" } } }', function(m, found)
    if #m.filters > 0 and not m:passes("ioctl", { 0, 0x5412 }) and m:passes("ioctl", { 0, "0x100005412" }) then
      found("TIOCSTI is denied by all 64 bits alone", m:filter_step())
    end
  end)

rule("filter-before", "note", "no_new_privs is set before the filter.",
  "without it a filter takes CAP_SYS_ADMIN, which is kept to the end",
  "leave no_new_privs as it is (true)", function(m, found)
    if #m.filters > 0 and not m.last.no_new_privs and not m:real "sys_admin" and m.identity.euid ~= 0 and not m.userns then
      found("a filter needs no_new_privs for who is not root", m:filter_step(), { level = "error" })
    end
  end)

return rules
