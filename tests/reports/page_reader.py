"""Reads a report's page as strictly as no browser does: every tag closed, every attribute known, nothing fetched."""

from __future__ import annotations

from html.parser import HTMLParser

_VOID = frozenset({"meta", "link"})
_TAGS = """html head meta link title style body header h1 dl div dt dd aside p ul li nav a main section h2 small table
caption thead tbody tr th td code meter span footer"""
_ATTRIBUTES = """lang charset http-equiv content name rel href id class scope min max value aria-label aria-hidden"""
_KNOWN_TAGS, _KNOWN_ATTRIBUTES = frozenset(_TAGS.split()), frozenset(_ATTRIBUTES.split())


class PageReader(HTMLParser):
    """The tables of a page by section, its texts, and what was wrong with it."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tables: dict[str, list[list[str]]] = {}
        self.captions: dict[str, str] = {}
        self.texts: list[str] = []
        self.links: list[str] = []
        self.wrong: list[str] = []
        self._open: list[str] = []
        self._section = ""
        self.feed(page)
        self.close()
        if self._open:
            self.wrong.append(f"never closed: {self._open}")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """A tag opens: one of those that the page is made of, with attributes that it has."""
        values = dict(attrs)
        if tag not in _KNOWN_TAGS:
            self.wrong.append(f"tag {tag}")
        self.wrong += [f"attribute {name} of {tag}" for name in values if name not in _KNOWN_ATTRIBUTES]
        if "href" in values:
            self.links.append(values["href"] or "")
        if tag == "section":
            self._section = values.get("id") or ""
        elif tag == "tr":
            self.tables.setdefault(self._section, []).append([])
        elif tag in ("td", "th"):
            self.tables[self._section][-1].append("")
        if tag not in _VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """A tag closes: the one that was opened last."""
        if not self._open or self._open.pop() != tag:
            self.wrong.append(f"/{tag} closes nothing")

    def handle_data(self, data: str) -> None:
        """Text: of a cell, of a caption, of anything."""
        if "style" in self._open:
            return
        self.texts.append(data)
        if "caption" in self._open:
            self.captions[self._section] = data
        elif {"td", "th"} & set(self._open):
            self.tables[self._section][-1][-1] += data

    def handle_comment(self, data: str) -> None:
        """The page has none."""
        self.wrong.append(f"comment {data[:40]}")

    def handle_pi(self, data: str) -> None:
        """Nor processing instructions."""
        self.wrong.append(f"instruction {data[:40]}")

    def unknown_decl(self, data: str) -> None:
        """Nor sections of any other kind."""
        self.wrong.append(f"declaration {data[:40]}")
