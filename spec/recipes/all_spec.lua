-- What holds for every shipped recipe.
local t = require "support"
local caisson = require "caisson"

-- As nobody, who may not be able to read this checkout: in a copy of what the command needs.
local checkout, nobody = ".", ""
if t.is_root then
  checkout, nobody = t.sh("mktemp -d"):gsub("\n", ""), "setpriv --reuid=65534 --regid=65534 --clear-groups "
  t.sh(("mkdir %s/build; cp -r build/bin %s/build; cp -r recipes %s; chmod -R a+rX %s"):format(checkout, checkout,
    checkout, checkout))
end

-- What recipes cannot do without; paths that everybody can see.
local example = t.sh("mktemp -d"):gsub("\n", "")
t.sh(("chmod 755 %s; touch %s/x.in %s/x.out"):format(example, example, example))
local needed = { root = "/usr", archive = "/etc/passwd", calls = "socket", path = "/dev/null", etc = "/usr/lib", data = "/tmp",
  port = "8080", address = "10.9.0.2/24", hosts = "a=10.9.0.1", test = example .. "/x", into = "/tmp", work = "/tmp" }

for path in t.sh("ls recipes/*.lua"):gmatch("[^\n]+") do
  describe(path, function()
    local recipe = assert(caisson.load(path))
    -- what judge asks for depends on what this user may limit
    local params, words = { optional_limits = true, optional = true }, ""
    for name in pairs(params) do
      if recipe:all_params()[name] then words = words .. name .. "=yes " else params[name] = nil end
    end
    for name, p in pairs(recipe:all_params()) do
      if p.required then
        params[name] = needed[name]
        words = words .. name .. "=" .. tostring(needed[name]) .. " "
      end
    end
    local here = path:match "sidecar" and "it is of a container" or path:match "pasta" and not t.core.realpath "/usr/bin/pasta"
      and "pasta is not here" or path:match "uids" or path:match "tree"
    if here == "uids" or here == "tree" then
      here = not t.is_root and not t.read_file "/etc/subuid" and "no range of ids" or nil
    end

    it("says what it is, and each of its parameters", function()
      assert.truthy(#recipe.summary > 10)
      for name, p in pairs(recipe:all_params()) do assert.truthy(p.help, name) end
    end)

    if here then return pending(path .. ": " .. here) end

    it("has a plan that is the same after a trip through JSON, byte for byte", function()
      local built = assert(recipe:build { args = { "/bin/true" }, params = params })
      local text = built.plan:json()
      local again = assert(caisson.plan.from_json(text))
      assert.equal(text, again:json())
      assert.equal(built.plan:text(), again:text())
    end)

    it("names for each step the line that asked for it, in a file that is there", function()
      local built = assert(recipe:build { args = { "/bin/true" }, params = params })
      for _, row in ipairs(built.plan:rows()) do
        local file, line = row.at:match("^(.*):(%d+)$")
        assert.truthy(file, row.step .. " " .. row.at)
        local n = 0
        for _ in io.lines(file) do n = n + 1 end
        assert.truthy(tonumber(line) <= n, row.at)
      end
    end)

    it("can be planned by anybody", function()
      if path:match "uids" or path:match "tree" then return end -- that has a range of ids
      local out = t.sh(("cd %s; %sbuild/bin/caisson plan %s %s -- /bin/true 2>&1; echo status $?"):format(checkout, nobody, path,
        words))
      assert.truthy(out:find(" exec "), out)
      assert.truthy(out:find("status 0\n", 1, true), out)
    end)
  end)
end

describe("Shipped recipes", function()
  teardown(function() t.sh("rm -rf " .. example .. (t.is_root and " " .. checkout or "")) end)

  it("are there", function() assert.truthy(#t.sh("ls recipes/*.lua") > 0) end)
end)
