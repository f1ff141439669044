"""A page as a browser without a window has it after its scripts have run; and pages read by an HTML parser."""

import os
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
HOSTILE = """"><img src=x onerror="document.title='run'"></script><script>document.title='run'</script> & 'x'"""
"""Markup that says in the page's title that it was run, where a page takes it for more than text."""


class Parsed(HTMLParser):
    """The tags of a page, their attributes, and its text outside scripts and styles."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = self.title = ""
        self._inside: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        first_title = tag == "title" and "title" not in self.tags  # those of SVG are what one sees at a point
        self.tags.append(tag)
        self.attributes += attrs
        if tag in ("script", "style") or first_title:
            self._inside.append(tag)

    def handle_endtag(self, tag):
        if self._inside and self._inside[-1] == tag:
            self._inside.pop()

    def handle_data(self, data):
        if self._inside == ["title"]:
            self.title += data
        elif not self._inside:
            self.text += data


def assert_only_text(page: Parsed, least: int) -> None:
    """HOSTILE is in the page's text at least so often, and no element or handler came of it."""
    assert page.text.count(HOSTILE) >= least
    assert "img" not in page.tags and page.title != "run"
    assert not [name for name, _ in page.attributes if name.startswith("on")]


def opened(file: Path, width: int = 1300) -> Parsed:
    """The page after its scripts have run. Skips the test where there is no Chromium."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("no Chromium on this machine")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=2000", f"--window-size={width},900"]
    command = [program, *flags, f"--user-data-dir={file.parent / 'browser'}", "--dump-dom", file.resolve().as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env={**os.environ, "LANG": "C.UTF-8"})
    assert done.returncode == 0 and done.stdout, done.stderr[-2000:]
    return Parsed(done.stdout)
