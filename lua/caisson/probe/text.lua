-- Reports for a terminal: what was found, most dangerous first, and what there is; several side by side.
local color = require "caisson.cli.color"
local rules = require "caisson.probe.rules"

local M = {}

local unpack = table.unpack or unpack -- luacheck: ignore (5.1 has it as a global)

local paints = { danger = "red", warning = "yellow", note = "blue", ok = "green", unknown = "dim" }

-- What may come from a container or the host, as a terminal may see it.
local function clean(s) return (tostring(s):gsub("%c", "?")) end

-- Text in lines of no more than that many columns, broken at blanks.
local function wrap(text, columns)
  local lines, line = {}, ""
  for word in text:gmatch("%S+") do
    if line ~= "" and #line + 1 + #word > columns then
      lines[#lines + 1] = line
      line = word
    else
      line = line == "" and word or line .. " " .. word
    end
    while #line > columns do
      lines[#lines + 1] = line:sub(1, columns)
      line = line:sub(columns + 1)
    end
  end
  if line ~= "" then lines[#lines + 1] = line end
  return lines
end

local function counts(report)
  local n = { danger = 0, warning = 0, note = 0, ok = 0, unknown = 0 }
  for _, level in pairs(report.rules) do n[level] = n[level] + 1 end
  return n
end
M.counts = counts

local function plural(n, word) return ("%d %s%s"):format(n, word, n == 1 and "" or "s") end

local function summary(report, c)
  local n, parts = counts(report), {}
  for _, level in ipairs { "danger", "warning", "note" } do
    if n[level] > 0 then parts[#parts + 1] = c[paints[level]](plural(n[level], level)) end
  end
  if #parts == 0 then parts[1] = c.green "nothing found" end
  return table.concat(parts, ", ") .. (" of %d rules"):format(#rules)
    .. (n.unknown > 0 and (", %d could not be looked at"):format(n.unknown) or "")
end

-- A section in one line.
local lines_of = {
  identity = function(s) return { s["user"], s["no_new_privs"] == "set" and "no_new_privs" or "may gain privileges",
    "seccomp: " .. s["seccomp"], s["landlock"] ~= "none" and "landlock" or nil } end,
  capabilities = function(s) return { "effective: " .. s["effective"], s["bounding"] ~= s["effective"]
    and "bounding: " .. s["bounding"] or nil } end,
  syscalls = function(_, rows)
    local list = {}
    for _, r in ipairs(rows) do
      if r.key:find "^allowed" or r.key:find "^answer" or r.key:find "^kill" or r.key:find "^by" or r.key:find "^ask"
        or r.key:find "^raise" then
        list[#list + 1] = r.value .. " " .. r.key
      end
    end
    return list
  end,
  namespaces = function(_, rows)
    local own, shared = {}, {}
    for _, r in ipairs(rows) do table.insert(r.value == "its own" and own or shared, r.key) end
    return { #own > 0 and "its own: " .. table.concat(own, " ") or nil, #shared > 0 and "the host's: "
      .. table.concat(shared, " ") or nil }
  end,
  mounts = function(_, rows)
    local host, write = 0, {}
    for _, r in ipairs(rows) do
      if (r.detail or ""):find "of the host" and r.value ~= "masked" then host = host + 1 end
      if r.level ~= "ok" then write[#write + 1] = r.key end
    end
    return { plural(#rows, "mount"), ("%d show the host"):format(host), #write > 0 and "notable: "
      .. table.concat(write, " ") or nil }
  end,
  nested = function(s) return { "user namespace: " .. (s["user namespace"] or "?"), "mounts: "
    .. (s["mounts with its own rights"] or "?") } end,
  network = function(s) return { s["network namespace"], s["interfaces"], "way out: " .. s["way out"] } end,
  limits = function(s) return { "memory: " .. s["memory"], "processes: " .. s["processes"], "nofile: " .. (s["nofile"]
    or "?") } end,
  devices = function(_, rows)
    local opens = {}
    for _, r in ipairs(rows) do if r.value:find "^opens" then opens[#opens + 1] = r.key:gsub("^/dev/", "") end end
    return { #opens > 0 and table.concat(opens, " ") or "none opens" }
  end,
  exposure = function(_, rows)
    local n = {}
    for _, r in ipairs(rows) do
      local word = r.value:find "writable" and "writable" or r.value:find "readable" and "readable"
        or r.value == "absent" and "absent"
        or r.value == "masked" and "masked" or "refused"
      n[word] = (n[word] or 0) + 1
    end
    local list = {}
    for _, word in ipairs { "writable", "readable", "masked", "refused", "absent" } do
      if n[word] then list[#list + 1] = n[word] .. " " .. word end
    end
    return list
  end,
}

local function section_line(section)
  local by_key, f = {}, lines_of[section.key]
  for _, r in ipairs(section.rows) do by_key[r.key] = r.value end
  local parts, kept = f and f(by_key, section.rows) or {}, {}
  for i = 1, 6 do if parts[i] then kept[#kept + 1] = parts[i] end end
  return #kept > 0 and clean(table.concat(kept, "; ")) or nil
end

local function findings(report, c, width, out, all)
  for _, f in ipairs(report.findings) do
    local fits = 9 + #f.title + 2 + #f.rule <= width
    out[#out + 1] = c[paints[f.level]](color.pad(f.level, 9)) .. c.bold(f.title) .. (fits and c.dim("  " .. f.rule) or "")
    if not fits then out[#out + 1] = (" "):rep(9) .. c.dim(f.rule) end
    local told, most = f.evidence, all and 99 or 4
    if #told > most + 1 then
      told = { unpack(told, 1, most) }
      told[most + 1] = ("and %d more (--all)"):format(#f.evidence - most)
    end
    for _, line in ipairs(wrap(clean(table.concat(told, "; ")), width - 9)) do out[#out + 1] = (" "):rep(9) .. line end
    if f.level ~= "note" then
      for _, line in ipairs(wrap("why: " .. f.why, width - 9)) do out[#out + 1] = (" "):rep(9) .. c.dim(line) end
      for _, line in ipairs(wrap("fix: " .. f.fix, width - 9)) do out[#out + 1] = (" "):rep(9) .. c.cyan(line) end
    end
  end
end

local function all_rows(report, c, width, out)
  for _, s in ipairs(report.sections) do
    out[#out + 1] = ""
    out[#out + 1] = c.bold(s.title)
    local longest = 28
    for _, r in ipairs(s.rows) do longest = math.max(longest, math.min(color.width(r.key), 42)) end
    for _, r in ipairs(s.rows) do
      local mark = r.level == "ok" and " " or r.level == "note" and "-" or r.level == "warning" and "!" or "X"
      local line = c[paints[r.level]](mark) .. " " .. color.pad(clean(r.key), longest) .. " " .. clean(r.value)
      local how = r.how == "policy" and "evaluated" or r.how
      if width >= 100 and r.detail then line = color.pad(line, 60) .. " " .. c.dim(how .. "; " .. clean(r.detail)) end
      out[#out + 1] = color.cut(line, width)
      if r.names and #r.names > 0 and #r.names < #report.calls / 2 then
        for _, l in ipairs(wrap(table.concat(r.names, " "), width - 4)) do out[#out + 1] = "    " .. c.dim(l) end
      end
    end
  end
end

-- One report. o: color, columns, all (every row).
function M.one(report, o)
  local c, width, out = o.color, o.columns or 80, {}
  out[1] = c.bold(clean(M.title(report))) .. c.dim(("  %s, as %s"):format(report.kernel, report.user))
  out[2] = summary(report, c)
  if #report.findings > 0 then out[#out + 1] = "" end
  findings(report, c, width, out, o.all)
  if o.all then
    all_rows(report, c, width, out)
  else
    out[#out + 1] = ""
    for _, s in ipairs(report.sections) do
      local text = section_line(s)
      if text then
        for i, line in ipairs(wrap(text, width - 23)) do
          out[#out + 1] = (i == 1 and c.dim(color.pad(s.title, 22)) or (" "):rep(22)) .. " " .. line
        end
      end
    end
  end
  for _, u in ipairs(report.untried) do
    for i, line in ipairs(wrap(clean("not tried: " .. u), width - 2)) do out[#out + 1] = (i == 1 and "" or "  ")
      .. c.yellow(line) end
  end
  return table.concat(out, "\n") .. "\n"
end

local actions = { kill_process = "kills the process", kill_thread = "kills the thread", trap = "SIGSYS",
  notify = "asks a handler", trace = "asks a tracer", allow = "allowed", log = "allowed, logged" }

-- What a system call gets, in words.
function M.action(c)
  if not c then return "" end
  return c.action == "errno" and c.errno or c.action == "conditional" and c.text or actions[c.action] or c.action
end

-- What a report is called: its recipe with the parameters.
function M.title(report)
  local parts, names = { report.recipe }, {}
  for k in pairs(report.params) do names[#names + 1] = k end
  table.sort(names)
  for _, k in ipairs(names) do parts[#parts + 1] = k .. "=" .. tostring(report.params[k]) end
  for _, file in ipairs(report.mix or {}) do parts[#parts + 1] = "--mix " .. file end
  return table.concat(parts, " ")
end

-- The calls that reports answer differently.
local function differing_calls(reports, row, most)
  local n = 0
  for i, first in ipairs(reports[1].calls) do
    local cells, differ = {}, false
    for k, r in ipairs(reports) do
      cells[k] = r.calls[i].action == "conditional" and "by its arguments" or M.action(r.calls[i])
      differ = differ or cells[k] ~= cells[1]
    end
    if differ then
      n = n + 1
      if n <= most then row("  " .. first.name, cells) end
    end
  end
  return n - most
end

-- Several side by side: the rules that some of them break, and the rows in which they differ.
function M.several(reports, o)
  local c, width, out = o.color, o.columns or 80, {}
  local first = 30
  local column = math.max(8, math.floor((width - first) / #reports))
  local function row(name, cells, paint)
    local line = color.pad(color.cut(clean(name), first - 1), first)
    for i, text in ipairs(cells) do
      local cut = color.cut(clean(text), column - 1)
      line = line .. (paint and paint(i, cut) or cut) .. (" "):rep(column - color.width(cut))
    end
    out[#out + 1] = color.cut(line:gsub("%s+$", ""), math.max(width, first + 9 * #reports))
  end
  local titles = {}
  for i, r in ipairs(reports) do
    titles[i] = clean(M.title(r))
    out[#out + 1] = c.bold(("%d  %s"):format(i, titles[i])) .. "  " .. summary(r, c)
  end
  out[#out + 1] = ""
  local heads = {}
  for i, r in ipairs(reports) do
    heads[i] = ("%d %s%s"):format(i, r.mix and "+ " or "", ((r.mix and r.mix[1] or r.recipe):match("[^/]*$"):gsub("%.lua$", "")))
  end
  row("rule", heads, function(_, s) return c.bold(s) end)
  for _, level in ipairs { "danger", "warning", "note" } do
    for _, rule in ipairs(rules) do
      local worst, cells = 0, {}
      for i, r in ipairs(reports) do
        cells[i] = r.rules[rule.name]
        worst = math.max(worst, rules.levels[cells[i]] or 0)
      end
      if worst == rules.levels[level] then
        row(rule.name, cells, function(i, s) return c[paints[cells[i]]](s) end)
      end
    end
  end
  local keys = {}
  for _, r in ipairs(reports) do
    for _, s in ipairs(r.sections) do
      for _, line in ipairs(s.rows) do
        local id = s.key .. "\0" .. line.key
        if not keys[id] then
          keys[id] = { section = s.title, key = line.key, cells = {} }
          keys[#keys + 1] = keys[id]
        end
        keys[id].cells[r] = line
      end
    end
  end
  local order = {}
  for _, s in ipairs(reports[1].sections) do order[#order + 1] = s.title end
  local last, left = nil, 0
  for _, title in ipairs(order) do
    local calls = reports[1].calls[1] and title == "System calls"
    for _, k in ipairs(keys) do
      if k.section == title then
        local cells, differ, notable, everywhere = {}, false, false, true
        for i, r in ipairs(reports) do
          local line = k.cells[r]
          cells[i] = line and line.value or "-"
          differ = differ or cells[i] ~= cells[1]
          notable = notable or line ~= nil and line.level ~= "ok"
          everywhere = everywhere and line ~= nil
        end
        -- that one has a harmless thing and another not at all is seldom what is looked for
        if differ and not notable and not o.all and (not everywhere or k.key:find "^tried, not") then left = left + 1
        elseif differ or o.all then
          if last ~= title then
            out[#out + 1] = ""
            out[#out + 1] = c.bold(title)
            last = title
          end
          row("  " .. k.key, cells, function(i, s)
            local line = k.cells[reports[i]]
            return line and line.level ~= "ok" and c[paints[line.level]](s) or s
          end)
        end
      end
    end
    if calls and last == title then
      local more = differing_calls(reports, row, o.all and 999 or 12)
      if more > 0 then out[#out + 1] = c.dim(("  and %d more calls differ: --all"):format(more)) end
    end
  end
  if left > 0 then
    out[#out + 1] = ""
    out[#out + 1] = c.dim(("%s without a finding differ: --all"):format(plural(left, "more row")))
  end
  return table.concat(out, "\n") .. "\n"
end

-- The rules, for whoever asks which there are.
function M.rules(o)
  local c, width, out = o.color, o.columns or 80, {}
  for _, r in ipairs(rules) do
    out[#out + 1] = c[paints[r.level]](color.pad(r.level, 9)) .. c.bold(color.pad(r.name, 26)) .. " " .. r.title
    for _, line in ipairs(wrap(r.why, width - 9)) do out[#out + 1] = (" "):rep(9) .. c.dim(line) end
  end
  return table.concat(out, "\n") .. "\n"
end

return M
