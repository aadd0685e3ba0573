-- What a recipe that extends another says anew: parameters, options beside build, files; and the mounts' shorter words.
local caisson = require "caisson"

local base = caisson.recipe {
  summary = "the base",
  params = { write = { "boolean", default = false, help = "h" }, size = { "size", default = "1M", help = "s" } },
  build = function(p)
    return { env = { WRITE = tostring(p.write), SIZE = ("%d"):format(p.size) }, args = { "/bin/true" } }
  end,
}

local function env_of(def, params)
  return assert(caisson.recipe(def):build { params = params }).options.env
end

-- The options of the plan's steps of a name.
local function steps(def, name)
  local built = assert(caisson.recipe(def):build { args = { "/bin/true" } })
  local list = {}
  for _, s in ipairs(built.plan.steps) do if s.step == name then list[#list + 1] = s.options end end
  return list
end

-- What is said of a definition that is refused, at once or when it is built.
local function refused(def)
  local ok, made = pcall(caisson.recipe, def)
  if not ok then return made end
  local built, message = made:build { args = { "/bin/true" } }
  assert.is_nil(built)
  return message
end

describe("a recipe that extends another", function()
  it("has its parameters with another default alone, typed as there", function()
    local def = { extends = base, params = { write = true, size = "2M" } }
    assert.same({ "true", "2097152" }, { env_of(def).WRITE, env_of(def).SIZE })
    assert.same({ "false", "1024" }, { env_of(def, { write = "no" }).WRITE, env_of(def, { size = "1K" }).SIZE })
    assert.same({ "boolean", default = true, help = "h" }, caisson.recipe(def):all_params().write)
    assert.same({ "size", default = "1M", help = "s" }, base:all_params().size)
  end)

  it("knows them in its own build, and hands on what that sets", function()
    local seen
    local def = { extends = base, params = { write = true }, build = function(p)
      seen = p.write
      p.size = 7
      return {}
    end }
    assert.equal("7", env_of(def).SIZE)
    assert.equal(true, seen)
  end)

  it("has no default for what the other does not know, and of the right type alone", function()
    assert.truthy(refused({ extends = base, params = { wrote = true } }):find("unknown parameter 'wrote'", 1, true))
    assert.truthy(refused({ extends = base, params = { size = true } }):find "a size such as")
    assert.truthy(refused({ params = { write = true } }):find "params are")
  end)

  it("adds what build returns to what stands beside it", function()
    local def = { extends = base, env = { A = "1", B = "1" }, hostname = "x", hooks = { poststop = print },
      build = function() return { env = { B = "2" }, hooks = { poststop = error } } end }
    local o = assert(caisson.recipe(def):build {}).options
    assert.same({ "1", "2", "false", "x" }, { o.env.A, o.env.B, o.env.WRITE, o.hostname })
    assert.equal(2, #o.hooks.poststop)
  end)

  it("makes a file that both have once, the later", function()
    local first = caisson.recipe { namespaces = { mount = true },
      mounts = { { file = "/a", data = "1" }, { file = "/b", data = "1" } } }
    local files = steps({ extends = first, mounts = { { file = "/a", data = "2" } } }, "file")
    assert.same({ "/b", "1", "/a", "2" }, { files[1].path, files[1].data, files[2].path, files[2].data })
  end)
end)

describe("mounts", function()
  local function mounts(...)
    local me = caisson.core.identity()
    return { namespaces = { mount = true, user = me.euid ~= 0 }, mounts = { ... } }
  end

  it("take sizes in words", function()
    assert.equal(65536, steps(mounts { tmpfs = "/t", size = "64K" }, "mount.tmpfs")[1].size)
    assert.truthy(refused(mounts { tmpfs = "/t", size = "much" }):find "size: a size such as")
  end)

  it("give a directory an owner", function()
    assert.same({ path = "/d", mode = "0700", uid = 5, gid = 6 },
      steps(mounts { dir = "/d", mode = "0700", uid = 5, gid = 6 }, "mkdir")[1])
  end)

  it("keep an overlay's changes in memory", function()
    local def = mounts { overlay = "/o", lower = { "/usr" }, scratch = "1M" }
    local o = steps(def, "mount.overlay")[1]
    assert.same({ "/proc/fs/o/upper", "/proc/fs/o/work", 1048576 }, { o.upper, o.work, steps(def, "mount.tmpfs")[1].size })
    local function overlay(more)
      local m = { overlay = "/o", lower = { "/usr", "/bin" } }
      for k, v in pairs(more) do m[k] = v end
      return refused(mounts(m))
    end
    assert.truthy(overlay({ scratch = "1M", upper = "/x" }):find "one of the two")
    assert.truthy(overlay({ idmap = "user" }):find "of an overlay with scratch")
    assert.truthy(overlay({ scratch = "1M", idmap = "user" }):find "one directory")
  end)
end)
