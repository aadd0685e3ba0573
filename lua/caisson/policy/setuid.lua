-- No setuid and no setgid files. What a container writes through an id-mapped mount belongs to another user
-- on the host, root maybe, and there these bits count. So no call may set them, however a file gets its mode.
local rules = {}

local function rule(call, mode, ...)
  for _, bit in ipairs { 2048, 1024 } do -- S_ISUID, S_ISGID
    rules[#rules + 1] = { call, args = { { mode, "masked", bit, bit }, ... } }
  end
end

rule("chmod", 1)
rule("fchmod", 1)
rule("fchmodat", 2)
rule("fchmodat2", 2)
rule("creat", 1)
rule("mknod", 1)
rule("mknodat", 2)
for _, create in ipairs { 64, 4194304 } do -- O_CREAT, O_TMPFILE; else the mode is whatever was in the register
  rule("open", 2, { 1, "masked", create, create })
  rule("openat", 3, { 2, "masked", create, create })
end

-- openat2 and io_uring have the mode in memory, where no filter can look; programs do without them.
return { rules = rules, absent = { "openat2", "io_uring_setup", "io_uring_enter", "io_uring_register" } }
