"""A folder on a web server, by the index that the server shows of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from urllib.parse import unquote, urljoin, urlsplit


def files(address: str, get: Callable[[str], str]) -> Iterator[tuple[str, str]]:
    """Give path and address of every file below an address that ends in a slash.

    Parameters
    ----------
    address : str
        Of the folder.
    get : callable
        Gives the page of an address.

    Raises
    ------
    ValueError
        If the page has no links to anything below it.
    """
    found = False
    for link in _links(get(address)):
        below = urljoin(address, link)
        name = unquote(urlsplit(below).path.removeprefix(urlsplit(address).path))
        # Not what sorts the index anew, leads up or elsewhere.
        if "?" in link or "#" in link or not below.startswith(address) or not name:
            continue
        if ".." in name.split("/"):
            raise ValueError(f"{link!r} leads out of it")
        found = True
        if below.endswith("/"):
            yield from ((f"{name}{path}", one) for path, one in files(below, get))
        else:
            yield name, below
    if not found:
        raise ValueError("its page has no links to files in it")


def _links(page: str) -> list[str]:
    links: list[str] = []

    class Links(HTMLParser):
        def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
            links.extend(value for name, value in attributes if tag == "a" and name == "href" and value)

    Links().feed(page)
    return links
