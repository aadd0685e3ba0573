-- What a program needs, as a recipe that a person can read, and go on from.
local core = require "caisson.core"
local decode = require "caisson.trace.decode"
local needs = require "caisson.learn.needs"
local rules = require "caisson.learn.rules"

local M = {}

local function sorted(set)
  local list = {}
  for k in pairs(set) do list[#list + 1] = k end
  table.sort(list)
  return list
end
M.sorted = sorted

local function quote(s) return (("%q"):format(s):gsub("\\\n", "\\n")) end

-- Words in lines of at most 100 columns.
local function fill(indent, words)
  local lines, line = {}, indent
  for _, w in ipairs(words) do
    if #line + #w + 2 > 100 and line ~= indent then
      lines[#lines + 1] = line:gsub(" $", "")
      line = indent
    end
    line = line .. w .. ", "
  end
  if line ~= indent then lines[#lines + 1] = line:gsub(" $", "") end
  return lines
end

-- ---- system calls ----

-- Names of the values, for a comment.
local protections = { [0] = "not PROT_EXEC", [4] = "PROT_EXEC", [6] = "PROT_WRITE|PROT_EXEC" }

local function meaning(name, conditions)
  if conditions[1][3] == 4 or conditions[1][3] == 6 then return protections[conditions[1][4]] end
  local args, words = {}, {}
  for i = 1, 6 do args[i] = 0 end
  for _, c in ipairs(conditions) do args[c[1] + 1] = c[4] end
  for i, c in ipairs(conditions) do
    local ok, word = pcall(decode.value, name, c[1] + 1, c[4], args)
    -- options of other levels than SOL_SOCKET have numbers of their own
    if i == 2 and name:find "sockopt$" and conditions[1][4] ~= 1 then word = nil end
    words[#words + 1] = ok and word or ("%d"):format(c[4])
  end
  return table.concat(words, ", ")
end

local function number(v)
  if v >= 10 then return ("0x%x"):format(v) end
  return ("%d"):format(v)
end

local function condition_text(conditions)
  local parts = {}
  for i, c in ipairs(conditions) do
    parts[i] = ("{ %d, \"masked\", 0x%x, %s }"):format(c[1], c[3], number(c[4]))
  end
  return "{ " .. table.concat(parts, ", ") .. " }"
end

local function flags_of(comment)
  local list = {}
  for word in comment:gmatch "[^|]+" do list[#list + 1] = word end
  return list
end

-- The list that policy.new takes; lines of text.
local function call_lines(calls, indent)
  local plain, conditional = {}, {}
  for _, name in ipairs(sorted(calls)) do
    local keys = calls[name]
    if keys[""] or not rules.kept[name] then
      plain[#plain + 1] = quote(name)
    else
      local list = {}
      for key in pairs(keys) do list[#list + 1] = rules.conditions(name, key) end
      table.sort(list, function(a, b)
        for i, c in ipairs(a) do if c[4] ~= b[i][4] then return c[4] < b[i][4] end end
        return false
      end)
      for _, conditions in ipairs(list) do
        local rule = ("%s{ %s, args = %s },"):format(indent, quote(name), condition_text(conditions))
        local comment = meaning(name, conditions)
        if #rule + #comment + 4 <= 120 then
          rule = rule .. " -- " .. comment
        elseif not comment:find "|" then
          conditional[#conditional + 1] = indent .. "-- " .. comment
        else -- of many flags: before it
          local lines = fill(indent .. "-- ", flags_of(comment))
          for i, line in ipairs(lines) do
            conditional[#conditional + 1] = line:gsub(", ", "|"):gsub(",$", i < #lines and "|" or "")
          end
        end
        conditional[#conditional + 1] = rule
      end
    end
  end
  local lines = fill(indent, plain)
  for _, r in ipairs(conditional) do lines[#lines + 1] = r end
  return lines
end

-- ---- all of it ----

-- Files that need not be there in each run.
local function is_lasting(path)
  for _, dir in ipairs { "/usr", "/etc", "/bin", "/sbin", "/lib", "/lib64", "/dev", "/proc", "/sys" } do
    if path == dir or path:sub(1, #dir + 1) == dir .. "/" then return true end
  end
  return path == "/" or path == "/tmp"
end

-- Landlock's table: lists of paths, ports.
function M.landlock(n)
  local t = {}
  for _, k in ipairs { "execute", "read", "write" } do
    t[k] = {}
    for i, path in ipairs(sorted(n.files[k])) do
      t[k][i] = is_lasting(path) and path or { path = path, optional = true }
    end
  end
  local abi = core.landlock.abi() or 0
  local kinds = { list = { "read_dir" }, device = { "read_file", abi >= 5 and "ioctl_dev" or nil } }
  for _, k in ipairs { "device", "list" } do
    for _, path in ipairs(sorted(n.files[k])) do
      t.rules = t.rules or {}
      table.insert(t.rules, { path = path, access = kinds[k], optional = not is_lasting(path) or nil })
    end
  end
  -- what this kernel does not know yet can't have been tried
  if abi >= 4 then t.connect, t.bind = sorted(n.connect), sorted(n.bind) end
  local lacking = {}
  for right, since in pairs(core.landlock.rights().fs) do if since > abi then lacking[right] = true end end
  t.best_effort = next(lacking) and sorted(lacking) or nil
  local signals = n.calls.kill or n.calls.tkill or n.calls.tgkill or n.calls.rt_sigqueueinfo or n.calls.rt_tgsigqueueinfo
    or n.calls.pidfd_send_signal
  local abstract = false
  for text in pairs(n.other) do abstract = abstract or text:find " unix @" ~= nil end
  t.scope = {}
  if not abstract then t.scope[1] = "abstract_unix_socket" end
  if not signals then t.scope[#t.scope + 1] = "signal" end
  if #t.scope == 0 or abi < 6 then t.scope = nil end
  return t
end

local function path_text(p)
  if type(p) == "string" then return quote(p) end
  local access = p.access and ', access = { "' .. table.concat(p.access, '", "') .. '" }' or ""
  return ("{ path = %s%s%s }"):format(quote(p.path), access,
    p.optional and ", optional = true" or "")
end

local function list_lines(out, indent, key, list, text)
  local words = {}
  for i, v in ipairs(list) do words[i] = text(v) end
  local one = ("%s%s = { %s },"):format(indent, key, table.concat(words, ", "))
  if #words == 0 then one = ("%s%s = {},"):format(indent, key) end
  if #one <= 100 then
    out[#out + 1] = one
    return
  end
  out[#out + 1] = ("%s%s = {"):format(indent, key)
  for _, line in ipairs(fill(indent .. "  ", words)) do out[#out + 1] = line end
  out[#out + 1] = indent .. "},"
end

local function size_text(v)
  for _, unit in ipairs { { 2 ^ 30, "G" }, { 2 ^ 20, "M" }, { 2 ^ 10, "K" } } do
    if v % unit[1] == 0 then return ('"%d%s"'):format(v / unit[1], unit[2]) end
  end
  return ("%d"):format(v)
end

local restarted = { "nanosleep", "clock_nanosleep", "poll", "futex" }

-- The recipe's text. about: extends (a name or a path), params (name -> { type, value }), commands (lines), landlock
-- and namespaces: as the mix-in has them.
function M.recipe(n, about)
  local out = {}
  local function put(text, ...) out[#out + 1] = select("#", ...) > 0 and text:format(...) or text end
  put("-- What this needed, and nothing else, learnt from %s:", n.runs == 1 and "one run" or n.runs .. " runs")
  put "--"
  for _, c in ipairs(about.commands) do put("--   %s", (c:gsub("[%c]", " "))) end
  put "--"
  put "-- What it did not do then, it may not do: let it do all that it is for, and add each run with --merge."
  for _, text in ipairs(n.notes) do put("-- Note: %s.", (text:gsub("[%c]", "?"))) end
  local other = sorted(n.other)
  if #other > 0 then
    put "-- Other addresses, which no rule below is about:"
    for _, line in ipairs(fill("--   ", other)) do put((line:gsub("[%c]", "?"):gsub(",$", ""))) end
  end
  for _, name in ipairs(restarted) do
    if n.calls[name] and not n.calls.restart_syscall then
      put "-- Who stops and continues it (SIGSTOP, SIGCONT) as it sleeps has it make one more call: restart_syscall."
      break
    end
  end
  put 'local caisson = require "caisson"'
  put "local policy = caisson.policy"
  put ""
  put "return caisson.recipe {"
  put("  summary = %s,", quote(about.summary))
  put("  extends = %s,", quote(about.extends))
  if next(about.params or {}) then
    put "  params = {"
    for _, name in ipairs(sorted(about.params)) do
      local p = about.params[name]
      put("    %s = { %s, default = %s },", name, quote(p[1]), quote(p[2]))
    end
    put "  },"
  end
  put "  mix = { policy.mix {"
  put "    seccomp = policy.new {"
  for _, line in ipairs(call_lines(n.calls, "      ")) do put(line) end
  put "    },"
  local l = about.landlock
  if l then
    put "    landlock = {"
    for _, k in ipairs { "execute", "read", "write", "rules" } do
      if l[k] then list_lines(out, "      ", k, l[k], path_text) end
    end
    for _, k in ipairs { "connect", "bind" } do if l[k] then list_lines(out, "      ", k, l[k], tostring) end end
    for _, k in ipairs { "scope", "best_effort" } do
      if l[k] then list_lines(out, "      ", k, l[k], quote) end
    end
    put "    },"
  end
  if n.capabilities then list_lines(out, "    ", "capabilities", sorted(n.capabilities), quote) end
  if about.namespaces then put("    namespaces = { %s = true },", table.concat(sorted(about.namespaces), " = true, ")) end
  local limits = needs.limits(n)
  if limits.nofile or limits.fsize then
    put("    rlimits = { %s%s },", limits.nofile and ("nofile = %d"):format(limits.nofile) or "",
      limits.fsize and (limits.nofile and ", " or "") .. ("fsize = %d"):format(limits.fsize) or "")
  end
  if limits.memory or limits.pids then
    put "    cgroup = {"
    if limits.memory then put("      memory = { max = %s, optional = true },", size_text(limits.memory)) end
    if limits.pids then put("      pids = { max = %d, optional = true },", limits.pids) end
    put "    },"
  end
  put "  } },"
  put "}"
  return table.concat(out, "\n") .. "\n"
end

return M
