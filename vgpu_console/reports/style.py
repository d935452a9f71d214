"""The style sheet of a report's page: light and dark as the reader's system has it, and always light on paper."""

from __future__ import annotations

STYLE = """
:root { color-scheme: light dark; --back: #fff; --text: #1b1f24; --dim: #57606a; --line: #d0d7de; --soft: #f3f5f7;
  --link: #0a5bb5; --fail: #b3141f; --warn: #8a5a00; --info: #57606a; --unknown: #6b3fa0; }
@media (prefers-color-scheme: dark) { :root { --back: #14171b; --text: #e3e6ea; --dim: #9aa4ae; --line: #363d45;
  --soft: #1d2126; --link: #79b8ff; --fail: #ff8580; --warn: #e3b341; --info: #9aa4ae; --unknown: #c6a4f5; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem; max-width: 110rem; background: var(--back); color: var(--text);
  font: 15px/1.45 system-ui, "Segoe UI", "Noto Sans", "Liberation Sans", sans-serif; }
h1 { margin: 0 0 .75rem; font-size: 1.6rem; }
h2 { margin: 2rem 0 .5rem; font-size: 1.2rem; }
a { color: var(--link); }
dl { margin: 0; }
dt { color: var(--dim); font-size: .85rem; }
dd { margin: 0; overflow-wrap: anywhere; }
header dl { display: flex; flex-wrap: wrap; gap: .5rem 2rem; }
.gaps { margin: 1rem 0 0; padding: .6rem 1rem; border-left: 4px solid var(--warn); background: var(--soft); }
.gaps p { margin: 0; font-weight: 600; }
.gaps ul { margin: .25rem 0 0; padding-left: 1.2rem; overflow-wrap: anywhere; }
nav ul { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; margin: 1rem 0 0; padding: 0; list-style: none;
  color: var(--dim); }
.facts { display: grid; grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr)); gap: .75rem; }
.facts div { padding: .6rem .8rem; border: 1px solid var(--line); border-radius: 6px; }
.facts dd { font-size: 1.15rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.facts small { display: block; color: var(--dim); font-size: .8rem; font-weight: 400; }
.wide { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; }
caption { padding: 0 0 .5rem; color: var(--dim); text-align: left; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
thead th { color: var(--dim); font-weight: 600; white-space: nowrap; border-bottom-width: 2px; }
tbody th { min-width: 7rem; font-weight: 600; }
tbody th, td { overflow-wrap: break-word; max-width: 42rem; }
.findings td:nth-child(3) { min-width: 9rem; max-width: 16rem; }
.findings td:last-child { width: 65%; max-width: none; }
.hosts tbody th { min-width: 11rem; }
.hosts td { min-width: 4rem; }
.hosts td:nth-child(4), .hosts td:nth-child(5) { min-width: 7rem; }
.figure { text-align: right; white-space: nowrap; }
.fail > th, .fail > dd { color: var(--fail); }
.warn > th, .warn > dd { color: var(--warn); }
.unknown > th { color: var(--unknown); }
.info > th { color: var(--info); }
.mark { font-weight: 700; }
.under { margin-top: .2rem; color: var(--dim); font-weight: 400; }
code { font-family: ui-monospace, "Liberation Mono", monospace; font-size: .95em; color: var(--text);
  overflow-wrap: anywhere; }
meter { width: 4.5rem; height: .7rem; vertical-align: middle; }
.empty { color: var(--dim); font-style: italic; }
section > ul { margin: .5rem 0 0; padding-left: 1.2rem; color: var(--dim); font-size: .875rem;
  overflow-wrap: anywhere; }
footer { margin-top: 2.5rem; color: var(--dim); font-size: .8rem; }
@page { size: A4 landscape; margin: 12mm; }
@media print {
  :root { color-scheme: light; --back: #fff; --text: #000; --dim: #444; --line: #999; --soft: #fff; --fail: #8f0f18;
    --warn: #6b4600; --info: #444; --unknown: #4b2a78; }
  body { max-width: none; padding: 0; font-size: 9pt; }
  table { font-size: 7.5pt; }
  th, td { padding: .15rem .35rem; }
  nav { display: none; }
  .wide { overflow: visible; }
  thead { display: table-header-group; }
  tr, .facts div { break-inside: avoid; }
  h2, caption { break-after: avoid; }
  .figure, thead th { white-space: normal; }
  td, tbody th, code { overflow-wrap: anywhere; }
  tbody th, .hosts tbody th { min-width: 4rem; }
  .hosts td, .hosts td:nth-child(4), .hosts td:nth-child(5) { min-width: 0; }
  meter { width: 2.5rem; }
}
"""
