"""The frame of a report: one HTML file that needs no other, no server and no script.

Text becomes HTML in the functions of this package only, and through :func:`text`; what they return
is HTML. The page forbids itself to load anything (Content-Security-Policy), so a name in a data set
can at worst look odd.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Section", "cards", "facts", "lines", "page", "paragraph", "table", "text"]

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def text(value: object) -> str:
    """Any text as HTML, within elements and attributes alike."""
    return html.escape(str(value), quote=True)


@dataclass(frozen=True)
class Section:
    """A part of a page. ident: unique in the page; title: plain text; content: HTML."""

    ident: str
    title: str
    content: str

    def html(self) -> str:
        return (
            f'<section aria-labelledby="{self.ident}">\n<h2 id="{self.ident}">{text(self.title)}'
            f"</h2>\n{self.content}\n</section>"
        )


def page(title: str, badge: str, headline: str, top: str, sections: Sequence[Section]) -> str:
    """A whole file.

    title, badge, headline: plain text; the badge says in a word or two what state things are in.
    top: HTML before the first section. Sections without content are left out.
    """
    shown = [section for section in sections if section.content]
    links = "".join(f'<li><a href="#{s.ident}">{text(s.title)}</a></li>' for s in shown)
    parts = "\n".join(section.html() for section in shown)
    marked = f' <span class="badge">{text(badge)}</span>' if badge else ""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>{text(title)}</title>
<style>
{_beside("page.css")}</style>
</head>
<body>
<header>
<h1>{text(title)}{marked}</h1>
<p class="headline">{text(headline)}</p>
<nav aria-label="Contents"><ul>{links}</ul></nav>
</header>
<main>
{top}
{parts}
</main>
<script>
{_beside("page.js")}</script>
</body>
</html>
"""


def paragraph(content: str, kind: str = "") -> str:
    """Plain text as a paragraph. kind: a class of page.css."""
    of_kind = f' class="{kind}"' if kind else ""
    return f"<p{of_kind}>{text(content)}</p>"


def cards(values: Iterable[tuple[str, str, str]]) -> str:
    """The numbers that matter: (name, value, remark)."""
    items = "".join(
        f"<div><dt>{text(name)}</dt><dd><strong>{text(value)}</strong> {text(remark)}</dd></div>"
        for name, value, remark in values
    )
    return f'<dl class="cards">{items}</dl>' if items else ""


def facts(pairs: Iterable[tuple[str, object]]) -> str:
    """Names and values, one pair a line."""
    items = "".join(f"<div><dt>{text(n)}</dt><dd>{text(v)}</dd></div>" for n, v in pairs)
    return f'<dl class="facts">{items}</dl>' if items else ""


def lines(items: Iterable[str], kind: str = "") -> str:
    """A list of sentences."""
    listed = "".join(f"<li>{text(item)}</li>" for item in items)
    of_kind = f' class="{kind}"' if kind else ""
    return f"<ul{of_kind}>{listed}</ul>" if listed else ""


def table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, caption: str, total: bool = False
) -> str:
    """A table whose first column names the rows. total: the last row sums up the others."""
    head = "".join(f'<th scope="col">{text(column)}</th>' for column in columns)
    drawn = [
        f'<tr><th scope="row">{text(row[0])}</th>'
        + "".join(f"<td>{text(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows
    ]
    foot = f"<tfoot>{drawn.pop()}</tfoot>" if total else ""
    return (
        # A box that scrolls must be reachable with the keyboard.
        f'<div class="scroll" tabindex="0" role="region" aria-label="{text(caption)}"><table>'
        f"<caption>{text(caption)}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(drawn)}</tbody>{foot}</table></div>"
    )


def _beside(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
