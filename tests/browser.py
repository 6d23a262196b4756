"""What Chromium says and asks for while it shows a page."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest


def chromium() -> str:
    """The program; without it the test is skipped, and in CI fails."""
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        outcome = pytest.fail if os.environ.get("CI") else pytest.skip
        outcome("no Chromium on PATH: install chromium")
    assert found is not None
    return found


def browse(url: str, folder: Path) -> tuple[list[str], set[str]]:
    """What Chromium says on the page's console, and what the page asks the network for.

    Requests to 127.0.0.1 are sent, all others only asked for.
    """
    log = folder / "net.json"
    quiet = ("background-networking", "component-update", "sync", "quic", "gpu")
    done = subprocess.run(
        [
            *(chromium(), "--headless", "--no-sandbox", "--no-first-run"),
            "--enable-logging=stderr",
            *(f"--disable-{name}" for name in quiet),
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            *(f"--user-data-dir={folder / 'profile'}", f"--log-net-log={log}"),
            *(f"--screenshot={folder / 'page.png'}", "--window-size=1100,3000"),
            url,
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert (folder / "page.png").stat().st_size > 20_000
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    asked = [event.get("params", {}) for event in json.loads(log.read_text())["events"]]
    # The browser's own errands have no origin.
    pages = [a["url"] for a in asked if a.get("initiator", "not an origin") != "not an origin"]
    return console, {url for url in pages if not url.startswith(("file:", "data:"))}
