"""conv3x3 on a GPU: tensor cores, every tile, splits of the common dimension, 4-byte copies.

test_conv3x3.py runs the exact products over its shapes; here are all kinds of products by what the
plan (csrc/cuda/conv3x3_plan.h) chooses for devices of several sizes, in guarded and aligned memory.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

import reference
from closeness import assert_close
from conv3x3_passes import operands, run_passes
from places import SCHEDULES, assert_no_findings, devices
from shapes import shape_id
from unet_native import _core, ops
from unet_native.ops import Context

SIMT = [device for device in devices() if device.startswith("cuda-simt")]

pytestmark = pytest.mark.skipif(not SIMT, reason="built without UNET_NATIVE_SIMT")

# Relative to the largest magnitude, what is promised against exact sums.
PROMISED = {"fp32": 4e-6, "tf32": 2e-3, "bf16": 2e-2}
MATHS = list(PROMISED)
TENSOR_MATHS = ["tf32", "bf16"]
# Against the exact sums of rounded operands all are as good as float32 additions of this length.
TOLERANCE = 4e-6

# (N, IC, IH, IW, OC): channels in quads, which 16-byte copies bring; tiles that stick out
# everywhere, rows and images that end within a step, chunks of channels that are not full.
QUADS = [
    (1, 8, 3, 3, 4),
    (2, 8, 4, 3, 12),
    (1, 16, 3, 9, 64),
    (1, 20, 7, 13, 68),
    (3, 12, 5, 4, 72),
    (1, 64, 6, 9, 128),
    (2, 36, 4, 8, 132),
    (1, 132, 5, 6, 20),
]
# Whatever else: 4-byte copies.
ODD = [(1, 5, 4, 5, 3), (1, 9, 6, 17, 17), (2, 6, 6, 5, 33), (1, 30, 5, 8, 65), (2, 18, 3, 3, 2)]


def rounded(array, math):
    """float32 as an operand of a product sees it: tf32 ties away from zero, bf16 ties to even."""
    bits = np.ascontiguousarray(array).view(np.uint32)
    if math == "tf32":
        bits = (bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000)
    if math == "bf16":
        bits = (bits + np.uint32(0x7FFF) + (bits >> 16 & 1)) & np.uint32(0xFFFF0000)
    return bits.view(np.float32)


run_direct = partial(run_passes, algorithm="direct", margin=4)  # in one split


def on_schedules(device, math, run):
    """The results of run(context), which four schedules with late and eager copies agree on."""
    context, first = Context(device=device, math=math), None
    for seed, schedule in enumerate(SCHEDULES):
        _core.simt_options(schedule, seed=seed, eager_copies=seed % 2 == 1)
        result = run(context)
        assert_no_findings()
        first = first or result
        for one, two in zip(first, result, strict=True):
            one, two = np.ascontiguousarray(one), np.ascontiguousarray(two)
            assert one.tobytes() == two.tobytes(), "schedules differ"
    return first


def check(shape, math, results):
    bottom, weight, bias, top_diff = operands(shape)

    def expected(math):
        x, w, dy = (rounded(array, math) for array in (bottom, weight, top_diff))
        return (
            reference.conv_forward(x, w, bias),
            reference.relu(reference.conv_forward(x, w, None), 0.25),
            reference.conv_backward_data(dy, w),
            reference.conv_backward_weights(x, dy)[0],
        )

    for result, same, exact in zip(results, expected(math), expected("fp32"), strict=False):
        assert_close(result, same, TOLERANCE)
        assert_close(result, exact, PROMISED[math])
    exact = reference.conv_backward_weights(bottom, top_diff)[1]  # of the bias: sums, no products
    assert_close(results[4], exact, 2e-6, floor=float(np.abs(top_diff).max()))


@pytest.fixture(autouse=True)
def ordinary_device():
    yield
    if SIMT:
        _core.simt_device()
        _core.simt_options()
        _core.simt_findings()


@pytest.mark.parametrize("math", TENSOR_MATHS)
@pytest.mark.parametrize("device", SIMT)
@pytest.mark.parametrize("shape", QUADS + ODD, ids=shape_id)
def test_values(shape, device, math):
    """All passes are the exact sums of rounded operands, and as close to the exact ones as said."""
    check(shape, math, on_schedules(device, math, lambda c: run_passes(shape, c, margin=4)))


@pytest.mark.parametrize("math", TENSOR_MATHS)
def test_memory_that_is_not_aligned(math):
    shape = (1, 16, 5, 7, 36)
    _core.simt_blocks()
    check(shape, math, run_passes(shape, Context(device=SIMT[-1], math=math), margin=3))
    assert {name.split()[-1] for name in _core.simt_blocks() if f" {math} " in name} == {
        "64x64",
        "any",
    }


# Multiprocessors for which the plan takes each tile, for 120 pixels and up to 128 channels.
TILES = {
    "fp32": {"128x128": 1, "128x64": 2},
    "tf32": {"128x128": 1, "128x64": 2, "64x64": 4},
    "bf16": {"128x128": 1, "128x64": 2, "64x64": 4},
}
EVERY_TILE = [(math, tile) for math in MATHS for tile in TILES[math]]


@pytest.mark.parametrize(("math", "tile"), EVERY_TILE)
@pytest.mark.parametrize("device", SIMT)
def test_every_tile(device, math, tile):
    """Each tile of each pass, at ragged sizes: rows, columns and the common dimension end in it."""
    _core.simt_device(multiprocessors=TILES[math][tile])
    _core.simt_blocks()
    shape = (1, 20, 12, 14, 124)
    check(
        shape,
        math,
        on_schedules(device, math, lambda c: run_direct(shape, c)),
    )
    forward = f"conv3x3_forward {math} {tile}"
    assert forward in _core.simt_blocks()
    shape = (1, 124, 10, 12, 20)  # the same sizes backwards
    check(
        shape,
        math,
        on_schedules(device, math, lambda c: run_direct(shape, c)),
    )
    assert f"conv3x3_backward_data {math} {tile}" in _core.simt_blocks()


@pytest.mark.parametrize(("math", "tile"), EVERY_TILE)
def test_every_tile_of_backward_weights(math, tile):
    shape = (1, 28, 9, 4, 124)  # 252 rows
    device = {"128x128": 2, "128x64": 4, "64x64": 8}[tile]
    _core.simt_device(multiprocessors=device)
    _core.simt_blocks()
    check(shape, math, on_schedules(SIMT[0], math, lambda c: run_passes(shape, c, margin=4)))
    assert f"conv3x3_backward_weights {math} {tile}" in _core.simt_blocks()


@pytest.mark.parametrize("math", MATHS)
@pytest.mark.parametrize("device", SIMT)
@pytest.mark.parametrize("shape", [(1, 132, 6, 7, 68), (2, 76, 5, 3, 130)], ids=shape_id)
def test_splits(shape, device, math):
    """A device with many multiprocessors splits few tiles: partial sums, then bias and ReLU."""
    _core.simt_device(multiprocessors=132)
    _core.simt_blocks()
    check(shape, math, on_schedules(device, math, lambda c: run_passes(shape, c, margin=4)))
    blocks = _core.simt_blocks()
    assert {"conv3x3_forward splits", "conv3x3_backward_data splits"} <= set(blocks)
    tiles = -(-shape[0] * (shape[2] - 2) * (shape[3] - 2) // 64) * -(-shape[4] // 64)
    forward = sum(n for name, n in blocks.items() if f"conv3x3_forward {math}" in name)
    assert forward > 2 * len(SCHEDULES) * tiles


@pytest.mark.parametrize("math", MATHS)
def test_direct_sums_are_never_split(math):
    """They go in one order whatever the shape and the device: a part has the bits of the whole."""
    bottom, weight, bias, _ = operands((1, 72, 9, 11, 72))
    context = Context(device=SIMT[0], math=math)
    _core.simt_device(multiprocessors=132)
    options = {"algorithm": "direct", "context": context}
    for direction in ("forward", "backward_data"):
        shape = ((1, 72, 9, 11), 72, direction)
        assert ops.conv3x3_workspace_bytes(*shape, **options) == 0
        assert ops.conv3x3_workspace_bytes(*shape, context=context) > 0
    whole = ops.conv3x3_forward(bottom, weight, bias, **options)
    for multiprocessors, (y, x, h, w) in [
        (1, (0, 0, 3, 3)),
        (7, (1, 2, 8, 9)),
        (132, (4, 0, 5, 11)),
    ]:
        _core.simt_device(multiprocessors=multiprocessors)
        part = ops.conv3x3_forward(bottom[:, :, y : y + h, x : x + w], weight, bias, **options)
        np.testing.assert_array_equal(part, whole[:, :, y : y + h - 2, x : x + w - 2])


@pytest.mark.parametrize("math", TENSOR_MATHS)
def test_what_is_not_finite_stays_so(math):
    bottom, weight, bias, _ = (np.abs(x) for x in operands((1, 20, 12, 12, 20)))
    context = Context(device=SIMT[0], math=math)
    for bits in (0x7FC00000, 0x7FFFFFFF, 0xFF800001, 0x7F800000):
        bottom[0, 7, 5, 6] = np.uint32(bits).view(np.float32)
        top = ops.conv3x3_forward(bottom, weight, bias, negative_slope=0.0, context=context)
        hit = np.zeros((10, 10), bool)
        hit[3:6, 4:7] = True
        wrong = np.isnan if bits != 0x7F800000 else np.isposinf
        np.testing.assert_array_equal(wrong(top[0]), np.broadcast_to(hit, top[0].shape))


@pytest.mark.parametrize("math", TENSOR_MATHS)
def test_rounding_has_no_bias(math):
    """Positive operands: truncation would make every sum too small by half a unit or so."""
    rng = np.random.default_rng(5)
    bottom = rng.uniform(1, 2, (1, 64, 6, 6)).astype(np.float32)
    weight = rng.uniform(1, 2, (32, 64, 3, 3)).astype(np.float32)
    top = ops.conv3x3_forward(bottom, weight, context=Context(device=SIMT[0], math=math))
    exact = reference.conv_forward(bottom, weight, None)
    unit = 2.0 ** -(10 if math == "tf32" else 7)
    assert abs((top / exact - 1).mean()) < unit / 20


def test_math_of_a_context():
    assert Context().math == "fp32"
    for math in MATHS:
        assert Context(device=SIMT[0], math=math).math == math
    with pytest.raises(ValueError, match='unknown math "fp16": use "fp32", "tf32" or "bf16"'):
        Context(device=SIMT[0], math="fp16")
    for math in TENSOR_MATHS:
        with pytest.raises(ValueError, match=f'math="{math}" needs the tensor cores of a GPU: use'):
            Context(math=math)
    _core.simt_device(capability=75)
    assert Context(device=SIMT[0]).math == "fp32"
    for math in TENSOR_MATHS:
        with pytest.raises(
            ValueError, match=r'8.0 or newer, and this device has 7.5: use math="fp32"'
        ):
            Context(device=SIMT[0], math=math)
    _core.simt_device(capability=120)
    assert Context(device=SIMT[0], math="bf16").math == "bf16"
    with pytest.raises(ValueError, match="no device of capability 70"):
        _core.simt_device(capability=70)


@pytest.mark.skipif("cuda-simt-checked" not in SIMT, reason="the checker counts")
@pytest.mark.parametrize("algorithm", ["direct", "auto"])
@pytest.mark.parametrize(("math", "tile"), EVERY_TILE)
def test_no_conflicts_of_banks_and_whole_sectors(math, tile, algorithm):
    """Static model: every access to shared memory is free of conflicts, in every pass, and what is
    read and written in global memory is at most 5 % more sectors than the bytes need."""
    _core.simt_device(multiprocessors=TILES[math][tile] if algorithm == "direct" else 132)
    context = Context(device="cuda-simt-checked", math=math)
    options = {"algorithm": algorithm, "context": context}
    bottom, weight, _, top_diff = operands((1, 32, 10, 17, 128))
    _, weight_back, _, top_diff_back = operands((1, 128, 8, 15, 32))
    workspace = np.empty(1 << 22, np.float32)  # begins, as all here, at a page of the device
    options |= {"workspace": workspace}

    def empty(*shape):
        return np.empty(shape, np.float32)

    top, bottom_diff = (empty(1, h, w, 128).transpose(0, 3, 1, 2) for h, w in [(8, 15), (8, 15)])
    weight_diff = empty(3, 3, 32, 128).transpose(3, 2, 0, 1)
    _core.simt_options(count=True)
    _core.simt_traffic()
    _core.simt_blocks()
    ops.conv3x3_forward(bottom, weight, out=top, **options)
    ops.conv3x3_backward_data(top_diff_back, weight_back, out=bottom_diff, **options)
    ops.conv3x3_backward_weights(
        bottom, top_diff, weight_diff=weight_diff, accumulate=False, **options
    )
    traffic, blocks = _core.simt_traffic(), _core.simt_blocks()
    if algorithm == "direct":
        assert {f"conv3x3_forward {math} {tile}", f"conv3x3_backward_data {math} {tile}"} <= set(
            blocks
        )
    conflicts = {entry for entry in traffic if entry[1] and entry[5] != entry[6]}
    assert conflicts == set()
    wasteful = {entry for entry in traffic if not entry[1] and entry[5] > 1.05 * entry[6]}
    assert wasteful == set()
    assert sum(entry[4] for entry in traffic if entry[1]) > 5000
