"""A chain in the terminal, as a page, and as a picture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from ..common import terminal
from ..proof import pictures
from ..proof.page import Digest, Picture, Section
from ..proof.page import page as html
from .lineage import Link, in_order

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Characters of a line at most.
WIDEST = 500
#: The columns of the page's table of inputs.
INPUTS = ("input", "of step", "address", "digest", "size")
#: Inches of a box and its surroundings.
WIDTH, HEIGHT = 2.6, 1.1


def tree(link: Link) -> None:
    """Print a chain as a tree, the run first and raw data last; what stands twice is told once."""
    # A line that is wider than the terminal is the terminal's to wrap: nothing of it is left out.
    Console(width=WIDEST, soft_wrap=True, highlight=False).print(_tree(link, set()))


def _tree(link: Link, told: set[str]) -> Tree:
    style = terminal.VERDICTS.get(link.verdict, "")
    title = Text.assemble((link.step, "bold"), f"  run {link.id}  ", (link.verdict, style))
    if link.id in told:
        return Tree(title.append("  (see above)"))
    told.add(link.id)
    branch = Tree(title)
    for name, entry in link.inputs.items():
        version = f"  version {entry['version']}" if "version" in entry else ""
        said = f"{name}: {entry['address']}{version}  {_short(entry['digest'])}  {entry['size']:,} bytes"
        made = branch.add(Text(said))
        if name in link.made_by:
            made.add(_tree(link.made_by[name], told))
        else:
            made.add(Text(f"{entry['uri']}, of which no run is known"))
    for name, entry in link.data.items():
        source = f"  from {entry['source']}" if entry["source"] != "unknown" else ""
        branch.add(
            Text(f"data {name}: {entry['path']}  {_short(entry['digest'])}  {entry['size']:,} bytes{source}", "cyan")
        )
    return branch


def page(link: Link) -> str:
    """Write a chain as one HTML page: its picture, the runs in their order, what they were given and the data."""
    links = in_order(link)
    runs = [(one.step, Digest(one.id), one.verdict) for one in links]
    inputs = [
        (name, one.step, entry["address"], Digest(entry["digest"]), f"{entry['size']:,} bytes")
        for one in links
        for name, entry in one.inputs.items()
    ]
    sections = [
        drawn(link),
        Section("Runs", (), ("step", "run", "verdict"), runs),
        data(links),
        Section("Inputs", () if inputs else ["None."], INPUTS, inputs, whole=True),
    ]
    verdict = link.verdict if link.verdict in terminal.VERDICTS else ""
    return html("Lineage", f"{link.step}, run {link.id[:8]}", verdict, [f"Its verdict: {link.verdict}."], sections)


def drawn(link: Link, verdicts: Mapping[str, str] | None = None) -> Section:
    """Draw a chain on a page: of each run, by its ID, what just came of it; else what is known."""
    shows = "The runs of the chain, and the data that they read"
    shown = Picture(pictures.svg(picture(link, pictures.INK, verdicts)), shows)
    return Section("From the raw data to the run", picture=shown, whole=True)


def data(links: Iterable[Link]) -> Section:
    """Name the data that a chain begins with."""
    known = {name: entry for link in links for name, entry in link.data.items()}
    rows = [(name, entry["path"], Digest(entry["digest"]), f"{entry['size']:,} bytes") for name, entry in known.items()]
    return Section("Data", () if rows else ["None is known."], ("dataset", "path", "digest", "size"), rows)


def picture(link: Link, ink: str = "0.3", verdicts: Mapping[str, str] | None = None) -> Figure:
    """Draw a chain from raw data on the left to the run on the right."""
    from matplotlib.figure import Figure

    links = in_order(link)
    column = {one.id: 0 for one in links}
    for one in links:
        column[one.id] = 1 + max((column[other.id] for other in one.made_by.values()), default=0)
    rows: dict[int, int] = {}
    place: dict[str, tuple[int, int]] = {}
    data = {name: entry for one in links for name, entry in one.data.items()}
    for key, at in [*((f"data {name}", 0) for name in data), *((one.id, column[one.id]) for one in links)]:
        place[key] = at, rows.setdefault(at, 0)
        rows[at] += 1
    figure = Figure(figsize=(WIDTH * (max(rows) + 1), HEIGHT * (max(rows.values()) + 0.5)), layout="constrained")
    axes = figure.subplots()
    axes.set(xlim=(-0.5, max(rows) + 0.5), ylim=(max(rows.values()) - 0.4, -0.8))
    axes.axis("off")

    def box(key: str, text: str, colour: str) -> None:
        style = {"boxstyle": "round,pad=0.5", "facecolor": colour, "edgecolor": "0.4"}
        axes.text(*place[key], text, ha="center", va="center", fontsize=8, color="black", bbox=style, zorder=2)

    def arrow(start: str, end: str, text: str = "") -> None:
        (x, y), (to_x, to_y) = place[start], place[end]
        over = 0.25 if to_x - x > 1 else 0.0  # around what stands between
        style = {
            "arrowstyle": "->",
            "color": ink,
            "shrinkA": 45,
            "shrinkB": 45,
            "connectionstyle": f"arc3,rad=-{over}",
        }
        axes.annotate("", (to_x, to_y), (x, y), arrowprops=style, zorder=1)
        height = (y + to_y) / 2 - 0.12 - over * (to_x - x) / 2
        axes.text((x + to_x) / 2, height, text, ha="center", fontsize=6, color=ink)

    colours = {"identical": "#d9f2d9", "equivalent": "#fff3cd", "different": "#f8d7da"}
    for name, entry in data.items():
        box(f"data {name}", f"{name}\n{_short(entry['digest'])}\n{entry['size']:,} bytes", "#dbe9f6")
    for one in links:
        verdict = (verdicts or {}).get(one.id, one.verdict)
        box(one.id, f"{one.step}\nrun {one.id[:8]}\n{verdict}", colours.get(verdict, "white"))
        for name in one.data:
            arrow(f"data {name}", one.id)
        for other in {made.id for made in one.made_by.values()}:
            arrow(other, one.id, ", ".join(name for name, made in one.made_by.items() if made.id == other))
    return figure


def _short(digest: str) -> str:
    return digest[:19]
