-- caisson policy: what a policy allows, what it answers for a call, how two differ, its program.
local cli = require "caisson.cli"
local color = require "caisson.cli.color"
local json = require "caisson.json"
local load = require "caisson.policy.load"
local plan = require "caisson.cli.plan"
local policy = require "caisson.policy"
local show = require "caisson.policy.show"

local M = {}

local unpack = table.unpack or unpack -- luacheck: ignore (5.1 has it as a global)

local function exists(path)
  local f = io.open(path, "r")
  if f then f:close() end
  return f ~= nil
end

-- What a word names: "a.lua", or a recipe with parameters of its own: "a.lua x=1".
local function view(word, o)
  local words = { word }
  if not exists(word) then
    words = {}
    for w in word:gmatch("%S+") do words[#words + 1] = w end
  end
  if not words[1] then cli.fail("a recipe, a bundle, a profile or Lua that returns a policy is expected") end
  local found, message = load.load(words[1])
  if not found then cli.fail(message) end
  if words[2] and found.kind ~= "recipe" then cli.fail(words[1] .. ": a recipe has parameters, this is a " .. found.kind) end
  local v
  v, message = load.view(found, { params = plan.parameters(words, 2), mix = found.kind == "recipe" and plan.mixes(o) or nil,
    default_args = { plan.program } })
  if not v then cli.fail(message) end
  if found.kind ~= "recipe" and o.mix and o.mix[1] then -- over a policy it is one more
    for _, m in ipairs(plan.mixes(o)) do v.mix = cli.try(function() return v.mix * m end) end
    v.filters = require("caisson.policy.mix").list(v.mix.seccomp)
  end
  v.name = word
  return v
end

-- The filter that --filter names, or the only one.
local function filter(v, o, what)
  local n = o.filter and tonumber(o.filter:match("^%d+$"))
  if o.filter and not v.filters[n] then
    cli.fail(("--filter %s: %s has %d"):format(o.filter, v.name, #v.filters))
  end
  if n then return v.filters[n] end
  if #v.filters == 0 then cli.fail(v.name .. ": it has no seccomp filter") end
  if #v.filters > 1 then cli.fail(("%s: %s, and there are %d: --filter 1 to %d"):format(v.name, what, #v.filters, #v.filters)) end
  return v.filters[1]
end

local verbs = {}

function verbs.show(o)
  if o.words[2] then cli.fail("show: one recipe, bundle, profile or policy at a time: " .. o.words[2]) end
  local v = view(o.words[1], o)
  if o.oci then
    local p = filter(v, o, "a profile is of one filter")
    if type(p) == "string" then cli.fail(v.name .. ": a finished program, of which no rules can be read") end
    local text, message = p:json()
    if not text then cli.fail(message) end
    io.write(text)
  elseif o.json then
    local t = { seccomp = {} }
    for _, k in ipairs(show.parts) do if k ~= "seccomp" then t[k] = rawget(v.mix, k) end end
    for i, p in ipairs(v.filters) do t.seccomp[i] = type(p) == "string" and { program = #p / 8 } or show.table(p) end
    io.write(json.document(t), "\n")
  elseif v.kind == "recipe" or v.kind == "mix" then
    io.write(v.mix:text(color.of(io.stdout)))
  else
    for _, p in ipairs(v.filters) do io.write(p:text(color.of(io.stdout))) end
  end
  return 0
end

function verbs.decide(o)
  local call = o.words[2]
  if not call then cli.fail("decide: a system call is expected: caisson policy decide " .. o.words[1] .. " openat") end
  local v = view(o.words[1], o)
  local asked = v.filters
  if o.filter then asked = { filter(v, o) } end
  if #asked == 0 then cli.fail(v.name .. ": it has no seccomp filter: every call happens") end
  local ok, d = pcall(policy.decide, asked, call, { unpack(o.words, 3) }, { arch = o.arch, ip = o.ip })
  if not ok then cli.fail((tostring(d):gsub("^.-policy%.decide: ", ""))) end
  if o.json then
    if #asked == 1 then d.filter = nil end
    io.write(json.document(d), "\n")
    return d.permits and 0 or 1
  end
  local c = color.of(io.stdout)
  local head, action, rule = d.text:match("^(.-%)): ([^,]+), (.*)$")
  io.write(c.bold(head), ": ", show.paint(c, action)(action), "\n")
  io.write("  ", rule, #asked > 1 and (" [filter %d of %d]"):format(d.filter, #asked) or "", "\n")
  for _, near in ipairs(d.rule.near or {}) do
    local words = {}
    for w in near:gmatch("%S+") do words[#words + 1] = w end
    io.write(table.concat(show.fill("  there is: ", words, c), "\n"), "\n")
  end
  return d.permits and 0 or 1
end

function verbs.diff(o)
  if #o.words ~= 2 then cli.fail("diff: two recipes, bundles, profiles or policies are expected") end
  local mix = o.mix
  local a = view(o.words[1], { filter = o.filter })
  local b = view(o.words[2], { filter = o.filter, mix = mix })
  local function is_whole(v) return v.kind == "recipe" or v.kind == "mix" end
  local d
  if o.filter or not (is_whole(a) and is_whole(b)) then
    local p, q = filter(a, o, "one filter is compared with another"), filter(b, o, "one filter is compared with another")
    for _, x in ipairs { p, q } do
      if type(x) == "string" then
        cli.fail("diff: a finished program, of which no rules can be read (see: caisson plan --diff)")
      end
    end
    d = p:diff(q)
  else
    d = a.mix:diff(b.mix)
  end
  if o.json then io.write(d:json()) else io.write(d:text(color.of(io.stdout))) end
  return o.exit_code and not d.same and 1 or 0
end

function verbs.bpf(o)
  if o.words[2] then cli.fail("bpf: one recipe, bundle, profile or policy at a time: " .. o.words[2]) end
  local p = filter(view(o.words[1], o), o, "a program is of one filter")
  local b, message = policy.bpf(p)
  if not b then cli.fail(message) end
  local out, c = io.stdout, color.of(not o.output and io.stdout or false)
  if o.bytes and not o.output and c.columns then
    cli.fail("bpf: bytes are not for a terminal: --output FILE, or a pipe")
  end
  if o.output then
    out, message = io.open(o.output, "wb")
    if not out then cli.fail(message) end
  end
  local ok
  ok, message = out:write(o.bytes and b.bytes or o.json and b:json() or b:text(c))
  if ok and o.output then ok, message = out:close() end
  if not ok then cli.fail((o.output or "standard output") .. ": " .. tostring(message)) end
  return 0
end

local own = { decide = { "arch", "ip" }, bpf = { "bytes", "output" }, show = { "oci" }, diff = { "exit_code" } }

function M.main(o)
  for verb, names in pairs(own) do
    for _, name in ipairs(names) do
      if o[name] and verb ~= o.verb then cli.fail(("--%s is for `caisson policy %s`"):format(name:gsub("_", "-"), verb)) end
    end
  end
  return verbs[o.verb](o)
end

return M
