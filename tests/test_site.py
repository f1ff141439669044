"""The site is built with every warning an error, and its links lead somewhere; the boards on it need no other file."""

import importlib.util
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


class _Page(HTMLParser):
    """What a page refers to, and what can be referred to in it."""

    def __init__(self, text):
        super().__init__()
        self.links, self.ids = [], set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.links += [given[name] for name in ("href", "src") if given.get(name)]
        self.ids |= {given[name] for name in ("id", "name") if given.get(name)}


@pytest.mark.slow
@pytest.mark.skipif(not importlib.util.find_spec("mkdocs"), reason="pip install -e '.[docs]' (Python 3.11 on)")
def test_it_builds_without_warnings_and_dead_links(tmp_path):
    site = tmp_path / "site"
    command = [sys.executable, "-W", "ignore", "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    pages = {file.resolve(): _Page(file.read_text(encoding="utf-8")) for file in site.rglob("*.html")}
    assert len(pages) > 20
    dead = []
    for file, page in pages.items():
        if file.name == "404.html":  # it is served at any address
            continue
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or link.startswith("data:"):
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file() or (
                parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].ids
            ):
                dead.append(f"{file.relative_to(site.resolve())}: {link}")
    assert not [link for link in dead if "__" not in link], dead[:20]
    loaded = [link for page in pages.values() for link in page.links if re.search(r"//(unpkg|cdn|fonts\.g)", link)]
    assert not loaded  # nothing comes from elsewhere


def test_every_page_is_in_the_menu_and_every_picture_has_words():
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    named = set(re.findall(r"[\w-]+\.md", str(yaml.safe_load(text)["nav"])))
    assert named == {file.name for file in DOCS.glob("*.md")}
    for file in DOCS.glob("*.md"):
        assert "![](" not in file.read_text(encoding="utf-8"), file


def test_boards_are_one_file_without_paths():
    for file in (DOCS / "boards").glob("*.html"):
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"<(script|link|img)[^>]+(src|href)=\"?http", text) and "/tmp/" not in text
