-- Fork bombs that are larger than what one pass of signals reaches: without a stop to their forks they would outrun
-- it (load average 1500, for as long as one cared to watch).
local t = require "support"
local g = require "support.cgroup"
local core = t.core

describe("A fork bomb of 600 processes", function()
  if not t.needs("root") then return end

  for _, world in ipairs(g.worlds()) do
    for _, how in ipairs { "pids", "freeze" } do
      it(("dies (%s, %s)"):format(world.name, how), function()
        local process, groups = g.start({ pids = { max = 600 }, accounting = { how } },
          { "/usr/bin/perl", "-e", "fork while 1" }, world.only)
        assert.is_true(g.eventually(function() return groups:figure("pids_current") == 600 end, 60))
        local began = core.now()
        assert(groups:kill(30))
        assert.is_true(g.eventually(function() return #groups:procs() == 0 end, 30))
        assert.is_true(core.now() - began < 30e9)
        assert.equal(9, assert(process:wait(10)).signal)
        groups:close()
        process:close()
        assert.equal("", g.left())
      end)
    end
  end
end)
