-- What a probe's page does by itself: search, which rows are shown, light and dark. Without it all rows are there.
return [[
(function () {
  "use strict";
  var root = document.documentElement;
  root.classList.remove("no-script");
  var search = document.getElementById("search"), count = document.getElementById("count");
  var modes = document.querySelectorAll("input[name=mode]"), empty = document.getElementById("empty");
  var rows = Array.prototype.slice.call(document.querySelectorAll("tbody tr"));
  var texts = rows.map(function (r) { return r.textContent.toLowerCase(); });
  var rest = document.querySelector("details.rest"), calls = document.querySelector("details.all-calls");

  function mode() {
    for (var i = 0; i < modes.length; i++) if (modes[i].checked) return modes[i].value;
    return "all";
  }
  function show() {
    var words = search.value.toLowerCase().split(/\s+/).filter(Boolean), which = mode(), n = 0;
    rows.forEach(function (r, i) {
      var there = words.every(function (w) { return texts[i].indexOf(w) >= 0; });
      if (there && which === "differences") there = r.classList.contains("differs");
      if (there && which === "notable" && !words.length)
        there = r.classList.contains("differs") || r.classList.contains("found");
      r.hidden = !there;
    });
    document.querySelectorAll("main section").forEach(function (s) {
      s.hidden = !s.querySelector("tbody tr:not([hidden])") && !s.hasAttribute("data-stays");
    });
    [rest, calls].forEach(function (d) {
      if (!d) return;
      var any = d.querySelector("tbody tr:not([hidden])");
      d.hidden = !any;
      if (words.length && any) d.open = true;
    });
    rows.forEach(function (r) { if (!r.hidden && !r.closest("details:not([open]) > .wide")) n++; });
    count.textContent = n + (n === 1 ? " row" : " rows");
    empty.hidden = rows.some(function (r) { return !r.hidden; });
  }
  search.addEventListener("input", show);
  [rest, calls].forEach(function (d) { if (d) d.addEventListener("toggle", show); });
  modes.forEach(function (m) { m.addEventListener("change", show); });
  document.querySelectorAll("nav.jump a").forEach(function (a) {
    a.addEventListener("click", function () {
      var to = document.getElementById(a.getAttribute("href").slice(1));
      if (!to.hidden) return;
      search.value = "";
      modes[modes.length - 1].checked = true;
      show();
    });
  });
  document.addEventListener("keydown", function (e) {
    if (e.key === "/" && document.activeElement !== search) { e.preventDefault(); search.focus(); }
    if (e.key === "Escape" && document.activeElement === search) { search.value = ""; show(); }
  });

  var button = document.getElementById("theme");
  function dark() {
    return root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  }
  function name() { button.textContent = dark() ? "Light" : "Dark"; }
  try { if (localStorage.caissonTheme) root.dataset.theme = localStorage.caissonTheme; } catch (e) { /* not kept */ }
  button.addEventListener("click", function () {
    root.dataset.theme = dark() ? "light" : "dark";
    try { localStorage.caissonTheme = root.dataset.theme; } catch (e) { /* not kept */ }
    name();
  });
  name();
  show();
}());
]]
