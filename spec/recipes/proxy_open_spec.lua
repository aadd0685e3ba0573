local t = require "support"
local cli = require "support.cli"

describe("the proxy-open recipe", function()
  if not t.needs "userns" then return end

  local function run(words, script)
    local all = { "run", "recipes/proxy-open.lua" }
    for _, w in ipairs(words) do all[#all + 1] = w end
    for _, w in ipairs { "--", "sh", "-c", script } do all[#all + 1] = w end
    return cli.caisson(all)
  end

  it("asks about each file: yes, no, or something else to read", function()
    local r = run({}, [[cat /etc/hostname; cat /etc/passwd; cat /etc/../etc/group | wc -l; echo mine > /tmp/a; cat /tmp/a]])
    assert.matches("^a name that was made at [^\n]*\n1\nmine\n$", r.out)
    assert.matches("cat: /etc/passwd: Permission denied\n", r.err, 1, true)
    assert.is_nil(r.err:find("\n."))
  end)

  it("knows a file by all its names, and tells of it", function()
    local r = run({ "hide=/usr/share/", "verbose=yes" },
      [[cat /etc/passwd > /tmp/copy && echo read; ln -s /usr/share /tmp/s; cat /tmp/s/x; cat /proc/self/root/usr/share/x; : > /proc/self/comm]])
    assert.equal("read\n", r.out)
    local _, refused = r.err:gsub("Permission denied", "")
    assert.equal(3, refused)
    assert.matches("read /usr/share/x: no\n", r.err, 1, true)
    assert.matches("write /tmp/copy: yes\n", r.err, 1, true)
  end)
end)
