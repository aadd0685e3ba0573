-- Bad input everywhere: a wrong type, a number out of range, an embedded NUL, a huge string, deep and cyclic tables. The
-- answer is an error that names the option, not one of Lua's own, and nothing is done.
local core = require "caisson.core"
local caisson = require "caisson"
local build = require "caisson.build"
local params = require "caisson.params"

-- Descriptors and children of this process: there are to be none more in the end.
local function left()
  collectgarbage()
  collectgarbage()
  local fds = 0
  for fd = 0, 255 do fds = fds + (core.lstat("/proc/self/fd/" .. fd) and 1 or 0) end
  local f = assert(io.open("/proc/thread-self/children"))
  local children = f:read "*a"
  f:close()
  return { fds, children }
end

local function deep(n)
  local t = { "x" }
  for _ = 1, n do t = { t } end
  return t
end

local cyclic = {}
cyclic[1] = cyclic
local named_cycle = {}
named_cycle.me = named_cycle

local nothing = function() end
local huge = ("x"):rep(70 * 2 ^ 20)
local inf, nan = 1 / 0, 0 / 0

-- Values that no field of a kind takes.
local never = { nothing, io.stdout, coroutine.create(nothing), deep(300), cyclic, named_cycle }

local bad = {
  string = { 5, true, {}, "a\0b", huge },
  path = { 5, true, {}, "a\0b", "", "/" .. ("x"):rep(4096), huge },
  bytes = { 5, true, {}, huge },
  strings = { 5, true, { 5 }, { "a\0b" }, { a = "x" }, { "x", nil, "y" }, { huge }, { {} } },
  boolean = { 0, 1, "true", {}, "" },
  integer = { "5", 1.5, 2 ^ 60, -2 ^ 60, inf, -inf, nan, true, {} },
  u32 = { "5", -1, 1.5, 2 ^ 32, inf, nan, true, {} },
  u64 = { -1, 1.5, 2 ^ 60, "x", "-1", "0x10", "18446744073709551616", "1\0", inf, nan, true, {}, huge },
  mode = { "8", "0x1", "", "-1", "1\0", 4096, -1, 1.5, nan, true, {}, huge },
  word = { "no such word", "", "a\0b", true, {}, -1, 1.5, 2 ^ 60, nan, huge },
  flags = { { "no such word" }, { "" }, { true }, { {} }, { a = "x" }, true, { -1 }, { nan }, { huge } },
  slot = { 5, true, {}, "", ("x"):rep(65), huge },
  slots = { 5, true, { 5 }, { "" }, { ("x"):rep(65) }, { {} }, { a = "x" } },
  idmaps = { 5, true, "x", { 5 }, { {} }, { { 0, 0 } }, { { 0, 0, -1 } }, { { 0, 0, 2 ^ 32 } }, { { "0", 0, 1 } },
    { { 0, 1.5, 1 } }, { { 0, nan, 1 } }, { a = { 0, 0, 1 } } },
  u64s = { 5, true, { -1 }, { "x" }, { {} }, { nan }, { a = 1 } },
}

local function good(field)
  local examples = { string = "x", path = "/x", bytes = "x", strings = { "x" }, boolean = true, integer = 1, u32 = 1, u64 = 1, mode = "0755",
    slot = "s", slots = { "stdin" }, idmaps = { { 0, 0, 1 } }, u64s = { 1 } }
  if field.kind == "word" then return field.words[1] end
  if field.kind == "flags" then return { field.words[1] } end
  return examples[field.kind]
end

-- An error of Lua's own would mean that nobody has looked at the value.
local function own_error(message)
  return message:find("attempt to", 1, true) or message:find("stack overflow", 1, true) or message:find("bad argument", 1, true)
    or message:find("not enough memory", 1, true)
end

local function show(v)
  if v == huge then return "(huge)" end
  return type(v) == "string" and ("%q"):format(v):sub(1, 40) or tostring(v)
end

describe("bad input", function()
local before
setup(function() assert(core.runner()):close() end) -- it is kept, once made
before_each(function() before = left() end)
after_each(function()
  core.ahead(false) -- which does with nothing, too, what it is for
  assert.same(before, left())
end)

describe("every field of every primitive", function()
  local names = {}
  for name in pairs(core.primitives) do names[#names + 1] = name end
  table.sort(names)

  for _, name in ipairs(names) do
    it("of " .. name .. " is looked at", function()
      local fields = core.primitives[name].fields
      local options = {}
      for _, f in ipairs(fields) do
        if f.required then options[f.name] = good(f) end
      end
      local ok, message = pcall(core.check, name, options)
      assert(ok, message)
      for _, f in ipairs(fields) do
        local values = {}
        for _, v in ipairs(never) do values[#values + 1] = v end
        for _, v in ipairs(assert(bad[f.kind], f.kind)) do values[#values + 1] = v end
        for _, v in ipairs(values) do
          local given = {}
          for k, o in pairs(options) do given[k] = o end
          given[f.name] = v
          ok, message = pcall(core.check, name, given)
          assert.is_false(ok, ("%s took %s = %s"):format(name, f.name, show(v)))
          assert.truthy(message:find("option '" .. f.name .. "'", 1, true),
            ("%s, %s = %s: %s"):format(name, f.name, show(v), message))
          assert.falsy(own_error(message), message)
        end
      end
      -- and no other name
      options.no_such_option = 1
      ok, message = pcall(core.check, name, options)
      assert.is_false(ok)
      assert.matches(#fields > 0 and "no_such_option" or "no_such_option", message)
      for _, v in ipairs { nothing, io.stdout } do
        ok, message = pcall(core.check, name, v)
        assert.is_false(ok)
        assert.falsy(own_error(message), message)
      end
    end)
  end
end)

-- ---- recipes ----

-- What an option does take of the values below, or what only a run would refuse.
local takes = {
  affinity = { string = true }, apparmor = { string = true }, args = { string = true }, cwd = { string = true },
  domainname = { string = true }, hostname = { string = true }, keyring = { boolean = true, string = true },
  root = { string = true }, selinux = { string = true }, mount_label = { string = true }, core_scheduling = { boolean = true },
  env = { table = true }, sysctl = { table = true }, -- of any names, which the kernel knows
  nice = { number = true }, oom_score_adj = { number = true }, time_offsets = { number = true, table = true }, result = { ["function"] = true },
  ptrace = { ["function"] = true, boolean = true },
}
for _, name in ipairs { "readonly_root", "no_new_privs", "session", "init", "die_with_parent", "limit_userns", "loopback", "no_pivot",
  "console", "tty" } do
  takes[name] = { boolean = true }
end
for _, name in ipairs { "stdin", "stdout", "stderr" } do -- what these are shows when a run has them
  takes[name] = { boolean = true, ["function"] = true, userdata = true, number = true, string = true, table = true }
end

local values = { nothing, io.stdout, true, -1, 1.5, inf, nan, 2 ^ 60, "a\0b", "no such thing", huge, deep(300), cyclic, named_cycle,
  { no_such_key = 1 }, { [0] = "x" }, { nothing }, { { { {} } } }, { true }, { -1 }, { "a\0b" } }

local all = { mount = true, pid = true, net = true, ipc = true, uts = true, cgroup = true, time = true, user = true }

describe("every option of recipes", function()
  local names = {}
  for name in pairs(build.options) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    it(name .. " is looked at", function()
      for _, v in ipairs(values) do
        local def = { namespaces = all, args = { "/bin/true" },
          idmap = { uid = { { 0, 100000, 65536 } }, gid = { { 0, 100000, 65536 } } } }
        def[name] = v
        local ok, message
        local made, recipe = pcall(caisson.recipe, def)
        if made then
          local called, built, why = pcall(recipe.build, recipe, {})
          assert(called, ("%s = %s raises: %s"):format(name, show(v), tostring(built)))
          ok, message = built ~= nil, why
        else
          ok, message = false, recipe
        end
        if not ok then
          assert.equal("string", type(message))
          assert.truthy(message:find(name, 1, true), ("%s = %s: %s"):format(name, show(v), message:sub(1, 300)))
          assert.falsy(own_error(message), ("%s = %s: %s"):format(name, show(v), message:sub(1, 300)))
          assert.truthy(#message < 4000, name .. ": a message of " .. #message .. " bytes")
        else
          assert.truthy(takes[name] and takes[name][type(v)],
            ("%s took %s"):format(name, show(v)))
        end
      end
    end)
  end

  it("has a name", function()
    for _, key in ipairs { 5, true, nothing, {} } do
      local ok, message = pcall(caisson.recipe, { [key] = 1 })
      assert.is_false(ok)
      assert.falsy(own_error(message), message)
    end
    for _, def in ipairs { "x", 5, true, nothing } do
      local ok, message = pcall(caisson.recipe, def)
      assert.is_false(ok)
      assert.matches("recipe: a table expected", message)
    end
  end)
end)

-- ---- runs ----

describe("every option of caisson.run", function()
  local names = { "params", "args", "env", "stdin", "stdout", "stderr", "files", "slots", "limits", "id", "window", "cancel", "fail",
    "status", "log" }
  local fine = { cancel = {}, args = { string = true, number = true }, status = { ["function"] = true }, stdout = { ["function"] = true },
    stderr = { ["function"] = true } }
  local bad_values = { io.stdout, nothing, true, -1, 1.5, inf, nan, "a\0b", huge, deep(300), cyclic, named_cycle, { no_such_key = 1 },
    { { { {} } } }, { nothing }, { "a\0b" } }

  for _, name in ipairs(names) do
    it(name .. " is looked at", function()
      for _, v in ipairs(bad_values) do
        local of_names = (name == "env" or name == "params") and type(v) == "table"
        if not (fine[name] and fine[name][type(v)] or of_names and v.no_such_key) then
          local opts = { args = { "/bin/true" }, stdout = "null" }
          opts[name] = v
          local ok, r, message = pcall(caisson.run, caisson.recipe {}, opts)
          message = not ok and r or message
          assert.truthy(not ok or not r, ("run took %s = %s"):format(name, show(v)))
          message = tostring(message)
          assert.truthy(message:find(name, 1, true) or name == "params" and message:find "unknown parameter",
            ("%s = %s: %s"):format(name, show(v), message:sub(1, 300)))
          assert.falsy(own_error(message), ("%s = %s: %s"):format(name, show(v), message:sub(1, 300)))
        end
      end
    end)
  end

  it("has no other", function()
    local ok, message = pcall(caisson.run, caisson.recipe {}, { args = { "/bin/true" }, no_such = 1 })
    assert.is_false(ok)
    assert.matches("run: unknown option 'no_such'", message)
  end)
end)

-- ---- parameters, as the command line gives them ----

describe("every type of parameter", function()
  local texts = { "a\0b", huge, "no such thing", "", "-1", "1e999", "0x", "nan", "\255\254", "9" .. ("9"):rep(400), "10 T", "1.5.2" }
  local any_text = { string = true, path = true, list = true, table = true }
  for kind in pairs(params.types) do
    it(kind .. " is looked at", function()
      for _, v in ipairs(texts) do
        local recipe = caisson.recipe { params = { thing = { kind } }, build = function() return { args = { "/bin/true" } } end }
        local called, built, message = pcall(recipe.build, recipe, { params = { thing = v } })
        assert(called, tostring(built))
        if built == nil then
          assert.truthy(message:find("thing", 1, true), message:sub(1, 300))
          assert.falsy(own_error(message), message:sub(1, 300))
          assert.truthy(#message < 4000)
        else
          assert.truthy(any_text[kind] or v == "-1" or v == "" or v == "10 T" or v == "1e999", kind .. " took " .. show(v))
        end
      end
      for _, v in ipairs(never) do
        local recipe = caisson.recipe { params = { thing = { kind } }, build = function() return { args = { "/bin/true" } } end }
        local called, built, message = pcall(recipe.build, recipe, { params = { thing = v } })
        assert(called, tostring(built))
        if built == nil then
          assert.truthy(message:find("thing", 1, true), message:sub(1, 300))
          assert.falsy(own_error(message), message:sub(1, 300))
        else
          assert.truthy(type(v) == "table" or any_text[kind], kind .. " took " .. show(v))
        end
      end
    end)
  end
end)

-- ---- the functions of the core ----

describe("every function of the core that is no step", function()
  -- to which some of these are good: a helper's function, no signals at all
  local skip = { ["core.check"] = true, ["core.helper"] = true, ["core.signal.open"] = true }
  local function walk(t, prefix, fn)
    for k, v in pairs(t) do
      local name = prefix .. "." .. tostring(k)
      if type(v) == "function" and not core.primitives[name:sub(6)] and not skip[name] then
        fn(name, v)
      elseif type(v) == "table" and type(k) == "string" and k ~= "primitives" and k ~= "errno" and not getmetatable(v) then
        walk(v, name, fn)
      end
    end
  end

  it("survives arguments of any kind", function()
    local kinds = { true, nothing, io.stdout, "a\0b", {}, cyclic, deep(300), inf, nan }
    walk(core, "core", function(name, fn)
      for _, a in ipairs(kinds) do
        for _, b in ipairs { kinds[1], kinds[4], kinds[5] } do
          local ok, message, more = pcall(fn, a, b)
          if not ok then
            assert.equal("string", type(message), name)
            assert.falsy(message:find("attempt to", 1, true), name .. ": " .. message)
          elseif message == nil and more ~= nil then
            assert.equal("string", type(more), name)
          end
        end
      end
    end)
  end)
end)
end)
