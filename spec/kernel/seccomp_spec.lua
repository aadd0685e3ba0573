local t = require "support"
local policy = require "caisson.policy"

-- A seccomp step from a policy or a program.
local function filter(p, extra)
  local s = assert(policy.step(p, { cache = false }))
  for k, v in pairs(extra or {}) do s.options[k] = v end
  return s
end

local nnp = t.step("no_new_privs", {})

describe("seccomp", function()
  it("loads the default policy as the last thing before exec", function()
    local r = assert(t.run({ nnp, filter(policy.default()) },
      { script = "grep -E '^(Seccomp|NoNewPrivs)' /proc/self/status" }))
    assert.matches("NoNewPrivs:%s+1", r.output)
    assert.matches("Seccomp:%s+2", r.output)
    assert.matches("Seccomp_filters:%s+1", r.output)
    assert.equal(0, r.code)
  end)

  it("denies what a policy takes away and allows the rest", function()
    local r = assert(t.run({ nnp, filter(policy.default()) }, { script = "mkdir /proc/nowhere; umask" }))
    assert.matches("0022", r.output)
    r = assert(t.run({ nnp, filter(policy.default() - { "umask" }) }, { script = "umask" }))
    assert.not_matches("0022", r.output)
  end)
end)
