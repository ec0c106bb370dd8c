"""An HTML page of sentences, tables and pictures that needs no other file and no network."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from jinja2 import Environment, StrictUndefined

PAGE = """\
<!doctype html>
<meta charset="utf-8">
<title>{{ title }}</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62em; margin: 2em auto; padding: 0 1em; }
table { border-collapse: collapse; } td, th { text-align: left; padding: .2em 1em .2em 0; overflow-wrap: anywhere; }
td { font-family: ui-monospace, monospace; font-size: 13px; } tr.no { background: #fdd; color: #000; }
h1.identical { color: #17803d; } h1.equivalent { color: #a16207; } h1.different { color: #b91c1c; }
img { max-width: 100%; }
</style>
<h1 class="{{ verdict }}">{{ title }}</h1>
{% for section in sections %}
{% if section.heading %}
<h2>{{ section.heading }}</h2>
{% endif %}
{% for sentence in section.sentences %}
<p>{{ sentence }}</p>
{% endfor %}
{% if section.rows %}
<table>
<tr>{% for name in section.columns %}<th>{{ name }}</th>{% endfor %}</tr>
{% for row in section.rows %}
<tr{% if row[-1] is false %} class="no"{% endif %}>{% for value in row %}<td>{{ value | told }}</td>{% endfor %}</tr>
{% endfor %}
</table>
{% endif %}
{% if section.picture %}
<img alt="plot" src="data:image/png;base64,{{ section.picture | base64 }}">
{% endif %}
{% endfor %}
"""


class Section(NamedTuple):
    """A part of a page: any of sentences, a table and a picture (PNG). A row that ends in False stands out."""

    heading: str = ""
    sentences: Sequence[str] = ()
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[Any]] = ()
    picture: bytes = b""


def page(title: str, verdict: str, sections: Iterable[Section]) -> str:
    """Write a page, with its title in the colour of a verdict."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True)
    environment.filters |= {"told": _told, "base64": lambda content: base64.b64encode(content).decode()}
    return environment.from_string(PAGE).render(title=title, verdict=verdict, sections=sections)


def _told(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else "missing" if value is None else repr(value)
