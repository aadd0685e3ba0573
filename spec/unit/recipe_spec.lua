local caisson = require "caisson"
local params = require "caisson.params"
local source = require "caisson.source"

-- As root a user namespace must be told whose ids it has.
local root = caisson.core.identity().euid == 0
local ids = root and { uid = { { 0, 100000, 65536 } }, gid = { { 0, 100000, 65536 } } } or nil

local function built(def, opts)
  return caisson.recipe(def):build(opts or { args = { "/bin/true" } })
end

local function names(b)
  local t = {}
  for i, s in b.plan:each() do t[i] = s.step end
  return table.concat(t, " ")
end

describe("recipe options", function()
  it("that are unknown raise, naming the nearest", function()
    assert.has_error(function() caisson.recipe { hostnam = "x" } end,
      "recipe: unknown option 'hostnam' (did you mean 'hostname'?)")
    assert.has_error(function() caisson.recipe { "x" } end,
      "recipe: an option's name is a string, got 1")
  end)

  it("of a nested table are checked where the plan is built, with file and line", function()
    local _, message = built {
      namespaces = { mount = true },
      mounts = {
        { bind = "/usr" },
        { bind = "/etc", writabel = true },
      },
    }
    assert.truthy(message:match("^unit/recipe_spec%.lua:%d+: mounts%[2%]: unknown option 'writabel' "
      .. "%(did you mean 'writable'%?%)$"), message)
  end)

  it("compile to phases in the order that the kernel needs", function()
    local b = assert(built {
      namespaces = { user = true, uts = true }, idmap = ids, hostname = "box", rlimits = { nofile = 64 },
    })
    -- whose own id is not in the map takes one that is
    assert.equal("clone idmap " .. (root and "groups gid uid " or "") .. "hostname session rlimit no_new_privs exec",
      names(b))
    assert.equal("system", b.plan.steps[b.plan:find("hostname")].phase)
  end)

  it("need what they stand on", function()
    local _, message = built { mounts = { { bind = "/usr" } } }
    assert.truthy(message:find("mounts need a new mount namespace (namespaces.mount = true)", 1, true))
    _, message = built { namespaces = { network = true } }
    assert.truthy(message:find("unknown namespace 'network'", 1, true))
    _, message = caisson.recipe({}):build {}
    assert.equal("args: no program given", message)
    for _, k in ipairs { "masked", "readonly", "devices" } do
      _, message = built { namespaces = { pid = true }, [k] = { "/proc/kcore" } }
      assert.truthy(message:find(k .. ": mounts need a new mount namespace", 1, true), message)
    end
    _, message = built { namespaces = { user = false }, limit_userns = true }
    assert.truthy(message:find("limit_userns: the limit is of a new user namespace", 1, true), message)
    _, message = built { loopback = true }
    assert.truthy(message:find("loopback: it is of a new network namespace", 1, true), message)
    _, message = built { namespaces = { user = true },
      idmap = { setgroups = "deny", uid = ids and ids.uid, gid = ids and ids.gid }, user = { uid = 0, groups = { 27 } } }
    assert.truthy(message:find("user: groups can't be set", 1, true), message)
  end)

  it("are never ignored: what has no step of its own is checked too", function()
    for text, def in pairs {
      ["limits: unknown option 'tiem' (did you mean 'time'?)"] = { limits = { tiem = 1 } },
      ["limits.time: a number from 0 on expected, got 2s"] = { limits = { time = "2s" } },
      ["masked: a list expected, got the name '/proc/kcore'"] = { masked = { ["/proc/kcore"] = true } },
      ["rlimits.nofile: unknown option 'hrad' (did you mean 'hard'?)"] = { rlimits = { nofile = { soft = 1, hrad = 2 } } },
      ["capabilities: unknown option 'efective' (did you mean 'effective'?)"] = { capabilities = { efective = {} } },
      ["no_new_privs: boolean expected, got string"] = { no_new_privs = "yes" },
      ["result: function expected, got number"] = { result = 5 },
    } do
      local _, message = built(def)
      assert.truthy(message and message:find(text, 1, true), tostring(message) .. " for " .. text)
    end
    local _, message = built { namespaces = { mount = true }, mounts = { { symlink = "x", at = "/y", writable = true } } }
    assert.truthy(message:find("mounts[1]: unknown option 'writable'", 1, true), message)
    assert.has_error(function() caisson.run(caisson.recipe {}, { limit = { time = 1 } }) end,
      "run: unknown option 'limit' (did you mean 'limits'?)")
    assert.has_error(function() caisson.run(caisson.recipe {}, { limits = { time = "1" } }) end,
      "run: limits.time: a number from 0 on expected, got 1")
  end)

  it("of a mount make its flags: read-only unless writable, and what exec, suid and dev say", function()
    local function flags(m)
      local b = assert(built { namespaces = { mount = true }, mounts = { m } })
      for _, s in b.plan:each() do
        if s.step:find("^mount%.[bt]") and s.step ~= "mount.propagation" then
          table.sort(s.options.flags)
          return table.concat(s.options.flags, " ")
        end
      end
    end
    assert.equal("rnodev rnosuid rro", flags { bind = "/usr" })
    assert.equal("rnodev rnosuid", flags { bind = "/usr", writable = true })
    assert.equal("rnoexec rro", flags { bind = "/usr", flags = { "noexec" } })
    assert.equal("rrw", flags { bind = "/usr", flags = { "rw" } })
    assert.equal("rnodev rnoexec rro", flags { bind = "/usr", exec = false, suid = true })
    assert.equal("nodev noexec nosuid ro", flags { tmpfs = "/x", exec = false, writable = false })
    assert.equal("nosuid", flags { tmpfs = "/x", dev = true })
  end)
end)

describe("namespaces", function()
  it("do not give the container's root the host's ids, unless it is said", function()
    if not root then return pending("as an ordinary user the default is that user alone; root's pass proves it") end
    local _, message = built { namespaces = { user = true } }
    assert.truthy(message:find("as root a user namespace needs an id map", 1, true), message)
    assert(built { namespaces = { user = true }, idmap = { uid = { { 0, 0, 1 } }, gid = { { 0, 0, 1 } } } })
  end)

  it("are each from one place", function()
    local _, message = built { namespaces = { uts = true }, script = function(plan)
      plan:before("clone", plan.namespace.join { "uts", path = "/proc/1/ns/uts" })
    end }
    assert.equal("step 1, namespace.join, and step 2, clone, both say where the uts namespace is from", message)
  end)
end)

describe("the root", function()
  it("takes only what its kind knows", function()
    local function why(o)
      local _, message = built { namespaces = { mount = true }, root = o }
      return message
    end
    assert.truthy(why({ bind = "/", size = 4096 }):find("unknown option 'size'", 1, true))
    assert.truthy(why({ size = 4096, idmap = {} }):find("unknown option 'idmap'", 1, true))
    assert.truthy(why({ overlay = { lower = { "/" }, uper = "/x" } }):find("did you mean 'upper'", 1, true))
    assert.truthy(built({ namespaces = { mount = true }, root = { overlay = { lower = { "/" } } } }).plan
      :find("root.overlay"))
  end)
end)

describe("extends", function()
  local base = caisson.recipe {
    params = { size = { "size", default = "1M" }, name = { "string", default = "base" } },
    build = function(p)
      return { namespaces = { user = true, uts = true }, idmap = ids, hostname = p.name, env = { SIZE = p.size, A = "1" },
        rlimits = { nofile = 10, core = 0 } }
    end,
  }

  it("replaces values, merges maps and passes parameters on", function()
    local r = caisson.recipe { extends = base, params = { own = { "integer", default = 3 } },
      build = function(p) return { rlimits = { nofile = p.own }, env = { B = "2" } } end }
    local b = assert(r:build { args = { "x" }, params = { size = "2K", own = "7" } })
    assert.same({ nofile = 7, core = 0 }, b.options.rlimits)
    assert.same({ SIZE = 2048, A = "1", B = "2" }, b.options.env)
    assert.equal("base", b.options.hostname)
    local _, message = r:build { args = { "x" }, params = { sise = "1" } }
    assert.truthy(message:find("unknown parameter 'sise'", 1, true), message)
  end)

  it("hands its own default for a parameter of the base's to the base", function()
    local r = caisson.recipe { extends = base, params = { size = { "size", default = "3K" } } }
    assert.equal(3072, assert(r:build { args = { "x" } }).options.env.SIZE)
    assert.equal(5, assert(r:build { args = { "x" }, params = { size = "5" } }).options.env.SIZE)
  end)

  it("runs both scripts, the base's first, and checks the order after them", function()
    local seen = {}
    local b1 = caisson.recipe { namespaces = { user = true }, idmap = ids, script = function() seen[#seen + 1] = "base" end }
    local r = caisson.recipe { extends = b1, script = function(plan)
      seen[#seen + 1] = "own"
      plan:after("clone", plan.hostname "x")
    end }
    local b = assert(r:build { args = { "x" } })
    assert.same({ "base", "own" }, seen)
    assert.truthy(b.plan:find("hostname"))
  end)

  it("refuses itself and what is no recipe", function()
    local _, message = caisson.recipe({ extends = "no-such-recipe" }):build { args = { "x" } }
    assert.truthy(message:find("no recipe is called 'no-such-recipe'", 1, true))
  end)
end)

describe("parameters", function()
  it("are converted by their type", function()
    assert.same({ a = 65536, b = 0.5, c = true, d = { "x", "y" }, e = 12 },
      params.fill({ a = { "size" }, b = { "time" }, c = { "boolean" }, d = { "list" }, e = { "integer" } },
        { a = "64K", b = "500ms", c = "yes", d = "x,y", e = "12" }))
  end)

  it("are refused with what was expected", function()
    local function why(kind, v)
      local _, message = params.fill({ p = { kind } }, { p = v })
      return message
    end
    assert.equal("parameter 'p': a size such as 64M expected, got '64X'", why("size", "64X"))
    assert.equal("parameter 'p': a whole number expected, got '1.5'", why("integer", "1.5"))
    assert.equal("parameter 'p': one of a, b expected, got 'c'", why({ "a", "b" }, "c"))
    assert.equal("unknown parameter 'q' (did you mean 'p'?)", (select(2, params.fill({ p = { "size" } }, { q = 1 }))))
  end)
end)

describe("source.locate", function()
  it("finds the line of an option", function()
    local file = os.tmpname()
    local f = assert(io.open(file, "w"))
    f:write('local x = { mounts = 1 }\nreturn caisson.recipe {\n  mounts = { -- { }\n    { bind = "/a" },\n',
      '    { bind = "/b", at = "}" },\n    f(a, { 1, 2 }),\n    { bind = "/c" },\n  },\n  hostname = "x",\n}\n')
    f:close()
    local function line(...) return source.locate(file, { ... }, 1):match(":(%d+)$") end
    assert.equal("4", line("mounts", 1))
    assert.equal("5", line("mounts", 2))
    assert.equal("7", line("mounts", 4))
    assert.equal("9", line("hostname"))
    assert.equal("1", line("nothing"))
    os.remove(file)
  end)
end)
