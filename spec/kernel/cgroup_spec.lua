local t = require "support"
local core = t.core
local cgroup = require "caisson.cgroup"

-- Groups of these specs that are there now, in any hierarchy.
local function left()
  return t.sh("find /sys/fs/cgroup -type d -name 'csnspec*' 2>/dev/null")
end

-- Run a script in the groups that a table asks for, with a cgroup namespace.
local function run(cg, opts)
  opts = opts or {}
  cg.path = cg.path or "csnspec-*"
  local compiled = cgroup.compile(cg, assert(cgroup.probe()))
  local ok, message, errno, failure = cgroup.ready(compiled)
  if not ok then return nil, message, errno, failure end
  local steps = {}
  for _, s in ipairs(compiled.before) do
    steps[#steps + 1] = { step = s.step, options = s.options, side = s.side, optional = s.optional }
  end
  steps[#steps + 1] = t.step("clone", { namespaces = opts.namespaces or { "mount", "pid" }, cgroup = compiled.slot })
  local groups
  local inspect = opts.inspect
  opts.inspect = function(process, result)
    groups = cgroup.open({ cgroup = compiled }, process)
    result.stats = groups:stats()
    result.account = {}
    groups:account(result.account)
    if inspect then inspect(process, result, groups) end
    groups:close()
  end
  return t.run(steps, opts)
end

describe("cgroups on v1 hierarchies, as root", function()
  if not t.needs("root", "cgroup_v1") then return end

  after_each(function() assert.equal("", left()) end)

  it("are made with their limits, hold the program from its first instruction, and are removed", function()
    local r = assert(run({ memory = { max = "64M", low = "32M" }, pids = { max = 17 }, cpu = { max = "50000 100000" } },
      { script = [[
        cat /proc/self/cgroup
        for f in memory/memory.limit_in_bytes memory/memory.soft_limit_in_bytes pids/pids.max \
          cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us; do
          d=/sys/fs/cgroup/${f%%/*}$(sed -n "s/^[0-9]*:${f%%/*}://p" /proc/self/cgroup); cat $d/${f##*/}
        done]] }))
    for _, c in ipairs { "memory", "pids", "cpu" } do
      assert.truthy(r.output:match(":" .. c .. ":[^\n]*/csnspec%-%x+\n"), c)
    end
    assert.equal("67108864\n33554432\n17\n50000\n100000\n", r.output:match("::[^\n]*\n(.*)"))
    assert.is_nil(r.output:match(":freezer:[^\n]*csnspec"))
  end)
end)
