"""Ctrl-C and other signals during training: acknowledged at once, obeyed after the iteration."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

__all__ = ["Interrupt"]

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")


class Interrupt:
    """While its block runs, the first signal sets `received`, a second one ends the process.

    Python handles signals between two bytecodes of the main thread, that is, after the kernel that
    happens to run. Here a thread of its own waits for them, so that the user sees an answer at once
    whatever the main thread computes. Signals that are ignored (nohup) stay so. Outside the main
    thread nothing is installed.

    acknowledge  called with the signal's name on the first one
    leave        called with the signal's name just before a second one ends the process
    """

    def __init__(
        self,
        acknowledge: Callable[[str], None],
        leave: Callable[[str], None] = lambda name: None,
    ) -> None:
        self._acknowledge = acknowledge
        self._leave = leave
        self.received: signal.Signals | None = None
        self._handlers: dict[signal.Signals, object] = {}

    @property
    def exit_status(self) -> int:
        """What a shell expects of a program that a signal ended: 130 for Ctrl-C."""
        return 0 if self.received is None else 128 + self.received

    def __bool__(self) -> bool:
        return self.received is not None

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is not threading.main_thread():
            return self
        self._wait_end, self._wakeup_end = os.pipe()
        os.set_blocking(self._wakeup_end, False)
        for name in _SIGNALS:
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                self._handlers[number] = signal.signal(number, lambda *_: None)
        self._old_wakeup = signal.set_wakeup_fd(self._wakeup_end, warn_on_full_buffer=False)
        self._thread = threading.Thread(target=self._watch, name="signals", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if not self._handlers:
            return
        signal.set_wakeup_fd(self._old_wakeup)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        os.write(self._wakeup_end, b"\0")
        self._thread.join()
        os.close(self._wait_end)
        os.close(self._wakeup_end)

    def _watch(self) -> None:
        while number := os.read(self._wait_end, 1)[0]:
            if number not in self._handlers:
                continue
            received = signal.Signals(number)
            if self.received is None:
                self.received = received
                self._acknowledge(received.name)
            else:
                self._leave(received.name)
                os._exit(128 + number)
