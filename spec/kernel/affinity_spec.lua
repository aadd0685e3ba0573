local t = require "support"
local step = t.step

local all = t.core.attributes().affinity
local first = tonumber(all:match("^%d+"))
local count = select(2, t.read_file("/proc/cpuinfo"):gsub("processor%s*:", ""))
local possible = t.read_file("/sys/devices/system/cpu/possible"):match("%S+")

local function see(cpus)
  local r, message, errno = t.run({ step("affinity", cpus) }, { script = "awk '/^Cpus_allowed_list/ { print $2 }' /proc/self/status" })
  return r and r.output:match("%S+"), message, errno
end

describe("affinity", function()
  it("is the program's, not the host's", function()
    assert.equal(tostring(first), see(tostring(first)))
    assert.equal(all, t.core.attributes().affinity)
  end)

  it("takes lists, ranges, spaces and empty elements", function()
    for _, form in ipairs { all, " " .. all, all .. " ", "," .. all, all .. ",", all .. ",," .. all, all:gsub(",", " ,\t") .. "\n",
      ("%d - %d"):format(first, first) .. "," .. all } do
      assert.equal(all, see(form), form)
    end
    if count > 1 and all == "0-1" then
      assert.equal("1", see("1"))
      assert.equal("0-1", see("1,0"))
      assert.equal("0-1", see("0,1,0-1"))
    end
  end)

  it("widens again what the host was bound to", function()
    if count < 2 or all ~= "0-1" then return pending("needs two processors") end
    local out = t.host([[
      local core = require "caisson.core"
      core.affinity("1")
      local r, w = core.pipe()
      local p = core.spawn { plan = core.plan { { step = "affinity", options = "0-1" }, { step = "exec", options =
        { argv = { "awk", "/^Cpus_allowed_list/ { print $2 }", "/proc/self/status" }, files = { "stdin", "stdout" } } } },
        slots = { stdin = core.open("/dev/null"), stdout = w } }
      p:wait()
      io.write(core.attributes().affinity, " ", r:read())]])
    assert.equal("1 0-1\n", out)
  end)

  it("refuses what is no list, naming the fault", function()
    for cpus, why in pairs { ["3-1"] = "a range is reversed", [""] = "the list is empty", [" , ,"] = "the list is empty",
      ["a"] = "a list such as", ["0-"] = "two ends", ["-1"] = "a list such as", ["0 1"] = "a list such as",
      ["0-1-2"] = "a list such as", ["0;1"] = "a list such as", ["0x1"] = "a list such as", ["1.5"] = "a list such as",
      ["999999"] = "past the kernel's last CPU", ["0-999999"] = "past the kernel's last CPU",
      ["99999999999999999999999"] = "past the kernel's last CPU", ["4294967296"] = "past the kernel's last CPU" } do
      local ok, message, errno = see(cpus)
      assert.is_nil(ok, cpus)
      assert.equal(22, errno)
      assert.truthy(message:find(why, 1, true), message)
    end
  end)

  it("is no more and no less than was asked: a CPU that isn't there is an error", function()
    local last = tonumber(possible:match("%d+$"))
    local mask = #t.sh("awk '/^Cpus_allowed:/ { print $2 }' /proc/self/status"):gsub("[,\n]", "") * 4
    if last + 1 >= mask then return pending("every CPU that the kernel has a bit for is there") end
    local ok, message, errno = see(first .. "," .. last + 1)
    assert.is_nil(ok)
    assert.equal(22, errno)
    assert.matches("CPU " .. last + 1 .. " is offline, or not of this cgroup", message)
  end)

  it("has no limit at 1024", function()
    -- a number above 1024 is refused because the kernel has no bit for it, not by the list's reader
    local ok, message = see("1500")
    assert.is_nil(ok)
    assert.truthy(message:find("past the kernel's", 1, true) or message:find("CPU 1500", 1, true))
  end)

  it("takes a string alone", function()
    for _, bad in ipairs { 0, { 0, 1 }, true, "0\0001" } do
      assert.has_error(function() t.core.check("affinity", { cpus = bad }) end)
    end
  end)
end)
