-- The style sheet of a probe's page.
return [[
:root {
  color-scheme: light dark;
  --bg: #f6f6f4; --panel: #ffffff; --raised: #fbfbfa; --line: #e3e2dd; --strong: #c9c8c1;
  --text: #1d1f22; --soft: #5c6068; --accent: #2f5d8a; --mark: #f3f0fb; --mark-line: #7a5fc2;
  --danger: #a3211b; --danger-bg: #fdeceb; --warning: #7c5200; --warning-bg: #fff3d9;
  --note: #1d5894; --note-bg: #e8f1fb; --ok: #2a6b42; --ok-bg: #e8f4ec; --none: #63676f; --none-bg: #eeeeeb;
  --shadow: 0 1px 2px rgb(20 20 20 / 5%), 0 4px 14px rgb(20 20 20 / 4%);
  --mono: ui-monospace, "SF Mono", "Cascadia Mono", "JetBrains Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;
  --sans: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", "DejaVu Sans", Arial, sans-serif;
}
@media (prefers-color-scheme: dark) {
  :root:not([data-theme="light"]) {
    --bg: #121417; --panel: #1a1d21; --raised: #1f2328; --line: #2c3138; --strong: #444b55;
    --text: #e7e8ea; --soft: #a0a6b0; --accent: #8fbcea; --mark: #241f36; --mark-line: #a48af0;
    --danger: #ff9a92; --danger-bg: #3a1b1b; --warning: #f0c064; --warning-bg: #352a12;
    --note: #93c2f5; --note-bg: #17293d; --ok: #86cf9f; --ok-bg: #16301f; --none: #a0a6b0; --none-bg: #262a30;
    --shadow: 0 1px 2px rgb(0 0 0 / 40%);
  }
}
:root[data-theme="dark"] {
  color-scheme: dark;
  --bg: #121417; --panel: #1a1d21; --raised: #1f2328; --line: #2c3138; --strong: #444b55;
  --text: #e7e8ea; --soft: #a0a6b0; --accent: #8fbcea; --mark: #241f36; --mark-line: #a48af0;
  --danger: #ff9a92; --danger-bg: #3a1b1b; --warning: #f0c064; --warning-bg: #352a12;
  --note: #93c2f5; --note-bg: #17293d; --ok: #86cf9f; --ok-bg: #16301f; --none: #a0a6b0; --none-bg: #262a30;
  --shadow: 0 1px 2px rgb(0 0 0 / 40%);
}
:root[data-theme="light"] { color-scheme: light; }
* { box-sizing: border-box; }
html { scroll-padding-top: 8rem; -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--bg); color: var(--text); font: 15px/1.5 var(--sans); }
.page { max-width: 90rem; margin: 0 auto; padding: 0 clamp(.75rem, 2.5vw, 2.25rem) 4rem; }
.skip { position: absolute; left: -999rem; }
.skip:focus { left: 1rem; top: 1rem; z-index: 9; background: var(--panel); padding: .5rem 1rem; }
a { color: var(--accent); }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; border-radius: 4px; }
code, .mono { font-family: var(--mono); font-size: .9em; }
h1, h2, h3, p { margin: 0; }

header.top { display: flex; flex-wrap: wrap; align-items: baseline; gap: .25rem 1rem; padding: 1.75rem 0 1.25rem; }
header.top h1 { font-size: 1.45rem; letter-spacing: -.015em; line-height: 1.2; }
header.top .about { color: var(--soft); font-size: .9rem; flex: 1 1 16rem; }
button { font: inherit; color: inherit; cursor: pointer; background: var(--panel); border: 1px solid var(--line);
  border-radius: 8px; padding: .3rem .75rem; }
button:hover { border-color: var(--strong); }
.no-script [data-script] { display: none; }

.cards { display: grid; gap: .9rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 17rem), 1fr));
  margin: 0 0 1.25rem;
  padding: 0; list-style: none; }
.card { background: var(--panel); border: 1px solid var(--line); border-top: 3px solid var(--tone); border-radius: 10px;
  padding: .85rem 1rem 1rem; box-shadow: var(--shadow); min-width: 0; display: flex; flex-direction: column; }
.card h2 { font-size: 1.08rem; overflow-wrap: anywhere; line-height: 1.3; }
.card .params { color: var(--soft); font-size: .82rem; overflow-wrap: anywhere; }
.card .summary { color: var(--soft); font-size: .85rem; line-height: 1.4; margin-top: .15rem; }
.card .figures { display: flex; flex-wrap: wrap; gap: .4rem; margin: .5rem 0 .8rem; }
.card dl { margin-top: auto; padding-top: .8rem; display: grid; grid-template-columns: auto 1fr; gap: .15rem .8rem;
  margin-bottom: 0; font-size: .86rem; }
.card dt { color: var(--soft); }
.card dd { margin: 0; text-align: right; overflow-wrap: anywhere; }
.tone-danger { --tone: var(--danger); } .tone-warning { --tone: #c98a12; } .tone-note { --tone: var(--note); }
.tone-ok { --tone: var(--ok); }
.bar { display: flex; height: 8px; border-radius: 4px; overflow: hidden; background: var(--none-bg); gap: 1px; }
.bar span { display: block; min-width: 2px; }
.bar .allow { background: #c98a12; } .bar .some { background: #8d6fd1; } .bar .deny { background: #3f8a5c; }
.bar .kill { background: #1f5f3b; } .bar .ask { background: #3f7cc0; }
.keys { display: flex; flex-wrap: wrap; gap: .1rem .8rem; font-size: .8rem; color: var(--soft); margin: .35rem 0 0;
  padding: 0; list-style: none; }
.keys i { display: inline-block; width: .6em; height: .6em; border-radius: 2px; margin-right: .35em; }
.keys .allow i { background: #c98a12; } .keys .some i { background: #8d6fd1; } .keys .deny i { background: #3f8a5c; }
.keys .kill i { background: #1f5f3b; } .keys .ask i { background: #3f7cc0; }

.tools { position: sticky; top: 0; z-index: 5; display: flex; flex-wrap: wrap; align-items: center; gap: .6rem;
  background: color-mix(in srgb, var(--bg) 92%, transparent); backdrop-filter: blur(6px);
  padding: .6rem 0; border-bottom: 1px solid var(--line); }
.tools input[type="search"] { font: inherit; color: inherit; background: var(--panel); border: 1px solid var(--strong);
  border-radius: 8px; padding: .35rem .7rem; flex: 1 1 12rem; min-width: 0; max-width: 26rem; }
.tools fieldset { display: flex; border: 1px solid var(--strong); border-radius: 8px; padding: 0; margin: 0;
  overflow: hidden;
  background: var(--panel); min-width: 0; }
.tools legend { position: absolute; left: -999rem; }
.tools label { padding: .35rem .8rem; cursor: pointer; white-space: nowrap; border-left: 1px solid var(--line); }
.tools label:first-of-type { border-left: 0; }
.tools label:has(input:checked) { background: var(--text); color: var(--panel); }
.tools label:has(input:focus-visible) { outline: 2px solid var(--accent); outline-offset: -2px; }
.tools label input { position: absolute; opacity: 0; pointer-events: none; }
.tools output { color: var(--soft); font-size: .88rem; }

nav.jump { display: flex; flex-wrap: wrap; gap: .1rem .9rem; font-size: .88rem; padding: .8rem 0 0; }
nav.jump a { text-decoration: none; }
nav.jump a:hover { text-decoration: underline; }
section { margin-top: 1.9rem; }
section > h2 { font-size: 1.1rem; margin-bottom: .55rem; display: flex; gap: .6rem; align-items: baseline;
  flex-wrap: wrap; }
section > h2 small { font-weight: 400; color: var(--soft); font-size: .85rem; }

.wide { overflow-x: auto; background: var(--panel); border: 1px solid var(--line); border-radius: 10px;
  box-shadow: var(--shadow); }
table { border-collapse: collapse; width: 100%; table-layout: fixed; min-width: var(--least, 0); }
th, td { text-align: left; vertical-align: top; padding: .45rem .8rem; overflow-wrap: anywhere; }
thead th { font-size: .82rem; color: var(--soft); font-weight: 600; border-bottom: 1px solid var(--line);
  background: var(--raised); }
thead th:first-child { width: 20rem; }
.calls thead th:first-child { width: 16rem; }
.cards:has(> :only-child) { max-width: 42rem; }
tbody tr + tr > * { border-top: 1px solid var(--line); }
tbody th { font-weight: 500; }
tbody th .about, td .about { display: block; color: var(--soft); font-size: .83rem; font-weight: 400; line-height: 1.4; }
tr.differs > th { box-shadow: inset 3px 0 0 var(--mark-line); }
.mark { font-size: .7rem; letter-spacing: .02em; color: var(--mark-line); margin-left: .35rem; font-weight: 600;
  font-family: var(--sans); }
td.l-danger { background: var(--danger-bg); color: var(--danger); }
td.l-warning { background: var(--warning-bg); color: var(--warning); }
td.l-note { background: var(--note-bg); color: var(--note); }
td.l-danger .about, td.l-warning .about, td.l-note .about { color: inherit; opacity: .9; }
td.absent { color: var(--soft); }
.policy::after { content: " \2248"; color: var(--soft); }
.badge { display: inline-flex; align-items: center; gap: .35em; padding: .08rem .55rem; border-radius: 99px;
  font-size: .82rem; font-weight: 600;
  white-space: nowrap; }
.badge::before { font-family: var(--mono); font-weight: 700; }
.b-danger { color: var(--danger); background: var(--danger-bg); } .b-danger::before { content: "\2715"; }
.b-warning { color: var(--warning); background: var(--warning-bg); } .b-warning::before { content: "!"; }
.b-note { color: var(--note); background: var(--note-bg); } .b-note::before { content: "i"; }
.b-ok { color: var(--ok); background: transparent; font-weight: 500; padding-left: 0; } .b-ok::before { content: "\2713"; }
.b-unknown { color: var(--none); background: var(--none-bg); } .b-unknown::before { content: "?"; }
td .badge + .about { margin-top: .2rem; }
td .about.clamp { display: -webkit-box; -webkit-line-clamp: 3; -webkit-box-orient: vertical; overflow: hidden; }
tr.rule > * { padding-top: .6rem; padding-bottom: .6rem; }
th summary { cursor: pointer; list-style: none; display: block; padding-left: 1.1rem; position: relative; }
th summary::-webkit-details-marker { display: none; }
th summary::before { content: "\203A"; position: absolute; left: .1rem; color: var(--soft); transition: transform .12s;
  font-weight: 700; }
th details[open] summary::before { transform: rotate(90deg); }
th details > div { padding: .45rem 0 .2rem 1.1rem; font-weight: 400; font-size: .88rem; }
th details p + p { margin-top: .35rem; }
th details b { font-weight: 600; }
details.rest > summary { cursor: pointer; padding: .7rem .2rem; color: var(--soft); }
.calls td, .calls th { padding: .22rem .8rem; font-size: .88rem; }
.calls tbody th, .calls td { font-family: var(--mono); font-size: .82rem; }
.a-allow { color: var(--text); } .a-deny { color: var(--ok); } .a-kill { color: var(--ok); font-weight: 600; }
.a-some { color: var(--mark-line); } .a-ask { color: var(--note); }
.legend { color: var(--soft); font-size: .83rem; margin-top: .5rem; }
.empty { color: var(--soft); padding: 2rem 0; }
[hidden] { display: none !important; }
footer { margin-top: 3rem; padding-top: 1rem; border-top: 1px solid var(--line); color: var(--soft); font-size: .85rem; }

@media (max-width: 46rem) {
  body { font-size: 14.5px; }
  header.top { padding: 1.1rem 0 .9rem; }
  header.top .about { flex-basis: 100%; order: 3; }
  header.top h1 { flex: 1; }
  .tools { gap: .45rem; }
  .tools input[type="search"] { flex-basis: 100%; max-width: none; }
  .tools label { padding: .3rem .6rem; }
  nav.jump { flex-wrap: nowrap; overflow-x: auto; padding-bottom: .3rem; white-space: nowrap; }
  table, thead, tbody { display: block; }
  table { min-width: 0; }
  tr { display: grid; grid-template-columns: repeat(var(--columns), minmax(7.5rem, 1fr)); }
  thead { position: sticky; top: 0; }
  thead th:first-child { display: none; }
  thead th { padding: .35rem .6rem; }
  tbody th { grid-column: 1 / -1; width: auto; padding: .55rem .6rem .1rem; }
  tbody td { padding: .15rem .6rem .5rem; border-top: 0 !important; font-size: .92em; }
  td.l-danger, td.l-warning, td.l-note { border-radius: 6px; margin: .1rem .2rem .35rem; padding: .15rem .4rem .3rem; }
  tr.rule > th { padding-bottom: .1rem; }
  tr.rule > td { margin: 0; padding-top: .2rem; }
  .calls tbody th { padding-bottom: 0; }
  .many tr { grid-template-columns: minmax(0, 1fr); padding-bottom: .4rem; }
  .many thead { display: none; }
  .many tbody td { display: grid; grid-template-columns: 7.5rem minmax(0, 1fr); gap: .5rem; padding-top: .1rem;
    padding-bottom: .1rem; }
  .many tbody td::before { content: attr(data-of); color: var(--soft); font-family: var(--sans); overflow-wrap: anywhere; }
  .many td.l-danger, .many td.l-warning, .many td.l-note { margin-bottom: .15rem; }
  .many td.l-danger::before, .many td.l-warning::before, .many td.l-note::before { color: inherit; }
}
@media (prefers-reduced-motion: reduce) { * { transition: none !important; } }
@media print {
  .tools, nav.jump, button { display: none; }
  body { background: #fff; }
  .wide, .card { box-shadow: none; break-inside: avoid; }
}
]]
