"""Seconds that a call takes on a device, and how much of that is the host's."""

from __future__ import annotations

from collections.abc import Callable

from unet_native._core import DeviceEvent, device_clear, device_wait

from unet_native.arena import allocate
from unet_native.ops import Context
from unet_native.replay import record

#: Larger than the caches of any GPU at hand, 96 MB at most.
FLUSHED = 256 << 20


class Recorded:
    """What `run` launches, recorded once and launched as a whole from then on."""

    def __init__(self, run: Callable[[], object], context: Context):
        self._graph = record(run, context)

    def __call__(self) -> None:
        self._graph.launch()


class Clock:
    """Times recorded calls, each with its operands in memory and nothing of them in a cache.

    Before each repetition `FLUSHED` bytes are cleared. That takes the device long enough for the
    host to launch the call behind it, so that between the two events lies the device's time only.
    """

    def __init__(self, context: Context, flushed: int = FLUSHED):
        self._context = context
        self._flushed = allocate(flushed, context)

    def seconds(self, call: Recorded, repeats: int) -> list[float]:
        """Of each repetition, after one to warm up. NaN on the SIMT runtime."""
        call()
        marks = []
        for _ in range(repeats):
            device_clear(self._context, self._flushed)
            begin = DeviceEvent(self._context)
            call()
            marks.append((begin, DeviceEvent(self._context)))
        device_wait(self._context)
        return [end.seconds_since(begin) for begin, end in marks]
