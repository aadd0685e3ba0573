-- The annotation caisson.recipe: Lua over an engine's container, from places that the administrator allows.
local t = require "support"
local oci = require "support.bundle"
local caisson = require "caisson"
local annotation = require "caisson.oci.annotation"
local of = require("caisson.oci.recipe").of

describe("the annotation caisson.recipe", function()
  if not t.needs("busybox") or not t.is_root and not t.needs("userns") then return end

  local bundle, admin
  local was = annotation.configuration

  before_each(function()
    bundle = oci.bundle()
    admin = bundle.dir .. "/admin"
    os.execute(("mkdir -p %s/recipes %s/rootfs/run && cp recipes/oci/*.lua %s/recipes"):format(admin, bundle.dir, admin))
    annotation.configuration = admin .. "/oci.json"
  end)
  after_each(function()
    annotation.configuration = was
    bundle:close()
  end)

  local function write(path, text)
    local f = assert(io.open(path, "w"))
    f:write(text)
    f:close()
  end

  local function allow(text) write(admin .. "/oci.json", text or ('{ "recipes": ["%s/recipes"] }'):format(admin)) end

  local function with(path, script)
    local c = oci.config(script and { "/bin/sh", "-c", script } or { "/bin/true" })
    c.annotations = { ["caisson.recipe"] = path }
    return of(c, { bundle = bundle.dir, id = "noted" })
  end

  local function refused(path, pattern)
    local r, message, errno = with(path)
    assert.is_nil(r)
    assert.equal(t.core.errno.EPERM, errno)
    assert.truthy(message:find('annotations["caisson.recipe"]: ', 1, true) and message:find(pattern), message)
  end

  it("is refused without the administrator's word", function()
    refused(admin .. "/recipes/secret.lua", "no directory of recipes is allowed")
    if not t.is_root then
      allow()
      refused(admin .. "/recipes/secret.lua", "not to root")
    end
  end)

  it("takes recipes of the directories that are named, and of no others", function()
    if not t.needs("root") then return end
    allow()
    assert.truthy(with(admin .. "/recipes/secret.lua"))
    os.execute(("mkdir %s/else && cp %s/recipes/secret.lua %s/else && ln -s ../else/secret.lua %s/recipes/link.lua"):format(admin,
      admin, admin, admin))
    refused(admin .. "/else/secret.lua", "in none of the directories")
    refused(admin .. "/recipes/../else/secret.lua", "in none of the directories")
    refused(admin .. "/recipes/link.lua", "in none of the directories")
    refused(admin .. "/recipes/none.lua", "none.lua")
    refused("recipes/secret.lua", "absolute path")
    refused(admin .. "/oci.json", "of a .lua file")
    allow('{ "recipes": "all" }')
    refused(admin .. "/recipes/secret.lua", "a list of directories")
    allow('{ "recipe": [] }')
    refused(admin .. "/recipes/secret.lua", "unknown key 'recipe'")
    allow('{')
    refused(admin .. "/recipes/secret.lua", "oci.json")
  end)

  it("takes nothing that another than root could have written", function()
    if not t.needs("root") then return end
    allow()
    local function spoiled(command, undo, pattern)
      os.execute(("cd %s && %s"):format(admin, command))
      refused(admin .. "/recipes/secret.lua", pattern)
      os.execute(("cd %s && %s"):format(admin, undo))
      assert.truthy(with(admin .. "/recipes/secret.lua"))
    end
    spoiled("chown 1000 recipes/secret.lua", "chown 0 recipes/secret.lua", "secret.lua belongs to uid 1000")
    spoiled("chmod 666 recipes/secret.lua", "chmod 644 recipes/secret.lua", "may be written to by others")
    spoiled("chmod 775 recipes", "chmod 755 recipes", "recipes may be written to by others")
    spoiled("chown 1000 recipes", "chown 0 recipes", "belongs to uid 1000")
    spoiled("chown 1000 .", "chown 0 .", "belongs to uid 1000")
    spoiled("chmod 602 oci.json", "chmod 644 oci.json", "oci.json may be written to")
  end)

  it("goes over the container: a secret from a function", function()
    if not t.needs("root") then return end
    allow()
    local r = assert(with(admin .. "/recipes/secret.lua", "cat /run/secrets/token; stat -c %a /run/secrets/token"))
    local one = assert(caisson.run(r, { stdout = "capture" })).stdout
    local two = assert(caisson.run(r, { stdout = "capture" })).stdout
    assert.truthy(one:find("^%x+\n444\n$") and #one == 37, one)
    assert.not_equal(one, two)
    assert.is_nil(r:build({}).plan:json():find(one:match("%x+"), 1, true))
  end)

  it("goes over the container: a Landlock layer", function()
    if not t.needs("root") then return end
    if not t.core.landlock.abi() then return end
    allow()
    local script = "echo x > /tmp/f && echo tmp; echo x > /etc/f && echo etc"
    local function run(path)
      local c = oci.config { "/bin/sh", "-c", script }
      c.root.readonly, c.annotations = false, { ["caisson.recipe"] = path }
      return assert(caisson.run(assert(of(c, { bundle = bundle.dir })), { stdout = "capture", stderr = "null" })).stdout
    end
    assert.equal("tmp\netc\n", run(nil))
    assert.equal("tmp\n", run(admin .. "/recipes/landlock.lua"))
  end)

  it("goes over the container: hooks that are functions, found again by who starts and deletes it", function()
    if not t.needs("root") then return end
    allow()
    write(admin .. "/recipes/hooks.lua", ([[
      local function note(point) return function(state)
        local f = io.open(%q, "a")
        f:write(point, " ", state.id, " ", state.bundle, "\n")
        f:close()
      end end
      return require("caisson").recipe { hooks = { createRuntime = note "createRuntime", poststart = note "poststart",
        poststop = note "poststop" } }]]):format(bundle.dir .. "/notes"))
    local c = oci.config { "/bin/sleep", "30" }
    c.annotations = { ["caisson.recipe"] = admin .. "/recipes/hooks.lua" }
    c.hooks = { poststart = { { path = "/bin/true" } } }
    write(bundle.dir .. "/config.json", require("caisson.json").document(c))
    local states = bundle.dir .. "/states"
    local made = assert(caisson.create(assert(of(c, { bundle = bundle.dir, id = "noted" })), { id = "noted", root = states,
      stdin = "null", stdout = "null", stderr = "null" }))
    assert.equal("noted", made:state().id)
    local again = assert(caisson.open("noted", { root = states })) -- as another process finds it
    assert(again:start())
    again = assert(caisson.open("noted", { root = states }))
    again:delete { force = true }
    local want = ("createRuntime noted %s\npoststart noted %s\npoststop noted %s\n"):format(bundle.dir, bundle.dir, bundle.dir)
    assert.equal(want, t.read_file(bundle.dir .. "/notes"))
  end)

  it("goes over the container: the timeline of its start", function()
    if not t.needs("root") then return end
    allow()
    local log = bundle.dir .. "/starts.log"
    os.execute(("sed -i 's|/run/caisson-starts.log|%s|' %s/recipes/timeline.lua"):format(log, admin))
    local r = assert(with(admin .. "/recipes/timeline.lua"))
    assert(caisson.run(r, { id = "timed" }))
    local text = t.read_file(log)
    assert.truthy(text:find("made in [%d.]+ ms: rootfs [%d.]+, pivot [%d.]+, system [%d.]+\n"), text)
    assert.truthy(text:find("timed runs as process %d+, of " .. bundle.dir:gsub("%p", "%%%0")) and text:find("timed is gone"), text)
  end)

  it("can't extend another recipe", function()
    if not t.needs("root") then return end
    allow()
    write(admin .. "/recipes/ext.lua", 'return require("caisson").recipe { extends = "sandbox" }')
    refused(admin .. "/recipes/ext.lua", "can't extend")
    write(admin .. "/recipes/ext.lua", 'return require("caisson").recipe { build = function() return { extends = "sandbox" } end }')
    local r = assert(with(admin .. "/recipes/ext.lua"))
    local built, message = r:build {}
    assert.is_nil(built)
    assert.truthy(message:find("can't extend", 1, true), message)
  end)
end)
