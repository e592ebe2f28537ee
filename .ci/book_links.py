"""Every link of a book of mdbook leads to a page of it, and to a heading that is there.

    python .ci/book_links.py FOLDER

Links of the Markdown are looked at by tests/it/tidy.rs; this is for what mdbook makes of them.
"""

import re
import sys
from html.parser import HTMLParser
from pathlib import Path


class Page(HTMLParser):
    """The links of a page, and the names that links may lead to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.names: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if value and name == "id":
                self.names.add(value)
            elif value and name in ("href", "src"):
                self.links.append(value)


def broken(book: Path) -> list[str]:
    # All pages in one, and the page for a server's 404: their links are those of the others.
    paths = [path for path in book.rglob("*.html") if path.name not in ("print.html", "404.html", "toc.html")]
    pages = {path: Page(path) for path in paths}
    problems = []
    for path, page in pages.items():
        for link in page.links:
            file, _, name = link.partition("#")
            target = (path.parent / file).resolve() if file else path
            if re.match(r"[a-z]+:", link):
                continue
            if not target.exists() or (name and target in pages and name not in pages[target].names):
                problems.append(f"{path.relative_to(book)}: {link}")
    assert len(pages) > 10, f"{book} is no book"
    return problems


if __name__ == "__main__":
    found = broken(Path(sys.argv[1]).resolve())
    sys.exit("\n".join(["links that lead nowhere:", *found]) if found else 0)
