-- Policies and mix-ins as people read them.
local color = require "caisson.cli.color"
local core = require "caisson.core"
local groups = require "caisson.policy.groups"
local names = require "caisson.policy.names"
local values = require "caisson.policy.values"

local M = {}

local concat = table.concat

-- An action in words: "errno EPERM".
---@param a caisson.policy.Action
---@return string
function M.action(a)
  if type(a) == "string" then return a end
  return a[1] .. " " .. (a[1] == "errno" and core.errno.name(a[2]) or ("%d"):format(a[2]))
end

-- ---- names of calls, by groups ----

local members -- group -> list of the calls that this machine has, the largest groups first

local function all_groups()
  if not members then
    local here = core.seccomp.syscalls()
    members = {}
    for group in pairs(groups) do
      local list = {}
      for name in pairs(names.expand(group, {}, 1)) do if here[name] then list[#list + 1] = name end end
      if #list > 1 then members[#members + 1] = { name = group, calls = list } end
    end
    table.sort(members, function(a, b)
      if #a.calls ~= #b.calls then return #a.calls > #b.calls end
      return a.name < b.name
    end)
  end
  return members
end

-- Calls as words: groups that are there as a whole, or but for a call or two, then the others by name. Names that this
-- machine lacks are left out, where some are left.
---@param list string[]
---@return string[]
function M.fold(list)
  local here, left, out = core.seccomp.syscalls(), {}, {}
  for _, name in ipairs(list) do left[name] = here[name] and true or nil end
  if next(left) == nil then for _, name in ipairs(list) do left[name] = true end end
  local all = {}
  for name in pairs(left) do all[name] = true end
  repeat -- the group that says most of what is not said yet
    local best, most, but = nil, 0, nil
    for _, group in ipairs(all_groups()) do
      local missing, new = {}, 0
      for _, name in ipairs(group.calls) do
        if not all[name] then missing[#missing + 1] = name end
        if left[name] then new = new + 1 end
      end
      -- one that says mostly what others have said is not worth its name
      local worth = #missing == 0 and new * 2 > #group.calls or #missing < 3 and new > 5
      if worth and (new > most or new == most and #missing < #but) then best, most, but = group, new, missing end
    end
    if best then
      table.sort(but)
      out[#out + 1] = best.name .. (#but > 0 and (" (but %s)"):format(concat(but, ", ")) or "")
      for _, name in ipairs(best.calls) do left[name] = nil end
    end
  until not best
  table.sort(out)
  local rest = {}
  for name in pairs(left) do rest[#rest + 1] = name end
  table.sort(rest)
  for _, name in ipairs(rest) do out[#out + 1] = name end
  return out
end

-- Words in lines of that width, the first behind a head, the others below its end.
---@param head string
---@param list string[]
---@param c caisson.Color
---@return string[]
function M.fill(head, list, c)
  local lines, indent, width = {}, color.width(head), c.columns or 100
  local line, used = head, indent
  for _, w in ipairs(list) do
    if used > indent and used + 1 + color.width(w) > width then
      lines[#lines + 1] = line
      line, used = (" "):rep(indent), indent
    end
    line = line .. (used > indent and " " or "") .. w
    used = used + (used > indent and 1 or 0) + color.width(w)
  end
  lines[#lines + 1] = line
  return lines
end

-- ---- a policy ----

-- The clauses of a call with their actions; nil where there are none.
function M.clauses(p, name)
  local list = {}
  for i, c in ipairs(p.calls[name] or {}) do
    list[i] = { action = M.action(c.action == "deny" and p.deny or c.action), args = c.args, from = c.from }
  end
  return #list > 0 and list or nil
end

-- Actions in words, from the one that allows most.
local order = { allow = 1, log = 2, notify = 3, trace = 4, errno = 5, trap = 6, kill_thread = 7, kill_process = 8 }

local function by_rank(a, b)
  local x, y = order[a:match("^%S+")], order[b:match("^%S+")]
  if x ~= y then return x < y end
  return a < b
end

-- Clauses as rules, { action =, where = } each: those of one action that follow each other are one.
---@return { action: string, where?: string }[]
function M.rules(name, clauses)
  local rules, last = {}, nil
  for _, c in ipairs(clauses) do
    if last and last.action == c.action and #c.args > 0 then
      table.insert(last.conditions, c.args)
    else
      last = { action = c.action, conditions = { c.args } }
      rules[#rules + 1] = last
    end
  end
  for _, r in ipairs(rules) do
    local text = values.conditions(name, r.conditions)
    r.where, r.conditions = text ~= "" and text or nil, nil
  end
  return rules
end

-- What it answers: { default =, always = { { action =, calls = } }, some = { { call =, rules = { { action =, where = } } } } }.
---@param p caisson.Policy
---@return table
function M.table(p)
  local always, actions, some = {}, {}, {}
  for name in pairs(p.calls) do
    local clauses = M.clauses(p, name)
    if clauses and #clauses[1].args == 0 then
      local action = clauses[1].action
      if action ~= M.action(p.default) then -- as all others
        if not always[action] then
          always[action] = {}
          actions[#actions + 1] = action
        end
        table.insert(always[action], name)
      end
    elseif clauses then
      some[#some + 1] = { call = name, rules = M.rules(name, clauses) }
    end
  end
  table.sort(actions, by_rank)
  table.sort(some, function(a, b) return a.call < b.call end)
  local t = { default = M.action(p.default), always = {}, some = some, newest = tostring(p.newest),
    bad_architecture = M.action(p.bad_architecture), architectures = p.architectures, flags = #p.flags > 0 and p.flags or nil,
    unknown = p:unknown() }
  for i, action in ipairs(actions) do
    table.sort(always[action])
    t.always[i] = { action = action, calls = always[action] }
  end
  if #t.unknown == 0 then t.unknown = nil end
  return t
end

local function paint(c, action)
  local word = action:match("^%S+")
  if word == "allow" or word == "log" then return c.green end
  return (word == "notify" or word == "trace") and c.yellow or c.red
end

M.paint = paint

-- A policy as text: what is always answered so, what by arguments, and all the rest.
---@param p caisson.Policy
---@param c? caisson.Color
---@return string
function M.policy(p, c)
  c = c or color.of(false)
  local t, lines = M.table(p), {}
  local function add(list) for _, line in ipairs(list) do lines[#lines + 1] = line end end
  local width = #t.default
  for _, a in ipairs(t.always) do width = math.max(width, #a.action) end
  for _, s in ipairs(t.some) do for _, r in ipairs(s.rules) do width = math.max(width, #r.action) end end
  local function head(action) return paint(c, action)(color.pad(action, width)) .. "  " end
  for _, a in ipairs(t.always) do add(M.fill(head(a.action), M.fold(a.calls), c)) end
  for _, s in ipairs(t.some) do
    for i, r in ipairs(s.rules) do
      local words = { i == 1 and c.bold(s.call) or color.pad("", #s.call), r.where and "where" or "else" }
      for w in (r.where or ""):gmatch("%S+") do words[#words + 1] = w end
      add(M.fill(head(r.action), words, c))
    end
  end
  local others = { "every", "other", "call" }
  if p.newest then for w in ("(of newer ones than it knows: errno ENOSYS)"):gmatch("%S+") do others[#others + 1] = w end end
  add(M.fill(head(t.default), others, c))
  if t.architectures and #t.architectures > 1 then
    add(M.fill(head "allow", { "machines:", concat(t.architectures, " ") }, c))
  end
  if t.unknown then
    for _, line in ipairs(M.fill(color.pad("left out", width) .. "  ", t.unknown, c)) do lines[#lines + 1] = c.dim(line) end
  end
  return concat(lines, "\n") .. "\n"
end

-- ---- a mix-in ----

local function scalar(v)
  if type(v) ~= "table" then return tostring(v) end
  if #v > 0 then
    local parts = {}
    for i, x in ipairs(v) do parts[i] = scalar(x) end
    return concat(parts, " ")
  end
  local keys, parts = {}, {}
  for k in pairs(v) do keys[#keys + 1] = tostring(k) end
  table.sort(keys)
  for i, k in ipairs(keys) do
    local x = v[k] == nil and v[tonumber(k)] or v[k]
    parts[i] = k .. "=" .. (type(x) == "table" and "{" .. scalar(x) .. "}" or tostring(x))
  end
  return concat(parts, " ")
end

local mount_kinds = { "bind", "fd", "tmpfs", "proc", "sysfs", "devpts", "mqueue", "cgroup", "cgroups", "overlay", "fs", "file",
  "symlink", "dir", "device", "remount", "propagate" }

-- One entry of `mounts`: "bind /usr", "tmpfs /tmp size=64M".
local function mount_text(m)
  local kind, rest = nil, {}
  for _, k in ipairs(mount_kinds) do if m[k] ~= nil and not kind then kind = k end end
  if not kind then return scalar(m) end
  local text = kind .. " " .. scalar(m[kind])
  if m.at and m.at ~= m[kind] then text = text .. (kind == "symlink" and " at " or " -> ") .. m.at end
  for k, v in pairs(m) do
    if k == "data" then
      rest[#rest + 1] = ("(%d bytes)"):format(#tostring(v))
    elseif k ~= kind and k ~= "at" and v ~= false then
      rest[#rest + 1] = v == true and tostring(k) or k .. "=" .. (type(v) == "table" and scalar(v):gsub(" ", ",") or tostring(v))
    end
  end
  table.sort(rest)
  return text .. (rest[1] and "  " .. concat(rest, " ") or "")
end

-- A part of a mix-in as items: lists as their items, tables as "key value", all as text. { text, ... }, key of each.
---@return { key: string, value: string }[]
function M.items(v, part)
  local list = {}
  if type(v) ~= "table" then return { { key = "", value = tostring(v) } } end
  if part == "rlimits" then
    for name, limit in pairs(v) do
      local soft, hard = limit, limit
      if type(limit) == "table" then soft, hard = limit.soft or limit[1], limit.hard or limit[2] or limit.soft or limit[1] end
      list[#list + 1] = { key = tostring(name),
        value = soft == hard and tostring(soft) or tostring(soft) .. ":" .. tostring(hard) }
    end
    table.sort(list, function(a, b) return a.key < b.key end)
    return list
  elseif part == "mounts" then
    for i, m in ipairs(v) do list[i] = { key = mount_text(m):gsub("%c", "?"), value = "" } end
    return list
  elseif part == "namespaces" then
    for k, x in pairs(v) do
      local key = type(x) == "string" and x ~= "new" and k .. "=" .. x or tostring(k)
      if x then list[#list + 1] = { key = key, value = "" } end
    end
    table.sort(list, function(a, b) return a.key < b.key end)
    return list
  end
  for _, item in ipairs(v) do list[#list + 1] = { key = scalar(item), value = "" } end
  local keys = {}
  for k in pairs(v) do if type(k) == "string" then keys[#keys + 1] = k end end
  table.sort(keys)
  for _, k in ipairs(keys) do
    local x = v[k]
    if type(x) == "table" and #x == 0 and next(x) ~= nil then -- { memory = { max = … } }
      for _, inner in ipairs(M.items(x)) do list[#list + 1] = { key = k .. "." .. inner.key, value = inner.value } end
    else
      list[#list + 1] = { key = k, value = type(x) == "table" and (#x == 0 and "none" or scalar(x)) or tostring(x) }
    end
    if k == "optional" and x == false then list[#list] = nil end
  end
  return list
end

-- The parts of a mix-in in the order in which they are shown.
M.parts = { "namespaces", "mounts", "masked", "readonly", "readonly_root", "cgroup", "limits", "rlimits", "capabilities",
  "no_new_privs", "limit_userns", "landlock", "seccomp" }

---@param m caisson.Mix
---@param c? caisson.Color
---@return string
function M.mix(m, c)
  c = c or color.of(false)
  local lines = {}
  for _, k in ipairs(M.parts) do
    local v = rawget(m, k)
    if k == "seccomp" and v ~= nil then
      local list = type(v) == "table" and not getmetatable(v) and v or { v }
      for i, p in ipairs(list) do
        lines[#lines + 1] = c.bold("seccomp" .. (#list > 1 and (" (%d of %d)"):format(i, #list) or ""))
        local text = type(p) == "string" and ("a finished program of %d instructions\n"):format(#p / 8) or M.policy(p,
          c.columns and setmetatable({ columns = c.columns - 2 }, { __index = c }) or c)
        for line in text:gmatch("[^\n]+") do lines[#lines + 1] = "  " .. line end
      end
    elseif v ~= nil and k == "landlock" and #v > 0 then
      for i, spec in ipairs(v) do
        lines[#lines + 1] = c.bold(("landlock (%d of %d)"):format(i, #v))
        for _, item in ipairs(M.items(spec)) do lines[#lines + 1] = "  " .. item.key .. "  " .. item.value end
      end
    elseif v ~= nil and type(v) ~= "table" then
      lines[#lines + 1] = c.bold(k) .. "  " .. tostring(v)
    elseif v ~= nil then
      local items = M.items(v, k)
      local short = #items == 0
      for _, item in ipairs(items) do short = short or item.value == "" and not item.key:find("[ =]") end
      local words = {}
      for i, item in ipairs(items) do words[i] = item.key end
      if #items == 0 then
        lines[#lines + 1] = c.bold(k) .. "  none"
      elseif short then
        for _, line in ipairs(M.fill(c.bold(k) .. "  ", words, c)) do lines[#lines + 1] = line end
      else
        lines[#lines + 1] = c.bold(k)
        for _, item in ipairs(items) do
          local line = ("  %s%s"):format(item.key, item.value ~= "" and "  " .. item.value or "")
          lines[#lines + 1] = c.columns and color.cut(line, c.columns) or line
        end
      end
    end
  end
  if #lines == 0 then lines[1] = "nothing is confined" end
  return concat(lines, "\n") .. "\n"
end

return M
