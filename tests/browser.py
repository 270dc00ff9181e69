"""A real browser for tests of HTML: headless, with an empty profile and nothing to reach."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--hide-scrollbars",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--host-resolver-rules=MAP * ~NOTFOUND",
)


def browser() -> str:
    """Path of the browser; skips the test where there is none."""
    given = os.environ.get("UNET_NATIVE_BROWSER")
    found = given or next((path for name in _NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser: install {_NAMES[0]}, or name one in UNET_NATIVE_BROWSER")
    return found


def _run(tmp_path: Path, page: Path, *options: str) -> str:
    command = [browser(), *_FLAGS, f"--user-data-dir={tmp_path / 'profile'}", *options]
    done = subprocess.run(
        [*command, page.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    return done.stdout


def screenshot(tmp_path: Path, page: Path, width: int, height: int, dark: bool = False) -> Path:
    """A PNG of the top of a page."""
    path = tmp_path / "screenshot.png"
    scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    _run(tmp_path, page, scheme, f"--window-size={width},{height}", f"--screenshot={path}")
    return path


def ask(
    tmp_path: Path, page: Path, question: str, *, width: int, scripts: bool, dark: bool = False
) -> object:
    """What a piece of JavaScript answers about a page that is shown `width` px wide.

    question  the body of a function of `document` and `window`, those of the page
    scripts   whether the page's own scripts may run
    """
    # The browser's window cannot be as narrow as a telephone; a frame within it can.
    sandbox = "" if scripts else 'sandbox="allow-same-origin"'
    wrapper = tmp_path / "wrapper.html"
    wrapper.write_text(
        "<!DOCTYPE html><meta charset='utf-8'>"
        f'<iframe {sandbox} width="{width}" height="900" style="border:0" '
        f'srcdoc="{html.escape(page.read_text(encoding="utf-8"), quote=True)}"></iframe>'
        "<pre></pre><script>document.querySelector('iframe').addEventListener('load', (event) => {"
        "const look = (document, window) => {" + question + "};"
        "const frame = event.target; let answer;"
        "try { answer = { is: look(frame.contentDocument, frame.contentWindow) }; }"
        "catch (error) { answer = { error: String(error) }; }"
        "frame.remove();"
        "document.querySelector('pre').textContent = JSON.stringify(answer);});</script>",
        encoding="utf-8",
    )
    scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    dumped = _run(tmp_path, wrapper, scheme, "--window-size=1400,1000", "--dump-dom")
    found = re.search(r"<pre>(.+?)</pre>", dumped, re.DOTALL)
    assert found, "the page was not loaded"
    answer = json.loads(html.unescape(found[1]))
    assert "error" not in answer, answer
    return answer["is"]
