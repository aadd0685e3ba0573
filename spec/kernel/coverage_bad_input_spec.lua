-- Bad input to what works on containers: joining processes, containers and their methods, pools, mounts added. The
-- answer is an error that names the option, not one of Lua's own, and nothing is done or left.
local t = require "support"
local j = require "support.joined"
local caisson = require "caisson"
local process = require "caisson.process"
local core = t.core

if not t.needs("userns") then return end

local cyclic = {}
cyclic[1] = cyclic
local nothing = function() end
local huge = ("x"):rep(70 * 2 ^ 20)
local values = { nothing, io.stdout, coroutine.create(nothing), true, -1, 1.5, 2 ^ 60, 1 / 0, 0 / 0, "a\0b", "", "no such thing", huge, cyclic,
  { no_such_key = 1 }, { [0] = "x" }, { nothing }, { { { {} } } }, { true }, { -1 }, { "a\0b" }, { {} } }

local function show(v)
  if v == huge then return "(huge)" end
  return type(v) == "string" and ("%q"):format(v):sub(1, 40) or tostring(v)
end

local function own_error(message)
  return message:find("attempt to", 1, true) or message:find("stack overflow", 1, true) or message:find("bad argument", 1, true)
    or message:find("not enough memory", 1, true)
end

-- f(value) either works (its object is closed), where may says so, or is an error that has the name in it, or one
-- of these words.
local function refuses(name, f, may, word)
  local wrong = {}
  for _, v in ipairs(values) do
    local ok, result, message = pcall(f, v)
    local what
    if ok and result then
      if type(result) == "table" and result.close then result:close() end
      what = not (may and (may == true or may[type(v)])) and "was taken"
    else
      message = not ok and result or message
      if type(message) ~= "string" then
        what = "no message"
      elseif own_error(message) or #message > 5000 then
        what = #message .. " bytes: " .. message:sub(1, 200)
      else
        local found = message:find(name, 1, true)
        for w in (word or ""):gmatch("%S+") do found = found or message:find(w, 1, true) end
        what = not found and word ~= "" and message
      end
    end
    if what then wrong[#wrong + 1] = ("%s = %s: %s"):format(name, show(v), what) end
  end
  assert.equal("", table.concat(wrong, "\n"))
end

local root
local children, fds
setup(function()
  root = t.sh("mktemp -d"):match("%S+")
  assert(core.runner()):close()
end)
teardown(function() os.execute("rm -rf " .. root) end)
local function same()
  collectgarbage()
  collectgarbage()
  return { t.count_children(), t.count_fds() }
end

describe("bad input to", function()
  before_each(function() children, fds = t.count_children(), same()[2] end)
  after_each(function() assert.same({ children, fds }, same()) end)

  it("a joining process: every field", function()
    local running, target = j.container({}, false)
    local taken = {
      args = { string = true }, boolean = { boolean = true }, table = { table = true },
      stdin = true, stdout = true, stderr = true, -- descriptors, functions, words: looked at by caisson.run's own spec
      files = { table = true }, env = { table = true },
    }
    for _, key in ipairs { "env", "user", "cwd", "files", "tty", "console_socket", "pidfd_socket", "capabilities", "securebits",
      "no_new_privs", "apparmor", "selinux", "seccomp", "seccomp_listener", "landlock", "rlimits", "umask", "personality", "oom_score_adj", "nice",
      "scheduler", "ioprio", "affinity", "memory_policy", "core_scheduling", "keyring", "cgroup", "session", "detach", "ignore_paused",
      "limits" } do
      local may = taken[key] or ({ tty = taken.boolean, no_new_privs = taken.boolean, session = taken.boolean, detach = taken.boolean,
        ignore_paused = taken.boolean, core_scheduling = taken.boolean, keyring = { boolean = true, string = true },
        nice = { number = true }, oom_score_adj = { number = true } })[key]
      refuses(key, function(v)
        return process.start(target, { args = { "/bin/true" }, stdin = "null", stdout = "null", stderr = "null", [key] = v })
      end, may, ({ cwd = "chdir", files = "slot" })[key])
    end
    refuses("args", function(v) return process.start(target, { args = v, stdin = "null", stdout = "null", stderr = "null" }) end,
      nil, "")
    running:close()
  end)

  it("caisson.create and caisson.open: every option", function()
    local recipe = caisson.recipe { extends = "sandbox", args = { "/bin/true" } }
    for _, key in ipairs { "id", "root", "params", "args", "env", "bundle", "annotations", "files", "slots", "window", "fail", "log" } do
      refuses(key, function(v)
        local opts = { id = "bad", root = root, stdin = "null", stdout = "null", stderr = "null" }
        if key == "root" and type(v) == "string" and #v == 13 then return nil, key end -- a path like any other
        opts[key] = v
        local c, message = caisson.create(recipe, opts)
        if c then c:delete { force = true } end
        return c, message
      end, ({ bundle = { string = true }, env = { table = true }, args = { string = true } })[key],
        ({ args = "", params = "parameter" })[key])
      assert.same({}, core.list(root), key)
    end
    refuses("id", function(v) return caisson.open(v, { root = root }) end, nil, "")
    refuses("root", function(v) return caisson.list { root = v } end, { string = true }, "")
  end)

  it("a container's methods", function()
    local c = assert(caisson.create(caisson.recipe { extends = "sandbox", args = { "/bin/sleep", "30" } },
      { id = "methods", root = root, stdin = "null", stdout = "null", stderr = "null" }))
    for _, method in ipairs { "start", "exec", "events", "delete" } do
      refuses(method, function(v)
        if type(v) == "table" and next(v) == nil then return nil, method end
        return c[method](c, v)
      end, nil, "")
      assert.equal("created", c:state().status, method)
    end
    refuses("kill", function(v) return c:kill(v) end, nil, "")
    refuses("kill", function(v) return c:kill("TERM", { all = v, no = v }) end, nil, "")
    refuses("update", function(v) return c:update(v) end, nil, "")
    refuses("update", function(v) return c:update { pids = { max = v } } end, nil, "")
    refuses("mount", function(v) return c:mount(v) end, nil, "")
    refuses("mount", function(v) return c:mount { bind = "/usr", at = v } end, nil, "")
    refuses("unmount", function(v) return c:unmount(v) end, nil, "")
    assert.equal("created", c:state().status)
    assert(c:delete { force = true })
  end)

  it("pools and their containers", function()
    local recipe = caisson.recipe { extends = "sandbox" }
    for _, key in ipairs { "recipe", "size", "params", "env", "args", "shared", "slots", "id" } do
      refuses(key, function(v)
        local opts = { recipe = recipe, size = 0 }
        opts[key] = v
        return caisson.pool(opts)
      end, ({ env = { table = true }, args = true, shared = true, slots = { table = true }, size = { number = true }, id = { string = true } })[key], "")
    end
    local pool = assert(caisson.pool { recipe = recipe, size = 1 })
    local c = assert(pool:get())
    for _, key in ipairs { "args", "env", "slots", "limits", "window", "fail" } do
      refuses(key, function(v)
        local opts = { args = { "/bin/true" }, stdin = "null", stdout = "null", stderr = "null" }
        opts[key] = v
        return c:start(opts)
      end, ({ env = { table = true }, args = { string = true } })[key], "")
    end
    refuses("open", function(v) return c:open(v) end, nil, "")
    refuses("delete", function(v) return c:delete(v) end, nil, "")
    assert.equal(0, assert(c:exec { args = { "/bin/true" }, stdin = "null", stdout = "null", stderr = "null" }).code)
    c:destroy()
    pool:close()
  end)
end)
