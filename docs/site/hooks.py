"""Hooks of the site: pages from outside docs/, and links that lead outside it.

CONTRIBUTING.md and CHANGELOG.md stay at the top of the repository, where people look for them; on
the site they are pages like any other. A link to a file that is not on the site becomes its text.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File

_PAGES = {"contributing.md": "CONTRIBUTING.md", "changes.md": "CHANGELOG.md"}
_LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)#:\s]+)(#[^)]*)?\)")


def on_files(files, config):
    root = Path(config.config_file_path).parent
    for page, source in _PAGES.items():
        text = (root / source).read_text(encoding="utf-8").replace("](docs/", "](")
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown, page, config, files):
    sources = {source: name for name, source in _PAGES.items()}

    def on_site(match):
        text, link, anchor = match[1], match[2], match[3] or ""
        target = posixpath.normpath(posixpath.join(posixpath.dirname(page.file.src_uri), link))
        outside = target.removeprefix("../")
        if outside in sources:  # the same page, under its name on the site
            target = sources[outside]
        if files.get_file_from_path(target) is None:
            return text
        folder = posixpath.dirname(page.file.src_uri) or "."
        return f"[{text}]({posixpath.relpath(target, folder)}{anchor})"

    return _LINK.sub(on_site, markdown)
