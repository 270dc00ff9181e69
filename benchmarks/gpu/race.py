"""Each pass of each layer on the device, cuDNN and PyTorch taking turns with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from benchmarks import timing
from benchmarks.gpu.cases import Case
from benchmarks.gpu.check import TOLERANCE, relative_error
from benchmarks.gpu.clock import Clock, Recorded
from benchmarks.gpu.cudnn import Cudnn, CudnnError, difference
from benchmarks.gpu.operands import memory
from benchmarks.gpu.pytorch import PyTorch
from unet_native.device_array import on_host
from unet_native.ops import Context

OURS, CUDNN, PYTORCH = "unet_native", "cuDNN", "PyTorch"


def race(
    cases: Iterable[Case],
    contexts: dict[str, Context],
    cudnn: Cudnn | None,
    pytorch: PyTorch | None,
    *,
    repeats: int,
    turns: int,
    say: Callable[[dict], object],
) -> list[dict]:
    """A row for each case and math, as page.py wants it; `say` is told each.

    Only operands of convolutions are alike everywhere: in the other cases there is no peer. A peer
    whose result differs, or which cannot do a case, is left out of its row, and `notes` says why.
    """
    rows, clock = [], Clock(next(iter(contexts.values())))
    for case in cases:
        for math, context in contexts.items():
            if math == "fp32" or case.has_math:
                rows.append(_row(case, math, context, clock, cudnn, pytorch, repeats, turns))
                say(rows[-1])
    return rows


def _row(
    case: Case,
    math: str,
    context: Context,
    clock: Clock,
    cudnn: Cudnn | None,
    pytorch: PyTorch | None,
    repeats: int,
    turns: int,
) -> dict:
    call = case.make(context)
    recorded = Recorded(call.run, context)
    recorded()
    result = on_host(next(iter(call.results.values())))
    runs: dict[str, Callable[[], list[float]]] = {OURS: lambda: clock.seconds(recorded, repeats)}
    notes: dict[str, str] = {}
    # What one reads from the other may differ by both errors.
    allowed = 2 * TOLERANCE[math]
    if case.has_math and cudnn is not None:
        try:
            chosen = cudnn.prepare(case, math)
        except CudnnError as error:
            notes[CUDNN] = str(error)
        else:
            error = difference(memory(result).reshape(-1), chosen["sample"])
            bits = "" if chosen["repeats"] else ", does not repeat"
            workspace = f"{chosen['workspace'] / 1e6:.0f} MB"
            notes[CUDNN] = f"{chosen['layout']} {chosen['algorithm']}, {workspace}{bits}"
            if error <= allowed:
                runs[CUDNN] = lambda: cudnn.seconds(repeats)
            else:
                notes[CUDNN] += f": computes something else, off by {error:.1e}"
    if case.has_math and pytorch is not None:
        error = relative_error(pytorch.prepare(case, math), result)
        if error <= allowed:
            runs[PYTORCH] = lambda: pytorch.seconds(repeats)
        else:
            notes[PYTORCH] = f"computes something else, off by {error:.1e}"
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(turns):
        for name, run in runs.items():
            seconds[name] += run()
    return {
        "layer": case.layer,
        "op": case.op,
        "pass": case.pass_name,
        "shape": case.shape,
        "math": math,
        "flop": case.flop,
        "traffic": case.traffic,
        "seconds": {name: timing.median(values) for name, values in seconds.items()},
        "spread": {name: [min(values), max(values)] for name, values in seconds.items()},
        "notes": notes,
    }
