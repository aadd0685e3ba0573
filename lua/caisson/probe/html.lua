-- Reports as one HTML page, side by side: nothing is loaded from anywhere, and it can be read without its script.
local rules = require "caisson.probe.rules"
local text = require "caisson.probe.text"

local M = {}

local concat = table.concat

local entities = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&#39;" }

-- Text as HTML; what is no UTF-8, and control characters, as "?".
local function escape(s)
  s = tostring(s)
  if not require("caisson.json").is_utf8(s) then s = s:gsub("[\128-\255]", "?") end
  return (s:gsub("[%z\1-\8\11-\31\127]", "?"):gsub("[&<>\"']", entities))
end

local function badge(level, label) return ('<span class="badge b-%s">%s</span>'):format(level, escape(label or level)) end

local function worst_of(report)
  local n = text.counts(report)
  return n.danger > 0 and "danger" or n.warning > 0 and "warning" or n.note > 0 and "note" or "ok"
end

local function section_rows(report, key)
  for _, s in ipairs(report.sections) do
    if s.key == key then
      local by = {}
      for _, r in ipairs(s.rows) do by[r.key] = r end
      return by, s.rows
    end
  end
  return {}, {}
end

-- ---- system calls ----

local groups = {
  { "allow", "allowed" }, { "some", "by arguments" }, { "ask", "asks" }, { "deny", "denied" }, { "kill", "kills" },
}
local group_of = { allow = "allow", log = "allow", conditional = "some", notify = "ask", trace = "ask", errno = "deny",
  trap = "kill",
  kill_process = "kill", kill_thread = "kill" }

local function calls_bar(report)
  local n, total = {}, math.max(#report.calls, 1)
  for _, c in ipairs(report.calls) do
    local g = group_of[c.action] or "deny"
    n[g] = (n[g] or 0) + 1
  end
  local spans, keys = {}, {}
  for _, g in ipairs(groups) do
    local k = n[g[1]]
    if k then
      spans[#spans + 1] = ('<span class="%s" style="flex:%d"></span>'):format(g[1], k)
      keys[#keys + 1] = ('<li class="%s"><i></i>%d %s</li>'):format(g[1], k, g[2])
    end
  end
  return ('<div class="bar" role="img" aria-label="%d system calls">%s</div><ul class="keys" aria-label="System calls">%s</ul>')
    :format(total, concat(spans), concat(keys))
end

-- ---- parts ----

local function card(report)
  local n, figures = text.counts(report), {}
  for _, level in ipairs { "danger", "warning", "note" } do
    if n[level] > 0 then
      figures[#figures + 1] = badge(level, ("%d %s%s"):format(n[level], level, n[level] == 1 and "" or "s"))
    end
  end
  if #figures == 0 then figures[1] = badge("ok", "nothing found") end
  if n.unknown > 0 then figures[#figures + 1] = badge("unknown", n.unknown .. " not looked at") end
  local names, params = {}, {}
  for k in pairs(report.params) do names[#names + 1] = k end
  table.sort(names)
  for i, k in ipairs(names) do params[i] = k .. "=" .. tostring(report.params[k]) end
  for _, file in ipairs(report.mix or {}) do params[#params + 1] = "--mix " .. file end
  local identity, caps, limits, net = section_rows(report, "identity"), section_rows(report, "capabilities"),
    section_rows(report, "limits"), section_rows(report, "network")
  local function fact(name, row) return row and ("<dt>%s</dt><dd>%s</dd>"):format(name, escape(row.value)) or "" end
  local effective = caps.effective
  if effective and (effective.count or 0) > 3 then effective = { value = effective.count .. " of 41" } end
  return ([[<li class="card tone-%s"><h2>%s</h2>%s%s<div class="figures">%s</div>%s
<dl>%s%s%s%s%s</dl></li>]]):format(worst_of(report), escape(report.recipe:match "[^/]*$"),
    #params > 0 and ('<p class="params mono">%s</p>'):format(escape(concat(params, " "))) or "",
    report.summary and ('<p class="summary">%s</p>'):format(escape(report.summary)) or "", concat(figures),
      calls_bar(report),
    fact("User", identity.user), fact("Capabilities", effective), fact("Network", net["network namespace"]),
    fact("Memory", limits.memory), fact("Processes", limits.processes))
end

-- A report's name above its column.
local function short(report)
  local title = text.title(report):gsub("^%S*/", ""):gsub("%-%-mix %S*/", "--mix ")
  return escape(title)
end

-- A cell that knows its column's name, where there are too many for a narrow screen.
local function cell(reports, i, class, html)
  return ('<td role="cell"%s%s>%s</td>'):format(class and ' class="' .. class .. '"' or "",
    #reports > 2 and ' data-of="' .. short(reports[i]) .. '"' or "", html)
end

local function head_row(reports, first)
  local cells = {}
  for i, r in ipairs(reports) do cells[i] = ('<th scope="col" role="columnheader">%s</th>'):format(short(r)) end
  return ('<thead role="rowgroup"><tr role="row"><th scope="col" role="columnheader">%s</th>%s</tr></thead>'):format(first,
    concat(cells))
end

local function open_table(reports, first, class)
  class = (class or "facts") .. (#reports > 2 and " many" or "")
  return ('<div class="wide" tabindex="0" role="region" aria-label="%s"><table role="table" class="%s" '
    .. 'style="--columns:%d;--least:%dpx">%s<tbody role="rowgroup">'):format(first, class, #reports, 240 + 130 * #reports,
    head_row(reports, first))
end
local close_table = "</tbody></table></div>"

local function all_same(list, n)
  for i = 2, n do if list[i] ~= list[1] then return false end end
  return true
end

local differs_mark = ' <span class="mark">differs</span>'

local function evidence_of(report, name)
  for _, f in ipairs(report.findings) do if f.rule == name then return f.evidence end end
  return {}
end

local function rule_row(rule, reports)
  local cells, levels, long = {}, {}, {}
  for i, r in ipairs(reports) do
    local level, evidence = r.rules[rule.name], evidence_of(r, rule.name)
    levels[i] = level
    local told = concat(evidence, "; ")
    local label = level == "ok" and "holds" or level == "unknown" and "not looked at" or level
    cells[i] = cell(reports, i, nil, "<div>" .. badge(level, label)
      .. (told ~= "" and ('<span class="about clamp">%s</span>'):format(escape(told)) or "") .. "</div>")
    if #told > 90 then long[#long + 1] = ("<p><b>%s:</b> %s</p>"):format(escape(text.title(r)), escape(told)) end
  end
  local differs = not all_same(levels, #reports)
  local found = false
  for _, l in ipairs(levels) do found = found or l ~= "ok" end
  return ([[<tr role="row" class="rule%s%s" id="%s"><th scope="row" role="rowheader"><details><summary>%s
<span class="about mono">%s</span></summary><div><p>%s.</p><p><b>Fix:</b> <code>%s</code></p>%s</div></details></th>%s</tr>]])
    :format(differs and " differs" or "", found and " found" or "", rule.name, escape(rule.title), rule.name,
      escape((rule.why:gsub("^%l", string.upper))), escape(rule.fix), concat(long), concat(cells)), found
end

local function findings(reports, out)
  local shown, holding = {}, {}
  for _, level in ipairs { "danger", "warning", "note", "ok" } do
    for _, rule in ipairs(rules) do
      local worst = 0
      local unknown = false
      for _, r in ipairs(reports) do
        worst = math.max(worst, rules.levels[r.rules[rule.name]] or 0)
        unknown = unknown or r.rules[rule.name] == "unknown"
      end
      if worst == rules.levels[level] then
        local html = rule_row(rule, reports)
        table.insert((level ~= "ok" or unknown) and shown or holding, html)
      end
    end
  end
  out[#out + 1] = ('<section id="findings" data-stays><h2>Findings <small>%d of %d rules</small></h2>'):format(#shown,
    #rules)
  if #shown > 0 then
    out[#out + 1] = open_table(reports, "Rule") .. concat(shown, "\n") .. close_table
  else
    out[#out + 1] = "<p>None.</p>"
  end
  if #holding > 0 then
    out[#out + 1] = ('<details class="rest"><summary>%d rules hold%s</summary>%s%s%s</details>'):format(#holding,
      #reports > 1 and " everywhere" or "", open_table(reports, "Rule that holds"), concat(holding, "\n"), close_table)
  end
  out[#out + 1] = "</section>"
end

-- One row of facts: of each report its row of that name, or nothing.
local function fact_row(key, list, reports)
  local n = #reports
  local values, details, cells, found = {}, {}, {}, false
  for i = 1, n do
    local r = list[i]
    values[i] = r and r.value or "-"
    details[i] = r and r.detail or ""
    found = found or r and r.level ~= "ok" or false
  end
  local common = all_same(details, n) and details[1] or nil
  if not common then -- of those that have one, the same?
    local only
    for i = 1, n do
      if list[i] then only = only == nil and details[i] or only == details[i] and only or false end
    end
    common = only or nil
  end
  for i = 1, n do
    local r = list[i]
    if not r then
      cells[i] = cell(reports, i, "absent", "\226\128\147")
    else
      local about = not common and r.detail and r.detail ~= ""
        and ('<span class="about">%s</span>'):format(escape(r.detail)) or ""
      local names = r.names and #r.names > 0 and #r.names <= 40 and
        ('<span class="about mono">%s</span>'):format(escape(concat(r.names, " "))) or ""
      local word = r.level ~= "ok" and ('<span class="skip">%s: </span>'):format(r.level) or ""
      cells[i] = cell(reports, i, "l-" .. r.level, ("<div>%s<span%s>%s</span>%s%s</div>"):format(word,
        r.how == "policy" and ' class="policy"' or "", escape(values[i]), about, names))
    end
  end
  local differs = not all_same(values, n)
  return ('<tr role="row" class="%s%s"><th scope="row" role="rowheader">%s%s%s</th>%s</tr>'):format(
    differs and "differs" or "", found and " found" or "", escape(key), differs and differs_mark or "",
    common and common ~= "" and ('<span class="about">%s</span>'):format(escape(common)) or "", concat(cells))
end

-- The keys of a section in the order of the first report that has them.
local function section(key, title, reports, out)
  local order, by = {}, {}
  for i, r in ipairs(reports) do
    local _, rows = section_rows(r, key)
    for _, row in ipairs(rows) do
      if not by[row.key] then
        by[row.key] = {}
        order[#order + 1] = row.key
      end
      by[row.key][i] = row
    end
  end
  if #order == 0 then return end
  out[#out + 1] = ('<section id="s-%s"><h2>%s</h2>'):format(key, escape(title)) .. open_table(reports, escape(title))
  for _, k in ipairs(order) do out[#out + 1] = fact_row(k, by[k], reports) end
  out[#out + 1] = close_table
  if key == "syscalls" then
    local first = reports[1].calls
    local rows, differing = {}, 0
    for n, c in ipairs(first) do
      local cells, seen = {}, {}
      for i, r in ipairs(reports) do
        local own = r.calls[n]
        seen[i] = text.action(own)
        cells[i] = cell(reports, i, "a-" .. (group_of[own.action] or "deny"), ("<div><span%s>%s</span>%s</div>"):format(
          own.how == "policy" and ' class="policy"' or "", escape(seen[i]),
          own.action == "allow" and own.kernel == "EPERM" and '<span class="about">the kernel: EPERM</span>' or ""))
      end
      local differs = not all_same(seen, #reports)
      if differs then differing = differing + 1 end
      rows[#rows + 1] = ('<tr role="row" class="%s"><th scope="row" role="rowheader">%s%s</th>%s</tr>'):format(
        differs and "differs" or "", c.name, differs and differs_mark or "", concat(cells))
    end
    out[#out + 1] = ('<details class="rest all-calls"><summary>All %d system calls%s</summary>'):format(#first,
      differing > 0 and (", %d differ"):format(differing) or "") .. open_table(reports, "System call", "calls")
    out[#out + 1] = concat(rows, "\n")
    out[#out + 1] = close_table .. '<p class="legend">\226\137\136 evaluated from the filter\'s program; all others were '
      .. "really made, with arguments that the kernel refuses.</p></details>"
  end
  out[#out + 1] = "</section>"
end

local function tools(several)
  local function radio(value, label, checked)
    return ('<label><input type="radio" name="mode" value="%s"%s>%s</label>'):format(value, checked and " checked" or "",
      label)
  end
  return ([[<div class="tools" data-script role="search">
<input type="search" id="search" placeholder="Search   ( / )" aria-label="Search rows" autocomplete="off" spellcheck="false">
<fieldset><legend>Rows</legend>%s%s%s</fieldset><output id="count" aria-live="polite"></output></div>]])
    :format(radio("notable", "Notable", true), several and radio("differences", "Differences") or "", radio("all", "All"))
end

-- The page of a list of reports.
---@param reports caisson.probe.Report[]
---@return string html
function M.page(reports)
  local first, names = reports[1], {}
  for i, r in ipairs(reports) do names[i] = text.title(r) end
  local out = { ([[<!DOCTYPE html>
<html lang="en" class="no-script">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>%s: what can be done from inside</title>
<style>%s</style>
</head>
<body><div class="page">
<a class="skip" href="#findings">To the findings</a>
<header class="top"><h1>%s</h1><p class="about">%s, probed as %s%s</p>
<button id="theme" type="button" data-script>Dark</button></header>
<main>
<ul class="cards">]]):format(escape(concat(names, ", ")), require "caisson.probe.style",
    #reports > 1 and "What can be done from inside" or "What can be done from inside <em>" .. escape(names[1]) .. "</em>",
    escape(first.kernel), escape(first.user), first.time and ", " .. escape(first.time) or "") }
  for _, r in ipairs(reports) do out[#out + 1] = card(r) end
  out[#out + 1] = "</ul>" .. tools(#reports > 1)
  local links = { '<a href="#findings">Findings</a>' }
  for _, s in ipairs(first.sections) do links[#links + 1] = ('<a href="#s-%s">%s</a>'):format(s.key, escape(s.title)) end
  out[#out + 1] = '<nav class="jump" aria-label="Sections">' .. concat(links) .. "</nav>"
  findings(reports, out)
  for _, s in ipairs(first.sections) do section(s.key, s.title, reports, out) end
  out[#out + 1] = '<p class="empty" id="empty" hidden>No row matches.</p>'
  local untried = {}
  for _, r in ipairs(reports) do
    for _, u in ipairs(r.untried) do untried[#untried + 1] = ("<li>%s: %s</li>"):format(escape(text.title(r)),
      escape(u)) end
  end
  if #untried > 0 then
    out[#out + 1] = '<section data-stays><h2>Not tried</h2><ul>' .. concat(untried) .. "</ul></section>"
  end
  out[#out + 1] = ([[</main>
<footer>Made by <code>caisson probe</code>. Calls were made, files opened
  and connections tried from inside of each container; nothing was
written.</footer>
</div><script>%s</script></body></html>
]]):format(require "caisson.probe.script")
  return concat(out, "\n")
end

return M
