-- What the recipes that come along let be done from inside.
local t = require "support"
local caisson = require "caisson"

-- Recipe, parameters, and the rules that it is known to break beyond notes.
local none = {}
local shared = { "host-network", "abstract-sockets", "loopback-services" }
local recipes = {
  { "sandbox", none },
  { "sandbox", { network = true }, shared },
  { "sandbox", { dir = "/tmp", write = true } },
  { "shell", none },
  { "fakeroot", none },
  { "proxy-open", none },
  { "nettrace", none, { "host-network" } },
}
if t.is_root then recipes[#recipes + 1] = { "judge", none } end

describe("probed, a recipe", function()
  if not t.needs "userns" then return end

  for _, r in ipairs(recipes) do
    local name, params, expected = r[1], r[2], r[3] or none
    local words = { name }
    for k, v in pairs(params) do words[#words + 1] = k .. "=" .. tostring(v) end
    it(table.concat(words, " ") .. " has no dangerous finding, and the warnings that it is known for", function()
      local report, message = caisson.probe.run(name, { params = params })
      assert(report, message)
      local known, seen = { ["no-memory-limit"] = true, ["no-process-limit"] = true }, {}
      for _, rule in ipairs(expected) do known[rule] = true end
      for _, f in ipairs(report.findings) do
        local told = f.rule .. ": " .. table.concat(f.evidence, "; ")
        assert.is_true(f.level == "note" or f.level == "warning" and known[f.rule], told)
        seen[f.rule] = true
      end
      for _, rule in ipairs(expected) do assert.is_true(seen[rule], rule) end
      for _, c in ipairs(report.calls) do assert.is_nil(c.odd, c.name) end
    end)
  end
end)
