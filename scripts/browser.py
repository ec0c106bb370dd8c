"""Chromium for the tests and for the README's pictures: the machine's own, else Debian's in a folder of its own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

import debian
import keeper


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start Chromium without a window.

    Raises
    ------
    Unavailable
        If the machine has none, and Debian's cannot be had.
    """
    program, variables = shutil.which("chromium"), {}
    if program is None:
        keeper.require()
        debian.require()
        root = debian.kept("chromium", debian.chromium) / "root"
        program, variables = str(root / "usr/lib/chromium/chromium"), {"FONTCONFIG_SYSROOT": str(root)}
    with sync_playwright() as started:
        # root has no sandbox
        browser = started.chromium.launch(executable_path=program, args=["--no-sandbox"], env=os.environ | variables)
        try:
            yield browser
        finally:
            browser.close()
