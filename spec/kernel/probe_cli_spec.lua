-- The command caisson probe: text, JSON, several recipes, and its exit status for CI.
local t = require "support"
local cli = require "support.cli"
local m = require "support.mounts"
local json = require "caisson.json"
local width = require("caisson.cli.color").width

describe("caisson probe", function()
  if not t.needs "userns" then return end
  teardown(m.clean)
  local dir, loose
  setup(function()
    dir = m.tmpdir()
    t.sh("chmod 755 " .. dir)
    loose = dir .. "/loose.lua"
    local f = assert(io.open(loose, "w"))
    f:write([[return require("caisson").recipe {
      params = { at = { "string", default = "/host" } },
      build = function(p)
        return { namespaces = { mount = true, pid = true }, mounts = { { proc = "/proc" }, { bind = "/", at = p.at } } }
      end,
    }]])
    f:close()
  end)

  it("says what was found, in lines of 80 columns", function()
    local r = cli.caisson { "probe", loose }
    assert.same({ "", 0 }, { r.err, r.code })
    assert.matches("No system call is forbidden", r.out)
    assert.matches("the host's root directory can be read at /host", r.out)
    assert.matches("Network +the host's", r.out)
    for line in r.out:gmatch "[^\n]+" do assert.is_true(width(line) <= 80, line) end
    r = cli.caisson { "probe", "sandbox" }
    assert.is_nil(r.out:find("No system call is forbidden", 1, true))
    assert.matches("Capabilities +effective: none", r.out)
  end)

  it("shows every row for --all", function()
    local r = cli.caisson { "probe", "sandbox", "--all" }
    assert.matches("/proc/keys +masked", r.out)
    assert.matches("/dev/null +opens", r.out)
  end)

  it("sets several side by side, each with its parameters", function()
    local r = cli.caisson { "probe", loose, "at=/mnt", "sandbox", loose }
    assert.same({ "", 0 }, { r.err, r.code })
    assert.matches("\n1  %S+loose.lua at=/mnt  ", "\n" .. r.out)
    assert.matches("\nhost%-root +warning +ok +warning\n", r.out)
    assert.matches("\n  /mnt +%S.* +%- +%-\n", r.out)
    for line in r.out:gmatch "[^\n]+" do assert.is_true(width(line) <= 80 or line:find "^%d  /" ~= nil, line) end
  end)

  it("writes JSON that holds it all", function()
    local r = cli.caisson { "probe", "sandbox", loose, "--json" }
    assert.equal(0, r.code)
    local doc = assert(json.decode(r.out))
    assert.equal(1, doc.caisson_probe)
    assert.same({ "sandbox", loose }, { doc.reports[1].recipe, doc.reports[2].recipe })
    assert.same({ "ok", "warning" }, { doc.reports[1].rules["host-root"], doc.reports[2].rules["host-root"] })
    assert.is_true(#doc.reports[1].calls > 300 and #doc.reports[1].sections > 10)
  end)

  it("writes one HTML page of them all, besides", function()
    local r = cli.caisson { "probe", "sandbox", loose, "--html", dir .. "/page.html" }
    assert.same({ "", 0 }, { r.err, r.code })
    assert.matches("^1  sandbox", r.out)
    local page = t.read_file(dir .. "/page.html")
    assert.matches("^<!DOCTYPE html>.*</html>\n$", page)
    assert.truthy(page:find('id="host-root"', 1, true) and page:find(">loose.lua<", 1, true))
    r = cli.caisson { "probe", "sandbox", "--html", dir .. "/no/page.html" }
    assert.equal(125, r.code)
    assert.matches("No such file", r.err)
  end)

  it("shows what a mix-in changes, and fails for what is left", function()
    local file = dir .. "/mix.lua"
    local f = assert(io.open(file, "w"))
    f:write 'local p = require("caisson").policy\nreturn p.mix { seccomp = p.default() - { "chroot", "ptrace" } }\n'
    f:close()
    local r = cli.caisson { "probe", loose, "--mix", file, "--fail-on", "no-seccomp,dangerous-calls" }
    assert.same({ "", 0 }, { r.err, r.code })
    assert.matches("\nno%-seccomp +warning +ok\n", r.out)
    assert.matches("\n  ptrace +allowed +EPERM\n", r.out) -- its own filter and the mix-in's
    r = cli.caisson { "probe", loose, "--mix", file, "--json" }
    local doc = assert(json.decode(r.out))
    assert.same({ 2, { file } }, { #doc.reports, doc.reports[2].mix })
    assert.is_nil(doc.reports[1].mix)
  end)

  it("fails for the rules that it is told to", function()
    local function status(...) return cli.caisson({ "probe", ... }).code end
    assert.equal(0, status("sandbox", "--fail-on", "danger"))
    assert.equal(0, status("sandbox", "--fail-on", "host-root,no-seccomp"))
    local r = cli.caisson { "probe", "sandbox", loose, "--fail-on", "host-root", "--fail-on", "no-seccomp" }
    assert.equal(1, r.code)
    assert.matches("loose.lua: %-%-fail%-on: host%-root, no%-seccomp\n$", r.err)
    assert.equal(1, status(loose, "--fail-on", "warning"))
    r = cli.caisson { "probe", "sandbox", "--fail-on", "hots-root" }
    assert.equal(125, r.code)
    assert.matches("unknown rule 'hots%-root'", r.err)
  end)

  it("lists its rules", function()
    local r = cli.caisson { "probe", "--rules" }
    assert.equal(0, r.code)
    for _, rule in ipairs(require "caisson.probe.rules") do assert.truthy(r.out:find(rule.name, 1, true), rule.name) end
  end)

  it("says what is wrong", function()
    for words, text in pairs { [{ "probe" }] = "a recipe is expected", [{ "probe",
      "a=b" }] = "a recipe is expected before a=b",
      [{ "probe", "nothing-of-that-name" }] = "nothing%-of%-that%-name", [{ "probe", "sandbox", "color=red" }] = "color",
      [{ "probe", "sandbox", "--", "true" }] = "takes no program" } do
      local r = cli.caisson(words)
      assert.equal(125, r.code)
      assert.matches(text, r.err)
    end
  end)
end)
