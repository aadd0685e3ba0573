-- The page of caisson probe in a real browser: what its script does, and whether it can be read.
local t = require "support"
local browser = require "support.browser"
local m = require "support.mounts"
local caisson = require "caisson"
local html = require "caisson.probe.html"

local hostile = "<script>alert(1)</script> \"'&"

describe("the page of a probe", function()
  if not t.needs("userns", "browser") then return end
  teardown(m.clean)
  local page, dir
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
    dir = m.tmpdir()
  end)

  it("filters, searches and marks differences", function()
    local found = browser.look(dir, page, [[
      var d = w.document, search = d.getElementById("search"), out = {};
      function shown() { return [].filter.call(d.querySelectorAll("tbody tr"),
        function (r) { return r.checkVisibility(); }); }
      function texts() { return shown().map(function (r) { return r.querySelector("th").textContent.trim().replace(/ differs$/, "").split("\n")[0]; }); }
      function pick(v) { var i = d.querySelector("input[value=" + v + "]"); i.checked = true; i.dispatchEvent(new w.Event("change")); }
      function seek(s) { search.value = s; search.dispatchEvent(new w.Event("input")); }
      out.script = d.documentElement.className; out.alerts = d.querySelectorAll("script").length;
      out.cards = d.querySelectorAll(".card").length; out.notable = shown().length;
      pick("differences"); out.differing = shown().length;
      out.all_differ = shown().every(function (r) { return r.classList.contains("differs"); });
      pick("all"); out.all = shown().length; out.count = d.getElementById("count").textContent;
      seek("host-network"); out.rule = texts();
      out.levels = [].map.call(d.querySelectorAll("#host-network .badge"), function (b) { return b.textContent; });
      seek("/PROC/KEYS masked"); out.upper = texts();
      seek("chroot"); out.calls = texts().indexOf("chroot") >= 0;
      seek("no such thing"); out.none = shown().length; out.empty = d.getElementById("empty").getClientRects().length > 0;
      seek(""); out.again = shown().length;
      var names = [].map.call(d.querySelectorAll("table"),
        function (x) { return x.parentNode.getAttribute("aria-label"); });
      out.named = names.every(Boolean) && d.documentElement.lang === "en";
      out.headed = [].every.call(d.querySelectorAll("tbody tr"), function (r) {
        return r.querySelector("th[scope=row]") && r.children.length === 4; });
      out.ids = (function () { var seen = {}; return [].every.call(d.querySelectorAll("[id]"), function (e) {
        var fresh = !seen[e.id]; seen[e.id] = true; return fresh; }); })();
      out.links = [].every.call(d.querySelectorAll("a[href^='#']"), function (a) {
        return d.getElementById(a.getAttribute("href").slice(1)); });
      return out;]])
    assert.is_nil(found.error)
    assert.same({ "", 1, 3 }, { found.script, found.alerts, found.cards })
    assert.is_true(found.differing > 5 and found.all_differ)
    assert.is_true(found.notable >= found.differing and found.all > found.notable)
    assert.equal(found.all .. " rows", found.count)
    assert.same({ "It shares the host's network" }, found.rule)
    assert.same({ "holds", "warning", "warning" }, found.levels)
    assert.truthy(table.concat(found.upper, "|"):find("/proc/keys", 1, true))
    assert.same({ true, 0, true }, { found.calls, found.none, found.empty })
    assert.is_true(found.again >= found.all)
    assert.same({ true, true, true, true }, { found.named, found.headed, found.ids, found.links })
  end)

  it("can be read, light and dark, wide and narrow", function()
    local found = browser.look(dir, page, [[
      var d = w.document, root = d.documentElement, out = [];
      [].forEach.call(d.querySelectorAll("details"), function (x) { x.open = true; });
      d.querySelector("input[value=all]").click();
      function parts(c) { return (c.match(/[\d.]+/g) || []).map(Number); }
      function light(c) { var l = c.slice(0, 3).map(function (v) { v /= 255;
        return v <= 0.03928 ? v / 12.92 : Math.pow((v + 0.055) / 1.055, 2.4); });
        return 0.2126 * l[0] + 0.7152 * l[1] + 0.0722 * l[2]; }
      function behind(e) { for (; e; e = e.parentElement) { var c = parts(w.getComputedStyle(e).backgroundColor);
        if (c.length === 3 || c[3] === 1) return c; } return [255, 255, 255]; }
      function contrast(e) { var a = light(parts(w.getComputedStyle(e).color)), b = light(behind(e));
        return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05); }
      ["light", "dark"].forEach(function (theme) {
        root.dataset.theme = theme;
        [400, 700, 1400].forEach(function (width) {
          frame(width);
          var least = 99, what = "", wide = [];
          [].forEach.call(d.querySelectorAll(".badge,.about,td,th,h1,h2,dt,dd,p,summary,li,code,label,small"),
            function (e) {
            if (!e.checkVisibility() || !e.textContent.trim()) return;
            var c = contrast(e);
            if (c < least) { least = c; what = e.tagName + "." + e.className + " " + e.textContent.slice(0, 30); }
            var box = e.getBoundingClientRect();
            if (box.right > width + 1 && !e.closest(".wide") && !e.closest("nav")) wide.push(e.tagName + " " + e.textContent.slice(0, 30));
          });
          out.push({ theme: theme, width: width, inner: w.innerWidth, page: root.scrollWidth, contrast: least,
            what: what, wide: wide,
            dark: light(behind(d.body)) < 0.2 });
        });
      });
      return out;]])
    assert.is_nil(found.error)
    assert.equal(6, #found)
    for _, f in ipairs(found) do
      local at = f.theme .. " " .. f.width .. ": "
      assert.equal(f.width, f.inner)
      assert.is_true(f.page <= f.width, at .. "it is " .. f.page .. " wide")
      assert.same({}, f.wide, at)
      assert.is_true(f.contrast >= 4.5, at .. f.what .. " has contrast " .. f.contrast)
      assert.equal(f.theme == "dark", f.dark)
    end
  end)

  it("follows the reader's choice of light and dark, in pictures of any width", function()
    for _, width in ipairs { 400, 1400 } do
      for _, dark in ipairs { false, true } do
        local file = ("%s/%d-%s.png"):format(dir, width, dark and "dark" or "light")
        local w, h, size = browser.picture(dir, page, file, width, 900, dark)
        assert.same({ width, 900 }, { w, h })
        assert.is_true(size > 20000, size .. " bytes")
      end
      assert.not_equal(t.read_file(("%s/%d-dark.png"):format(dir, width)), t.read_file(("%s/%d-light.png"):format(dir,
        width)))
    end
  end)
end)
