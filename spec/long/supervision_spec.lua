local t = require "support"
local s = require "support.supervision"
local caisson = require "caisson"
local core = t.core

local n = tonumber(os.getenv("CAISSON_CONTAINERS") or 1000)

-- Descriptors that are open, however many.
local function descriptors()
  collectgarbage()
  collectgarbage()
  return #assert(core.list("/proc/self/fd")) - 1 -- the directory's own
end

describe("one process that holds 1000 containers", function()
  if not t.is_root and not t.needs("userns") then return end

  setup(function() assert(caisson.run(s.recipe(), { args = { "/bin/true" } })) end) -- what is opened once for all

  -- Programs that answer a shared gate all at once: the loop's worst hour.
  local function hold(loop_of)
    local before = descriptors()
    local list, open = s.start_all(n, s.recipe())
    assert.equal(before + n + 1, descriptors())
    assert.equal(1, s.threads())
    local results = {}
    local run = loop_of(list, function(i, r) results[i] = r end)
    assert.equal(1, s.threads())
    local began = core.now()
    local cpu = os.clock()
    open:close()
    run()
    cpu = os.clock() - cpu
    local seconds = (core.now() - began) / 1e9
    for i = 1, n do assert.equal(i % 7, results[i].code) end
    assert.equal(before, descriptors())
    return seconds, cpu
  end

  it("by caisson.loop", function()
    local _, cpu = hold(function(list, done)
      local loop = assert(caisson.loop())
      for i, running in ipairs(list) do loop:add(running, function(r) done(i, r) end) end
      assert.equal(n, loop:size())
      return function()
        assert.equal(0, loop:run(120))
        loop:close()
      end
    end)
    assert.truthy(cpu < 20, cpu) -- of the host; it would be many times that if each event cost a look at all
  end)

  it("by core.poll", function()
    hold(function(list, done)
      return function()
        local left = {}
        for i = 1, #list do left[i] = i end
        while #left > 0 do
          local fds, whose = {}, {}
          for _, i in ipairs(left) do
            for _, f in ipairs(list[i]:fds()) do
              fds[#fds + 1] = f
              whose[#fds] = i
            end
          end
          local ended = {}
          for k in pairs(assert(core.poll(fds, 60))) do
            local r = list[whose[k]]:step()
            if r then
              ended[whose[k]] = true
              done(whose[k], r)
            end
          end
          local rest = {}
          for _, i in ipairs(left) do if not ended[i] then rest[#rest + 1] = i end end
          left = rest
        end
      end
    end)
  end)

  it("by luv", function()
    if not t.needs("luv") then return end
    local uv, watch = require "luv", require("caisson.luv").watch
    watch(assert(caisson.start(s.recipe(), { args = { "/bin/true" } })), function() end)
    uv.run()
    hold(function(list, done)
      for i, running in ipairs(list) do watch(running, function(r) done(i, r) end) end
      return function() uv.run() end
    end)
  end)
end)
