"""What was measured, as a page and as JSON.

A measurement is one dict:

    machine   facts by name; peers  versions by name; tile, width, repeats, turns
    checks    [{case, math, error, repeats}]
    layers    [{layer, op, pass, shape, math, flop, traffic, seconds, spread, notes}]
    whole     [{mode, math, seconds, spread, notes}]
    remarks   sentences

where `seconds` (medians) and `spread` (least and most) are by competitor.
"""

from __future__ import annotations

from typing import Any

from benchmarks.gpu.gpus import MATHS, known
from benchmarks.gpu.network import PASSES
from benchmarks.gpu.race import CUDNN, OURS, PYTORCH
from benchmarks.report import table

#: Least speed that is wanted, as a multiple of the peer's: of cuDNN's best over all 3x3
#: convolutions of a pass, of PyTorch's over a whole step.
WANTED_OF_CUDNN = {"fp32": 0.8, "tf32": 0.7, "bf16": 0.7}
WANTED_OF_PYTORCH = 1.0


def verdicts(measured: dict[str, Any]) -> list[str]:
    """One sentence for each target that this measurement can judge, met or MISSED."""
    said = []
    for math in MATHS:
        for pass_name in PASSES:
            rows = [
                row
                for row in measured["layers"]
                if (row["op"], row["math"], row["pass"]) == ("conv3x3", math, pass_name)
            ]
            if rows and all(CUDNN in row["seconds"] for row in rows):
                ours, theirs = (sum(row["seconds"][who] for row in rows) for who in (OURS, CUDNN))
                what = f"3x3 convolutions, {pass_name}, {math}: speed in that of cuDNN's best"
                said.append(_verdict(what, theirs / ours, WANTED_OF_CUDNN[math]))
    for row in measured["whole"]:
        if row["mode"] == "step" and PYTORCH in row["seconds"]:
            ratio = row["seconds"][PYTORCH] / row["seconds"][OURS]
            said.append(
                _verdict(f"step, {row['math']}: speed in PyTorch's", ratio, WANTED_OF_PYTORCH)
            )
    return said


def _verdict(what: str, value: float, wanted: float) -> str:
    return f"{what} {value:.2f}, wanted {wanted:.2f}, " + ("met" if value >= wanted else "MISSED")


def page(measured: dict[str, Any]) -> str:
    """benchmarks/gpu.md."""
    tile, width = measured["tile"], measured["width"]
    machine = [f"- {name}: {value}" for name, value in measured["machine"].items()]
    machine += [f"- {name}: {version}" for name, version in measured["peers"].items()]
    sections = [
        f"# The {tile}-pixel network, width {width}, on a GPU",
        "\n".join(machine),
        _METHOD.format(**measured),
        "\n".join(f"- {line}" for line in (*verdicts(measured), *measured["remarks"])),
        f"## Whole network\n\n{_whole_table(measured)}",
    ]
    for math in MATHS:
        rows = [row for row in measured["layers"] if row["math"] == math]
        if rows:
            sections.append(f"## Each pass, {math}\n\n{_layer_table(rows, measured)}")
    sections.append(f"## Checks\n\n{_check_table(measured['checks'])}")
    return "\n\n".join(section for section in sections if section) + "\n"


_METHOD = """\
Every result was checked against the CPU, and repeated bit for bit, before anything was timed.

- Layers: medians of {turns} turns of {repeats} repetitions, the competitors taking turns, between
  two events on the GPU, whose caches were flushed before each; ours launched as a recorded graph.
- TFLOP/s count the operations of the direct sums. Roof: the least time by the published peaks
  ([roofline.md](roofline.md)) over ours. Ratios: the peer's time over ours, above 1 we are faster.
- cuDNN is its fastest algorithm, of all in both layouts with up to 1 GB of workspace (cudnnFind).
  In fp32 TF32 is forbidden, in tf32 allowed; in bf16 its blobs have 16 bits, ours 32.
- PyTorch is eager, channels last, with cudnn.benchmark, TF32 and bf16 (autocast) as above.
- Whole network: the host's clock, each run with its result on the host."""


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.3f}" if seconds < 0.01 else f"{seconds * 1e3:.1f}"


def _ratio(seconds: dict[str, float], peer: str) -> str:
    return f"{seconds[peer] / seconds[OURS]:.2f}" if peer in seconds else ""


def _roof(row: dict[str, Any], measured: dict[str, Any]) -> str:
    gpu = known(str(measured["machine"].get("GPU", "")))
    if gpu is None:
        return ""
    ideal = gpu.ideal_seconds(row["flop"], row["traffic"], row["math"])
    return f"{ideal / row['seconds'][OURS]:.0%}"


def _layer_table(rows: list[dict[str, Any]], measured: dict[str, Any]) -> str:
    header = ["layer", "pass", "shape", "ms", "TFLOP/s", "roof", "cuDNN ms", "x cuDNN"]
    header += ["its best", "x PyTorch"]
    body = []
    for row in rows:
        seconds = row["seconds"]
        speed = f"{row['flop'] / seconds[OURS] / 1e12:.1f}" if row["flop"] else ""
        peer = _ms(seconds[CUDNN]) if CUDNN in seconds else ""
        cells = [row["layer"], row["pass"], row["shape"], _ms(seconds[OURS]), speed]
        cells += [_roof(row, measured), peer, _ratio(seconds, CUDNN)]
        body.append([*cells, row["notes"].get(CUDNN, ""), _ratio(seconds, PYTORCH)])
    return table(header, body)


def _whole_table(measured: dict[str, Any]) -> str:
    body = []
    for row in measured["whole"]:
        for name, seconds in row["seconds"].items():
            low, high = row["spread"][name]
            span = f"{_ms(low)} - {_ms(high)}"
            ratio = f"{seconds / row['seconds'][OURS]:.2f}"
            body.append([row["mode"], row["math"], name, _ms(seconds), span, ratio])
        for name, note in row["notes"].items():
            body.append([row["mode"], row["math"], name, "", "", note])
    return table(["mode", "math", "competitor", "median ms", "min - max", "time / ours"], body)


def _check_table(checks: list[dict[str, Any]]) -> str:
    """The worst case of each math; the rest is in the JSON."""
    body = []
    for math in MATHS:
        of_math = [check for check in checks if check["math"] == math]
        if of_math:
            worst = max(of_math, key=lambda check: check["error"])
            body.append([math, str(len(of_math)), f"{worst['error']:.1e}", worst["case"]])
    return table(["math", "cases", "largest error", "of"], body)
