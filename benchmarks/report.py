"""Writes measured tables into benchmarks/README.md, each between markers of its own."""

from __future__ import annotations

import datetime
import re
from pathlib import Path

README = Path(__file__).with_name("README.md")


def table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def write_section(
    key: str, title: str, notes: list[str], header: list[str], rows: list[list[str]]
) -> None:
    """Replaces the section `key` of the README, or appends it."""
    begin, end = f"<!-- begin {key} -->", f"<!-- end {key} -->"
    date = datetime.datetime.now(tz=datetime.timezone.utc).strftime("%Y-%m-%d")
    body = "\n\n".join([f"## {title}", *notes, f"Measured {date}.", table(header, rows)])
    section = f"{begin}\n{body}\n{end}"
    text = README.read_text(encoding="utf-8")
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    if pattern.search(text):
        text = pattern.sub(lambda _: section, text)
    else:
        text = text.rstrip() + "\n\n" + section + "\n"
    README.write_text(text, encoding="utf-8")
