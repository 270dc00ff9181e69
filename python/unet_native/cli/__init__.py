"""The command line: ``unet-native COMMAND``.

One file per command, each with one function of the command's name. What a command computes with is
imported inside that function, so that ``unet-native --help`` and mistyped options answer at once.

Results go to stdout, progress, warnings and errors to stderr. Exit status:

    0    done
    1    a fault of this program
    2    something the user can mend; one sentence on stderr says what
    130  stopped by Ctrl-C or a signal
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence

__all__ = ["main", "run"]

DEBUG = "UNET_NATIVE_DEBUG"  # environment variable: if set, errors come with a traceback


def main() -> None:
    """Entry point of the ``unet-native`` script."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line (without the program's name); returns the exit status."""
    from unet_native.cli.app import build_app

    try:
        status = build_app()(list(arguments), prog_name="unet-native", standalone_mode=False)
        sys.stdout.flush()
        return status if isinstance(status, int) else 0
    except BrokenPipeError:
        # The reader has gone (`| head`): nothing may be written any more, also not at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        _say("stopped")
        return 130
    except Exception as error:
        if os.environ.get(DEBUG):
            raise
        status, text = _explain(error)
        if text:
            _say(text)
        return status


def _explain(error: Exception) -> tuple[int, str]:
    """Exit status and sentence for an error that ends a command."""
    from unet_native.errors import DeviceMemoryError, UserError

    if isinstance(error, UserError):
        return 2, str(error)
    if hasattr(error, "format_message"):  # Typer's usage errors
        command = getattr(getattr(error, "ctx", None), "command_path", "unet-native")
        text = error.format_message().rstrip(".")
        return 2, text and f"{text} (see {command} --help)"
    if isinstance(error, DeviceMemoryError):
        return 2, f"{error}: use a smaller --tile or --base-width, or --device cpu"
    if isinstance(error, MemoryError):
        return 2, "not enough memory: use a smaller --tile or --base-width, or a larger machine"
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        advice = "; free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        return 2, f"{place}{error.strerror or error}{advice}"
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return 1, f"internal error, please report it ({text}); set {DEBUG}=1 to see where"


def _say(text: str) -> None:
    print(f"unet-native: {text}", file=sys.stderr, flush=True)
