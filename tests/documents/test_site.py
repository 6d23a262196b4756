"""The site builds without a warning, and a reader's browser asks nobody else for anything."""

import functools
import http.server
import os
import re
import subprocess
import sys
import threading
from html.parser import HTMLParser

import pytest
import yaml
from browser import browse
from native_build import REPOSITORY

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (REPOSITORY / "mkdocs.yml").exists(), reason="no checkout"),
]
# What a browser fetches by itself; links wait for a reader.
_FETCHED = {
    "script": ("src",),
    "img": ("src", "srcset"),
    "iframe": ("src",),
    "source": ("src", "srcset"),
    "object": ("data",),
    "embed": ("src",),
}
_LINKS_FETCHED = ("stylesheet", "icon", "preload", "prefetch", "preconnect", "dns-prefetch")
_ELSEWHERE = re.compile(r"\s*(?:https?:)?//")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=REPOSITORY,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return folder


class _Fetches(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        values = {key: value or "" for key, value in attrs}
        names = _FETCHED.get(tag, ())
        if tag == "link" and any(kind in values.get("rel", "") for kind in _LINKS_FETCHED):
            names = ("href",)
        self.found += [values[name] for name in names if name in values]


def test_pages_fetch_nothing_from_elsewhere(site):
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 25
    fetched = {}
    for page in pages:
        parser = _Fetches()
        parser.feed(page.read_text())
        fetched[page.name] = parser.found
    assert all(fetched.values())  # Each page loads its style sheets at least.
    assert not [f"{p}: {u}" for p, urls in fetched.items() for u in urls if _ELSEWHERE.match(u)]


@pytest.mark.parametrize("page", ["index.html", "api.html", "tutorials/training.html"])
def test_a_browser_asks_nobody_else(site, page, tmp_path):
    handler = functools.partial(_Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        here = f"http://127.0.0.1:{server.server_port}/"
        console, asked = browse(here + page, tmp_path)
        server.shutdown()
    assert console == []
    assert asked  # Style sheets and scripts of its own.
    assert not [url for url in asked if not url.startswith(here)]


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def test_style_sheets_fetch_nothing_from_elsewhere(site):
    sheets = [path.read_text() for path in site.rglob("*.css")]
    urls = [url for text in sheets for url in re.findall(r"url\(['\"]?([^)'\"]+)", text)]
    assert urls
    assert not [url for url in urls if _ELSEWHERE.match(url)]
    assert not [text for text in sheets if "@import" in text]


def test_nothing_asks_the_theme_to_load_more(site):
    """Its script fetches mermaid for diagrams, and a repository's figures where one is named."""
    for page in site.rglob("*.html"):
        assert 'class="mermaid"' not in page.read_text(), page
    assert "repo_url" not in (REPOSITORY / "mkdocs.yml").read_text()


def test_every_page_is_in_the_navigation(site):
    navigation = yaml.safe_load((REPOSITORY / "mkdocs.yml").read_text())["nav"]

    def pages(item):
        if isinstance(item, str):
            yield item
        else:
            for part in item.values() if isinstance(item, dict) else item:
                yield from pages(part)

    docs = REPOSITORY / "docs"
    written = {str(path.relative_to(docs)) for path in docs.rglob("*.md")}
    assert written | {"contributing.md", "changes.md"} == set(pages(navigation))
