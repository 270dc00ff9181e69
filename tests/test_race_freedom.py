"""No race in any schedule: proved by SentryWard for small fixed sizes, from nvcc's PTX.

It checks races and barriers, not addresses (the SIMT runtime's checker does) and not values. A few
kernels always, the rest with ``-m simt_full``. See race_freedom.py.
"""

from __future__ import annotations

import importlib.util

import pytest

from shared import CHECKOUT

if not (CHECKOUT / "benchmarks").is_dir():
    pytest.skip("no benchmarks beside these tests", allow_module_level=True)

from benchmarks.cuda_static.model import sources
from benchmarks.cuda_static.toolkit import tool
from race_freedom import (
    Argument,
    Launch,
    Prover,
    entries_of,
    filters,
    no_view,
    numbers,
    pointer,
    span,
    specialise,
    view,
    view_with_strides,
)

needs_prover = pytest.mark.skipif(
    not (tool("nvcc") and importlib.util.find_spec("sentryward")),
    reason='no nvcc, or SentryWard is not installed (pip install ".[verify]")',
)


def up(count: int, size: int) -> int:
    return -(-count // size)


def convolve(warps: int, is_backward: bool, has_quads: bool, *shape: int) -> Launch:
    """convolve of conv3x3.cu; shape N, IC, IH, IW, OC."""
    n, ic, ih, iw, oc = shape
    bottom, top = (n, ic, ih, iw), (n, oc, ih - 2, iw - 2)
    source, result = (top, bottom) if is_backward else (bottom, top)
    bias, relu = span(None if is_backward else "bias", oc), numbers("?3xf", not is_backward, 0.1)
    pixels = result[0] * result[2] * result[3]
    booleans = [str(one).lower() for one in (is_backward, has_quads)]
    return Launch(
        "conv3x3",
        f"convolve<{warps}, {', '.join(booleans)}>",
        (up(pixels, 128), up(result[1], 64 * warps), 1),
        [view("source", *source), filters("weight", oc, ic, 3), bias, relu, view("to", *result)],
    )


def correlate(warps: int, has_quads: bool, taps: int, split: int, *shape: int) -> Launch:
    """correlate of conv3x3.cu, the first `taps` of nine, over splits of so many pixels."""
    n, ic, ih, iw, oc = shape
    return Launch(
        "conv3x3",
        f"correlate<{warps}, {str(has_quads).lower()}>",
        (up(ic, 128) * up(oc, 64 * warps), taps, up(n * (ih - 2) * (iw - 2), split)),
        [
            *(view("bottom", n, ic, ih, iw), view("top_diff", n, oc, ih - 2, iw - 2)),
            *(numbers("i", split), pointer("partial")),
        ],
    )


def elementwise(source: str, kernel: str, shape: tuple[int, ...], *arguments: Argument) -> Launch:
    """A thread for each element of `shape`, (N, C, H, W)."""
    n, c, h, w = shape
    grid = (up(w * c, 256), n * h, 1)
    return Launch(source, kernel, grid, [numbers("4I", *shape), *arguments])


def flat(source: str, kernel: str, size: int, *arguments: Argument) -> Launch:
    return Launch(source, kernel, (up(size, 256), 1, 1), [numbers("q", size), *arguments])


BLOB, POOLED = (2, 3, 5, 4), (2, 3, 3, 2)
CROPPED, CONCAT = (2, 3, 3, 2), (2, 7, 3, 2)
SKIP = Argument(view("skip", 2, 3, 3, 2).data + numbers("2i", 1, 1).data, {0: "skip"})
SLICE = numbers("3i", 1, 1, 4)
RELU = numbers("?3xf", True, 0.1)
SOLVER = numbers("4fi?3x", 0.1, 0.9, 0.01, 1, 0, True)
ADAM = numbers("6fi?3x", 0.1, 0.9, 0.999, 1e-8, 0.01, 1, 0, True)

# At least three steps, so that both buffers of a product are filled again; several blocks.
ALWAYS = [
    convolve(1, False, True, 1, 4, 5, 5, 8),
    correlate(1, True, 2, 24, 1, 4, 7, 8, 8),
    Launch("conv3x3", "add_splits", (3, 1, 1), [
        *(numbers("q", 300), pointer("partial"), numbers("i", 4), numbers("?", True)),
        pointer("to"),
    ]),
    Launch("conv3x3", "sum_channels", (1, 4, 1), [
        *(view("top_diff", 1, 5, 6, 7), pointer("partial")),
    ]),
    elementwise("crop_concat", "crop", CROPPED, view("bottom", *BLOB), SLICE, view("top", *CONCAT)),
    elementwise("crop_concat", "uncrop", BLOB, view("top_diff", *CONCAT), SLICE,
                numbers("?", True), view("bottom_diff", *BLOB)),
    flat("dropout", "draw", 300, numbers("2QI4x", 1, 2, 3), numbers("I", 1 << 31),
         span("mask", 1200)),
    elementwise("dropout", "drop", BLOB, view("bottom", *BLOB), view("mask", *BLOB),
                numbers("f", 2), view("top", *BLOB)),
    elementwise("max_pool2x2", "pool", POOLED, view("bottom", *BLOB), view("top", *POOLED)),
    elementwise("max_pool2x2", "unpool", POOLED, view("bottom", *BLOB), view("top_diff", *POOLED),
                numbers("?", True), SKIP, RELU, view("bottom_diff", *BLOB)),
    elementwise("relu", "scale_negative", BLOB, view("sign", *BLOB), view("source", *BLOB),
                numbers("f", 0.1), view("to", *BLOB)),
    elementwise("softmax", "exponentials", (2, 1, 5, 4), numbers("i", 3), view("bottom", *BLOB),
                view("top", *BLOB)),
    elementwise("softmax", "jacobian", (2, 1, 5, 4), numbers("i", 3), view("top", *BLOB),
                view("top_diff", *BLOB), view("bottom_diff", *BLOB)),
    flat("sgd", "update", 300, SOLVER, *map(pointer, ("weight", "diff", "history"))),
    flat("adam", "update", 300, ADAM, *map(pointer, ("weight", "diff", "history", "history2"))),
]  # fmt: skip
FULL = [
    convolve(1, False, False, 1, 3, 7, 8, 5),
    convolve(1, False, True, 1, 8, 14, 14, 68),
    convolve(2, False, True, 1, 8, 7, 8, 68),
    convolve(2, False, False, 1, 3, 5, 5, 65),
    convolve(1, True, False, 1, 3, 5, 5, 5),
    convolve(1, True, True, 1, 8, 5, 5, 8),
    convolve(2, True, False, 1, 66, 4, 4, 3),
    convolve(2, True, True, 1, 68, 4, 4, 12),
    correlate(1, False, 9, 8, 1, 3, 5, 5, 5),
    correlate(1, False, 1, 24, 1, 3, 7, 7, 5),
    correlate(2, False, 1, 24, 1, 3, 7, 7, 65),
    correlate(2, True, 2, 24, 1, 4, 8, 9, 132),
]
# Kernels that SentryWard cannot prove, and why.
UNPROVED: dict[tuple[str, str], str] = {}


@pytest.fixture(scope="module")
def prover(tmp_path_factory):
    return Prover(tmp_path_factory.mktemp("race_freedom"))


def proofs(launches: list[Launch], *marks: pytest.MarkDecorator) -> list:
    return [pytest.param(one, marks=marks, id=f"{one.source}: {one.kernel}") for one in launches]


@needs_prover
@pytest.mark.parametrize("launch", [*proofs(ALWAYS), *proofs(FULL, pytest.mark.simt_full)])
def test_no_race_in_any_schedule(prover, launch):
    answer = prover.prove(launch)
    assert answer["result"] == "race_free", answer["diagnostics"]
    assert answer["checks"]["memory"] == answer["checks"]["synchronization"] == "passed"
    assert answer["counts"]["memory_accesses"] > 0


@pytest.mark.skipif(not tool("nvcc"), reason="no nvcc: there is no PTX")
@pytest.mark.parametrize("source", sources())
def test_no_kernel_is_forgotten(prover, source):
    launched = {one.kernel for one in [*ALWAYS, *FULL] if one.source == source}
    unproved = {kernel for of, kernel in UNPROVED if of == source}
    assert launched | unproved == prover.kernels(source)
    assert not launched & unproved


# --- planted faults ---


@needs_prover
def test_a_missing_barrier_is_found(prover):
    launch = correlate(1, True, 1, 24, 1, 4, 7, 7, 8)
    answer = prover.prove(launch, without_barriers=True)
    assert answer["result"] == "potential_race"
    assert answer["checks"]["memory"] != "passed"


@needs_prover
def test_two_blocks_that_write_the_same_are_found(prover):
    rows_alike = view_with_strides("to", BLOB, (0, 0, 3))
    arguments = [view("sign", *BLOB), view("source", *BLOB), numbers("f", 0.1), rows_alike]
    answer = prover.prove(elementwise("relu", "scale_negative", BLOB, *arguments))
    assert answer["result"] == "potential_race"


# --- specialisation ---

PTX = """.version 9.0

.entry _Z1k4View(
\t.param .align 8 .b8 _Z1k4View_param_0[16],
\t.param .f32 _Z1k4View_param_1
)
.maxntid 32
{
\tld.param.v2.u64 \t{%rd1, %rd2}, [_Z1k4View_param_0];
\tld.param.u8 \t%rs1, [_Z1k4View_param_0+8];
\tld.param.f32 \t%f1, [_Z1k4View_param_1];
\tret;
}
"""


def test_specialised_ptx():
    entries = entries_of(PTX)
    arguments = [span("x", 258), numbers("f", -1.5)]
    kernel = specialise(entries[""], entries["_Z1k4View"], arguments)
    assert kernel.pointers == ["x"]
    assert (
        kernel.ptx
        == """.version 9.0

.visible .entry kernel(
\t.param .u64 x
)
.maxntid 32
{
\tld.param.u64 %rd1, [x];
\tmov.u64 %rd2, 258;
\tmov.u16 %rs1, 2;
\tmov.f32 %f1, 0fBFC00000;
\tret;
}
"""
    )


def test_arguments_that_do_not_fit_are_an_error():
    entry = entries_of(PTX)["_Z1k4View"]
    with pytest.raises(ValueError, match="has 16 bytes, not 48"):
        specialise("", entry, [no_view(), numbers("f", 1)])
    with pytest.raises(ValueError, match="shorter"):
        specialise("", entry, [span("x", 1)])
    address = entry.replace("ret;", "mov.b64 %rd3, _Z1k4View_param_0;")
    with pytest.raises(ValueError, match="otherwise"):
        specialise("", address, [span("x", 1), numbers("f", 1)])
