"""A page that people look at: a verdict, and what it stands on. It needs no other file, no network and no script.

MLflow's UI shows it in a frame that has no network and no clipboard. What is shown short, digests and numbers, is there
as a whole: the style sheet shows the short form, a click selects the whole one, and copying takes that.
"""

from __future__ import annotations

import base64
import datetime
import itertools
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from ..common.exit_codes import DIFFERENT
from ..common.project import PACKAGE

#: So many details of a difference are shown at once.
SHOWN = 4
#: Words may be broken here; longer ones than any language has may be anywhere.
BREAKS, LONG_WORD = re.compile(r"(?<=[_./:,=])(?=[^\W\d])"), re.compile(r"[^\s_./:,;=-]{20}")
STYLE = """\
:root { color-scheme: light dark; --paper: #fff; --ink: #1d1d1f; --soft: #5a5a60; --line: #d8d8dd; --tint: #fdecea;
  --identical: #14682f; --equivalent: #7a4b00; --different: #a8201a; }
@media screen and (prefers-color-scheme: dark) {
  :root { --paper: #17181b; --ink: #e9e9ec; --soft: #a9a9b2; --line: #3b3c42; --tint: #3d1f1e;
    --identical: #74d692; --equivalent: #f1b65c; --different: #ff9086; }
}
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 74rem; margin: 0 auto; padding: 1.5rem clamp(.75rem, 3vw, 2.5rem); --verdict: var(--ink); }
main.identical { --verdict: var(--identical); }
main.equivalent { --verdict: var(--equivalent); }
main.different { --verdict: var(--different); }
header { border: 2px solid var(--verdict); border-radius: .6rem; padding: 1rem 1.25rem; }
header p { margin: .3rem 0 0; overflow-wrap: anywhere; }
header p.kind { margin: 0; color: var(--soft); }
h1 { margin: 0; color: var(--verdict); font-size: 2.2rem; line-height: 1.2; }
h2 { margin: 0 0 .4rem; font-size: 1.1rem; }
.parts { padding-top: 1.5rem; }
.columns { columns: 27rem 2; column-gap: 2.5rem; }
section { break-inside: avoid; padding-bottom: 1.5rem; }
section p { margin: 0 0 .4rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .25rem .75rem .25rem 0; border-top: 1px solid var(--line); }
th:last-child, td:last-child { padding-right: 0; }
thead th, thead td { border-top: 0; color: var(--soft); font-weight: normal; }
tbody th { font-weight: normal; }
tr.differs { background: var(--tint); }
.long { overflow-wrap: anywhere; }
.same { color: var(--identical); }
.other { color: var(--different); font-weight: bold; }
code, data { font: 13px ui-monospace, monospace; -webkit-user-select: all; user-select: all; }
code { display: inline-block; width: 12ch; overflow: hidden; white-space: pre; vertical-align: top; line-height: 1lh; }
code.sha256 { text-indent: -7ch; }
data { display: inline-block; position: relative; }
.short { -webkit-user-select: none; user-select: none; }
.whole { position: absolute; inset: 0; overflow: hidden; white-space: pre; color: transparent; }
ul { margin: 0; padding-left: 1rem; overflow-wrap: anywhere; }
img { display: block; max-width: 100%; height: auto; }
footer { color: var(--soft); border-top: 1px solid var(--line); padding-top: .5rem; font-size: .85rem; }
@media screen and (max-width: 30rem) {
  th, td { padding-right: .4rem; }
  code, data { font-size: 10.5px; }
}
@page { size: A4; margin: 12mm; }
@media print {
  body { font-size: 8.5pt; line-height: 1.35; }
  main { padding: 0; max-width: none; }
  .parts { padding-top: 4mm; }
  .columns { columns: 2; column-gap: 7mm; }
  section { padding-bottom: 3.5mm; }
  h1 { font-size: 20pt; }
  h2 { font-size: 10.5pt; }
  th, td { padding-top: .3mm; padding-bottom: .3mm; }
  code, data { font-size: 7.5pt; }
  img { max-height: 62mm; }
  footer { font-size: 8pt; }
}
"""
PAGE = (
    """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}: {{ kind }}</title>
<style>
"""
    + STYLE
    + """\
</style>
</head>
<body>
<main class="{{ verdict }}">
<header>
<p class="kind">{{ kind }}</p>
<h1>{{ title }}</h1>
{% for sentence in said %}
<p>{{ sentence }}</p>
{% endfor %}
</header>
{% for whole, sections in groups %}
<div class="parts{% if not whole %} columns{% endif %}">
{% for section in sections %}
<section>
<h2>{{ section.heading }}</h2>
{% for sentence in section.sentences %}
<p>{{ sentence | cell }}</p>
{% endfor %}
{% if section.rows %}
<div class="wide" role="region" aria-label="{{ section.heading }}" tabindex="0">
<table>
<thead>
<tr>{% for name in section.columns %}{{ name | head }}{% endfor %}</tr>
</thead>
<tbody>
{% for row in section.rows %}
{% set left = section.columns | length - row | length %}
<tr{% if row[-1] is false or row[-1] == different %} class="differs"{% endif %}>
<th scope="row">{{ row[0] | cell }}</th>
{% for value in row[1:] %}
<td{% if loop.last and left %} colspan="{{ left + 1 }}"{% endif %}>{{ value | cell }}</td>
{% endfor %}
</tr>
{% endfor %}
</tbody>
</table>
</div>
{% endif %}
{% if section.picture %}
<img alt="{{ section.picture.shows }}" src="data:image/svg+xml;base64,{{ section.picture.svg | base64 }}">
{% endif %}
</section>
{% endfor %}
</div>
{% endfor %}
<footer>Made by {{ package }} on {{ now }}. Of digests and numbers the beginning is shown: pointing at one shows the
whole of it, a click selects that.</footer>
</main>
</body>
</html>
"""
)


class Digest(str):
    """A digest, a commit or a run's ID: twelve digits of it are shown, and all are copied."""


class Exact(float):
    """A number of which every digit is shown."""


class Picture(NamedTuple):
    """A picture, as `pictures` draws them, and what it shows to who cannot see it."""

    svg: str
    shows: str


class Section(NamedTuple):
    """A part of a page: any of sentences, a table and a picture.

    The first cell of a row names it, one that ends in False or in "different" stands out, and the last cell of a short
    one is that of all columns that are left. What is whole is as wide as the page.
    """

    heading: str
    sentences: Sequence[str] = ()
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[Any]] = ()
    picture: Picture | None = None
    whole: bool = False


def page(kind: str, title: str, verdict: str, said: Iterable[str], sections: Iterable[Section]) -> str:
    """Write a page.

    Parameters
    ----------
    kind : str
        What it is.
    title : str
        What stands out.
    verdict : str
        In whose colour the title is; of what is none, "".
    said : iterable of str
        What it comes to.
    sections : iterable of Section
        Its parts.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True)
    environment.filters |= {
        "cell": _cell,
        "head": _head,
        "base64": lambda text: base64.b64encode(text.encode()).decode(),
    }
    known = {"kind": kind, "title": title, "verdict": verdict, "said": said}
    groups = itertools.groupby(sections, lambda section: section.whole)
    made = {"different": DIFFERENT, "package": PACKAGE, "now": moment(datetime.datetime.now(datetime.UTC))}
    return environment.from_string(PAGE).render(groups=groups, **known, **made)


def moment(time: datetime.datetime) -> str:
    """Say when something was, to the minute."""
    return time.strftime("%Y-%m-%d %H:%M UTC")


def _head(name: str) -> Markup:
    """Head a column; one of marks needs no head."""
    return Markup('<th scope="col">{}</th>').format(name) if name else Markup("<td></td>")


def _cell(value: Any) -> Markup:
    """Show a value: the short form of what is long, all of which is copied."""
    if isinstance(value, bool):
        return Markup('<span class="{}">{}</span>').format(*(("same", "equal") if value else ("other", "differs")))
    if isinstance(value, Digest):
        kind = "sha256" if value.startswith("sha256:") else "plain"
        return Markup('<code class="{0}" title="{1}">{1}</code>').format(kind, value)
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, list | tuple):
        return _details(value)
    text = "missing" if value is None else str(value)
    if LONG_WORD.search(text):
        return Markup('<span class="long">{}</span>').format(text)
    return Markup("<wbr>").join(BREAKS.split(text))


def _number(value: float) -> Markup:
    """Show a number shortly; what a click selects lies over that, transparent."""
    exact, short = repr(value), f"{value:.6g}"
    text = Markup('<span class="short" aria-hidden="true">{}</span> <span class="whole">{}</span>').format(short, exact)
    shown = exact if exact == short or isinstance(value, Exact) else text
    return Markup('<data value="{0}" title="{0} = {1}">{2}</data>').format(exact, value.hex(), shown)


def _details(values: Sequence[Any]) -> Markup:
    shown, rest = values[:SHOWN], values[SHOWN:]
    items = [
        Markup("<ul>{}</ul>").format(Markup("").join(Markup("<li>{}</li>").format(_cell(value)) for value in part))
        for part in (shown, rest)
    ]
    if not rest:
        return items[0]
    return Markup("{}<details><summary>and {} more</summary>{}</details>").format(items[0], len(rest), items[1])
