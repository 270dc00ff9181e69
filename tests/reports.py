"""What the tests of reports share: a strict reader of HTML, and slices with scores."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np

from unet_native.evaluate import ScoredSlice

_VOID = {"meta", "link", "img", "input", "br"}
_SVG_EMPTY = {"line", "polyline", "polygon", "rect"}


class Page(HTMLParser):
    """A page that was read; raises AssertionError for tags that do not match.

    tags   (name, attributes) of all elements
    words  the text outside style and script, in one line
    """

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.source = source
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.rows: list[list[str]] = []
        self._open: list[str] = []
        self._texts: list[str] = []
        self._cell = False
        self.feed(source)
        self.close()
        assert not self._open, f"never closed: {self._open}"
        self.words = " ".join(" ".join(self._texts).split())

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th") and self.rows:
            self.rows[-1].append("")
            self._cell = True
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attributes):
        assert tag in _SVG_EMPTY or "svg" in self._open, f"<{tag}/> closes itself"
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self._open, f"</{tag}> closes nothing"
        assert self._open.pop() == tag, f"</{tag}> closes another element"
        if tag in ("td", "th"):
            self._cell = False

    def handle_data(self, data):
        if self._open and self._open[-1] not in ("style", "script"):
            self._texts.append(data)
            if self._cell:
                self.rows[-1][-1] += data

    def all(self, tag):
        """Attributes of every element of that name."""
        return [attributes for name, attributes in self.tags if name == tag]

    def row(self, name):
        """The cells after the first of the first row that begins with `name`."""
        return next(row[1:] for row in self.rows if row and row[0] == name)


def checked(path) -> Page:
    """A page that stands alone: what holds for every report, whatever is in it."""
    page = Page(path.read_text(encoding="utf-8"))
    assert page.source.startswith("<!DOCTYPE html>")
    assert [tag for tag, _ in page.tags].count("h1") == 1
    for image in page.all("img"):
        assert image["src"].startswith("data:image/png;base64,")
        assert image["alt"].strip()
    for link in page.all("a"):
        assert link["href"].startswith("#")
    idents = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(idents) == len(set(idents))
    targets = [a["href"][1:] for a in page.all("a")] + [a["for"] for a in page.all("label")]
    assert set(targets) <= set(idents)
    for _, attributes in page.tags:
        for name in ("src", "href", "srcset", "action", "poster", "data"):
            assert attributes.get(name, "#")[:5] in ("data:", *(f"#{i}"[:5] for i in [*idents, ""]))
        assert not any(name.startswith("on") for name in attributes), "a script in an attribute"
    assert not re.search(r"(https?|file|ftp)://|@import|url\(", page.source)
    assert "Content-Security-Policy" in page.source
    assert not re.search(r"\b(None|NaN|Infinity)\b", page.words)
    return page


def slices(count=3, size=(60, 70), classes=2, seed=0, noise=0.25):
    """Discs in the truth, and predictions that get worse from slice to slice."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: size[0], : size[1]]
    made = []
    for k in range(count):
        labels = np.zeros(size, np.uint8)
        for number in range(8):
            at, radius = rng.uniform(0, size), rng.uniform(4, 10)
            labels[np.hypot(y - at[0], x - at[1]) < radius] = 1 + number % (classes - 1)
        scores = np.eye(classes)[labels].transpose(2, 0, 1) * 1.5
        scores += rng.normal(0, noise * (k + 1), scores.shape)
        likely = np.exp(scores)
        probabilities = (likely / likely.sum(axis=0)).astype(np.float32)
        made.append(ScoredSlice(f"slice{k}", probabilities, labels))
    return made
