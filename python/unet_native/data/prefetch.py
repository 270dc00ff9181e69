"""Making the next training tiles while the network computes."""

from __future__ import annotations

import atexit
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["Prefetcher"]


class Prefetcher:
    """Calls ``sample(k)`` for k = start, start + 1, ... in one thread, a few steps ahead.

    sample  a function of the iteration alone, such as :meth:`Sampler.sample`: a run that resumes
            at iteration k then gets the very samples it would have got
    stop    the iteration before which to end; None = never
    ahead   how many samples wait at most

    Use it in a ``with`` statement, or call :meth:`close`; samples come from iterating over it. What
    `sample` raises is raised where the sample is asked for. The thread ends with the program, also
    after Ctrl-C.
    """

    def __init__(
        self,
        sample: Callable[[int], Any],
        start: int = 0,
        stop: int | None = None,
        *,
        ahead: int = 2,
    ) -> None:
        self._sample = sample
        self._start, self._stop = start, stop
        self._queue: queue.Queue[tuple[bool, Any]] = queue.Queue(max(1, ahead))
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="prefetch", daemon=True)
        self._thread.start()
        # A thread inside the compiled core must not outlive the interpreter.
        atexit.register(self.close)

    def _work(self) -> None:
        iteration = self._start
        try:
            while self._stop is None or iteration < self._stop:
                if not self._put((True, self._sample(iteration))):
                    return
                iteration += 1
            self._put((False, StopIteration()))
        except BaseException as error:
            self._put((False, error))

    def _put(self, item: tuple[bool, Any]) -> bool:
        while not self._closing.is_set():
            try:
                self._queue.put(item, timeout=0.1)
            except queue.Full:
                continue
            return not self._closing.is_set()
        return False

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if self._closing.is_set():
            raise StopIteration
        good, item = self._queue.get()
        if good:
            return item
        self.close()
        raise item

    def close(self) -> None:
        """End the thread and drop what it has made."""
        atexit.unregister(self.close)
        self._closing.set()
        while True:
            try:
                self._queue.get_nowait()
            except queue.Empty:
                break
        self._thread.join()

    def __enter__(self) -> Prefetcher:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
