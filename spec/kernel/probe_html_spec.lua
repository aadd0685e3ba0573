-- The page of caisson probe, as text; spec/long has it in a browser.
local t = require "support"
local caisson = require "caisson"
local html = require "caisson.probe.html"

local hostile = "<script>alert(1)</script> \"'&"

describe("the page of a probe", function()
  if not t.needs "userns" then return end
  local page
  setup(function()
    local reports = {}
    for i, options in ipairs {
      { extends = "sandbox" },
      { extends = "sandbox", seccomp = caisson.policy.default() - { "chroot" }, namespaces = { net = false } },
      { namespaces = { mount = true, pid = true }, mounts = { { proc = "/proc" }, { bind = "/", at = "/mnt/"
        .. hostile:gsub("/", "") } } },
    } do
      reports[i] = assert(caisson.probe.run(caisson.recipe(options), { name = ({ "tight", "net", hostile })[i] }))
    end
    page = html.page(reports)
  end)

  it("loads nothing from anywhere", function()
    for _, pattern in ipairs { "https?://", "src=", "@import", "url%(", "<link" } do assert.is_nil(page:find(pattern),
      pattern) end
    assert.truthy(page:find("default-src 'none'", 1, true))
  end)

  it("shows what reports hold as text, whatever it is", function()
    assert.is_nil(page:find("<script>alert", 1, true))
    assert.truthy(page:find("&lt;script&gt;alert(1)", 1, true))
    local bytes = { recipe = "\255\27[31m", params = {}, kernel = "Linux", user = "uid 0", sections = {}, calls = {},
      findings = {},
      rules = {}, untried = { "\0" } }
    for _, r in ipairs(require "caisson.probe.rules") do bytes.rules[r.name] = "unknown" end
    assert.is_nil(html.page { bytes }:find "[%z\27\255]")
  end)
end)
