"""A page in headless Chromium: what its document looks like after its scripts have run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--virtual-time-budget=3000")


def dump(page: Path, profile: Path, fragment: str = "") -> str:
    """The document as HTML once the page has come to rest; skips where there is no Chromium.

    Args:
        page: an HTML file.
        profile: a folder for the browser's own files.
        fragment: what stands behind # in the address.
    """
    browser = next(filter(None, map(shutil.which, (
        os.environ.get("CHROMIUM", "chromium"), "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("no Chromium: install one, or name it in CHROMIUM, to test in a browser")
    done = subprocess.run(
        [browser, *FLAGS, f"--user-data-dir={profile}", "--dump-dom",
         page.as_uri() + (f"#{fragment}" if fragment else "")],
        capture_output=True, text=True, timeout=120, check=True)
    assert "</html>" in done.stdout, done.stderr[-500:]
    return done.stdout


def title(document: str) -> str:
    """What the document is called after all scripts have run."""
    found = re.search(r"<title>(.*?)</title>", document, re.DOTALL)
    return found.group(1) if found else ""
