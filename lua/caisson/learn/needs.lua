-- What a program needs, as one table: from what a recorder tells of a run, and of several runs together.
--
--   calls         name -> set of keys: "" for any arguments, or the values of those that count: "2,1"
--   files         { read, execute, write, list, device }: sets of paths, folded
--   connect, bind sets of TCP ports; other: what no rule of Landlock's is about ("connect udp 10.0.0.1 53")
--   capabilities  a set; nil: not known
--   links         names that lead to files: name -> path
--   peaks         { tasks, fd, file, memory }
--   runs          how many
local fold = require "caisson.learn.fold"

local M = {}

local function set_of(list)
  local set = {}
  for _, v in ipairs(list or {}) do set[v] = true end
  return set
end

-- { { name, value }, ... } as a table of names.
local function named(list)
  local t = {}
  for _, pair in ipairs(list or {}) do t[pair[1]] = pair[2] end
  return t
end

-- Names that files were asked for by, which lead to others. Of libraries' folders the folders: /lib64 is /usr/lib64.
local function links_of(links)
  local t = {}
  for text, path in pairs(links) do
    local dir = text:match "^/lib%w*%f[/]"
    if not text:find "/%.%.?%f[/%z]" and not text:find "//" and not text:find "^/proc%f[/%z]" and not text:find "/$" then
      t[dir or text] = dir and "/usr" .. dir or path
    end
  end
  return t
end

-- facts: a recorder's; result: of the run.
function M.of(facts, result)
  local n = { calls = {}, connect = {}, bind = {}, other = {}, runs = 1, peaks = {}, notes = {} }
  for name, keys in pairs(facts.calls) do
    if name:sub(1, 1) == "#" then
      n.notes[#n.notes + 1] = ("system call %s has no name here, and no policy can allow it"):format(name)
    else
      n.calls[name] = set_of(keys)
    end
  end
  n.files = fold.files(named(facts.files))
  for _, text in ipairs(facts.net) do
    local what, kind, port = text:match "^(%a+) (%a+) %S+ (%d+)$"
    if kind == "tcp" then n[what][tonumber(port)] = true else n.other[text] = true end
    if kind then n.inet = true end
  end
  n.links = links_of(named(facts.links))
  n.capabilities = set_of(facts.capabilities)
  for _, k in ipairs { "tasks", "fd", "file" } do n.peaks[k] = facts.peaks[k] end
  n.peaks.memory = result.memory_peak and result.memory_peak * (result.memory_from == "cgroup" and 1 or facts.peaks.tasks)
  if facts.foreign then
    n.notes[#n.notes + 1] = ("%d calls of another architecture (32-bit code?) are not in the policy, which kills for them")
      :format(facts.foreign)
  end
  if facts.unreadable then
    n.notes[#n.notes + 1] = "the memory of a process could not be read, since it let nobody (PR_SET_DUMPABLE): the paths "
      .. "that it used then are missing"
  end
  for path, message in pairs(named(facts.unknown)) do
    if message == "a mount namespace of its own" then
      n.elsewhere = true
    else
      n.notes[#n.notes + 1] = ("%s: what file that is could not be told (%s)"):format(path, message)
    end
  end
  table.sort(n.notes)
  return n
end

local function join(a, b)
  local set = {}
  for k in pairs(a or {}) do set[k] = true end
  for k in pairs(b or {}) do set[k] = true end
  return set
end

-- What either of two needs.
function M.union(a, b)
  local n = { calls = {}, files = {}, peaks = {}, notes = {}, inet = a.inet or b.inet, runs = a.runs + b.runs }
  for _, of in ipairs { a, b } do
    for name, keys in pairs(of.calls) do n.calls[name] = join(n.calls[name], keys) end
    for _, text in ipairs(of.notes) do n.notes[#n.notes + 1] = text end
  end
  for name, keys in pairs(n.calls) do if keys[""] then n.calls[name] = { [""] = true } end end
  for _, k in ipairs { "read", "execute", "write", "list", "device" } do n.files[k] = join(a.files[k], b.files[k]) end
  fold.sets(n.files)
  n.links = {}
  for _, of in ipairs { a, b } do for k, v in pairs(of.links or {}) do n.links[k] = v end end
  for _, k in ipairs { "connect", "bind", "other", "capabilities" } do n[k] = join(a[k], b[k]) end
  for _, k in ipairs { "tasks", "fd", "file", "memory" } do
    n.peaks[k] = math.max(a.peaks[k] or 0, b.peaks[k] or 0)
    if n.peaks[k] == 0 then n.peaks[k] = nil end
  end
  -- limits that an earlier policy has, which had room in them already
  n.limits = {}
  for _, of in ipairs { a, b } do
    for k, v in pairs(of.limits or {}) do n.limits[k] = math.max(n.limits[k] or 0, v) end
  end
  return n
end

local function power_of_two(n)
  local v = 1
  while v < n do v = v * 2 end
  return v
end

-- The limits: twice what was used, so that a run that is a little larger is none that fails.
function M.limits(n)
  local p, had, l = n.peaks, n.limits or {}, {}
  l.nofile = p.fd and math.max(64, power_of_two(2 * (p.fd + 1)))
  l.fsize = p.file and p.file > 0 and math.max(16 * 2 ^ 20, power_of_two(4 * p.file)) or nil
  l.pids = p.tasks and math.max(8, power_of_two(2 * p.tasks + 2))
  l.memory = p.memory and math.max(16 * 2 ^ 20, math.ceil(2 * p.memory / 2 ^ 24) * 2 ^ 24)
  for k, v in pairs(had) do l[k] = math.max(l[k] or 0, v) end
  return l
end

return M
