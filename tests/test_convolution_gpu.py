"""Convolutions on a GPU: tensor cores, every tile, splits of the common dimension, odd channels.

The tests of each op run the exact products over its shapes; here are all kinds of products by what
the plan (csrc/cuda/convolution_plan.h) chooses for devices of several sizes, in guarded and aligned
memory, for conv3x3, conv1x1 and up_conv2x2.
"""

from __future__ import annotations

import numpy as np
import pytest

import reference
from closeness import assert_close
from convolution_passes import CONV1X1, CONV3X3, UP_CONV2X2
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
# Whatever else: exact in every math.
ODD = [(1, 5, 4, 5, 3), (1, 9, 6, 17, 17), (2, 6, 6, 5, 33), (1, 30, 5, 8, 65), (2, 18, 3, 3, 2)]


OPS = [CONV3X3, CONV1X1, UP_CONV2X2]


def rounded(array, math):
    """float32 as an operand of a product sees it: tf32 ties away from zero, bf16 ties to even."""
    bits = np.ascontiguousarray(array).view(np.uint32)
    if math == "tf32":
        bits = (bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000)
    if math == "bf16":
        bits = (bits + np.uint32(0x7FFF) + (bits >> 16 & 1)) & np.uint32(0xFFFF0000)
    return bits.view(np.float32)


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


def check(op, shape, math, results):
    blobs = op.operands(shape)
    bias, top_diff = blobs[2:]
    has_quads = shape[1] % 4 == 0 and shape[4] % 4 == 0
    x, w, dy = (rounded(array, math if has_quads else "fp32") for array in blobs[:2] + blobs[3:])
    same, exact = op.expected(x, w, bias, dy), op.expected(*blobs)
    for result, of_rounded, of_given in zip(results[:4], same, exact, strict=False):
        assert_close(result, of_rounded, TOLERANCE)
        assert_close(result, of_given, PROMISED[math])
    # Of the bias: sums, no products.
    assert_close(results[4], exact[4], 2e-6, floor=float(np.abs(top_diff).max()))


@pytest.fixture(autouse=True)
def ordinary_device():
    yield
    if SIMT:
        _core.simt_device()
        _core.simt_options()
        _core.simt_findings()


# Of the other ops, whose few outputs may have kernels of their own.
OTHERS = [(2, 20, 3, 5, 68), (1, 64, 5, 7, 20), (1, 9, 6, 7, 17), (3, 130, 2, 3, 33)]
EVERY_OP = [(CONV3X3, shape) for shape in QUADS + ODD]
EVERY_OP += [(op, shape) for op in (CONV1X1, UP_CONV2X2) for shape in OTHERS]


def case_id(value):
    """Of an op, a shape or a word."""
    if isinstance(value, str):
        return value
    return value.name if hasattr(value, "name") else shape_id(value)


@pytest.mark.parametrize("math", TENSOR_MATHS)
@pytest.mark.parametrize("device", SIMT)
@pytest.mark.parametrize(("op", "shape"), EVERY_OP, ids=case_id)
def test_values(op, shape, device, math):
    """All passes are the exact sums of rounded operands, and as close to the exact ones as said."""
    run = on_schedules(device, math, lambda c: op.run_passes(shape, c, margin=4))
    check(op, shape, math, run)


@pytest.mark.parametrize("math", TENSOR_MATHS)
@pytest.mark.parametrize("op", OPS, ids=case_id)
def test_results_that_are_not_aligned(op, math):
    """These are computed exactly."""
    shape = (1, 16, 5, 7, 36)
    _core.simt_blocks()
    results = op.run_passes(shape, Context(device=SIMT[-1], math=math), margin=3)
    expected = op.expected(*op.operands(shape))
    for result, exact in zip(results[:3], expected[:3], strict=True):
        assert_close(result, exact, TOLERANCE)
    names = {f"{op.name}_{direction} fp32 128x64" for direction in ("forward", "backward_data")}
    assert names <= set(_core.simt_blocks())


# Multiprocessors for which the plan takes each tile, for 120 rows and up to 128 channels.
TILES = {
    "fp32": {"128x128": 1, "128x64": 2},
    "tf32": {"128x128": 1, "128x64": 2, "64x64": 4},
    "bf16": {"128x128": 1, "128x64": 2, "64x64": 4},
}
EVERY_TILE = [(math, tile) for math in MATHS for tile in TILES[math]]
# Shapes with those rows for a wide result forward, and backwards with a wide bottom.
RAGGED = {
    CONV3X3: ((1, 20, 12, 14, 124), (1, 124, 10, 12, 20)),
    CONV1X1: ((1, 36, 10, 12, 124), (1, 124, 10, 12, 36)),
    UP_CONV2X2: ((1, 20, 10, 12, 124), (1, 124, 10, 12, 20)),
}


@pytest.mark.parametrize(("math", "tile"), EVERY_TILE)
@pytest.mark.parametrize("device", SIMT)
@pytest.mark.parametrize("op", OPS, ids=case_id)
def test_every_tile(op, device, math, tile):
    """Each tile of each pass, at ragged sizes: rows, columns and the common dimension end in it."""
    options = {"algorithm": "direct"} if op is CONV3X3 else {}  # in one split
    for shape, direction in zip(RAGGED[op], ("forward", "backward_data"), strict=True):
        parts = op.scale**2 if direction == "forward" else 1
        _core.simt_device(multiprocessors=parts * TILES[math][tile])
        _core.simt_blocks()
        run = on_schedules(
            device, math, lambda c, s=shape: op.run_passes(s, c, margin=4, **options)
        )
        check(op, shape, math, run)
        assert f"{op.name}_{direction} {math} {tile}" in _core.simt_blocks()


@pytest.mark.parametrize(("math", "tile"), EVERY_TILE)
@pytest.mark.parametrize("op", OPS, ids=case_id)
def test_every_tile_of_backward_weights(op, math, tile):
    shape = (1, 28, 9, 4, 124) if op is CONV3X3 else (1, 252, 7, 2, 124)  # 252 rows, 14 pixels
    _core.simt_device(multiprocessors={"128x128": 2, "128x64": 4, "64x64": 8}[tile] * op.scale**2)
    _core.simt_blocks()
    run = on_schedules(SIMT[0], math, lambda c: op.run_passes(shape, c, margin=4))
    check(op, shape, math, run)
    assert f"{op.name}_backward_weights {math} {tile}" in _core.simt_blocks()


BOTH = "forward backward_data"
SPLIT = [
    (CONV3X3, (1, 132, 6, 7, 68), BOTH),
    (CONV3X3, (2, 76, 5, 3, 130), BOTH),
    (CONV1X1, (1, 1028, 1, 3, 20), "forward"),
    (CONV1X1, (1, 20, 3, 1, 1028), "backward_data"),
    (UP_CONV2X2, (1, 1028, 1, 3, 20), "forward"),
    (UP_CONV2X2, (1, 20, 3, 1, 260), "backward_data"),
]


@pytest.mark.parametrize("math", MATHS)
@pytest.mark.parametrize("device", SIMT)
@pytest.mark.parametrize(("op", "shape", "directions"), SPLIT, ids=case_id)
def test_splits(op, shape, directions, device, math):
    """A device with many multiprocessors splits few tiles: partial sums, then bias and ReLU."""
    _core.simt_device(multiprocessors=132)
    _core.simt_blocks()
    run = on_schedules(device, math, lambda c: op.run_passes(shape, c, margin=4))
    check(op, shape, math, run)
    blocks = _core.simt_blocks()
    assert {f"{op.name}_{direction} splits" for direction in directions.split()} <= set(blocks)
    if op is CONV3X3:
        tiles = -(-shape[0] * (shape[2] - 2) * (shape[3] - 2) // 64) * -(-shape[4] // 64)
        products = [n for name, n in blocks.items() if name.startswith("conv3x3_forward ")]
        forward = sum(products) - blocks["conv3x3_forward splits"]
        assert forward > 2 * len(SCHEDULES) * tiles


@pytest.mark.parametrize("math", MATHS)
def test_direct_sums_are_never_split(math):
    """They go in one order whatever the shape and the device: a part has the bits of the whole."""
    bottom, weight, bias, _ = CONV3X3.operands((1, 72, 9, 11, 72))
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
    bottom, weight, bias, _ = (np.abs(x) for x in CONV3X3.operands((1, 20, 12, 12, 20)))
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
@pytest.mark.parametrize("splitting", ["never", "may"])
@pytest.mark.parametrize(("math", "tile"), EVERY_TILE)
@pytest.mark.parametrize(
    "op", [CONV3X3, UP_CONV2X2, pytest.param(CONV1X1, marks=pytest.mark.simt_full)], ids=case_id
)
def test_no_conflicts_of_banks_and_whole_sectors(op, math, tile, splitting):
    """Static model: every access to shared memory is free of conflicts, in every pass, and what is
    read and written in global memory is at most 5 % more sectors than the bytes need."""
    parts = op.scale**2
    devices_of_tile = {"forward": parts * TILES[math][tile], "backward_data": TILES[math][tile]}
    options = {"context": Context(device="cuda-simt-checked", math=math)}
    if op is CONV3X3:
        options["algorithm"] = "direct" if splitting == "never" else "auto"
    # Begins, as all here, at a page of the device.
    options["workspace"] = np.empty(1 << 22, np.float32)
    lost = op.kernel - op.scale
    forward = op.operands((1, 32, 8 + lost, 15 + lost, 128))  # 120 rows, as backward
    backward = op.operands((1, 128, 8, 15, 32))
    _core.simt_options(count=True)
    _core.simt_traffic()
    _core.simt_blocks()

    def on_device(direction):
        wanted = devices_of_tile[direction] if splitting == "never" else 132
        _core.simt_device(multiprocessors=wanted)

    bottom, weight, top_diff = placed(forward)
    on_device("forward")
    op.forward(bottom, weight, out=channels_last(top_diff.shape), **options)
    weight_diff = np.empty((op.kernel, op.kernel, 32, 128), np.float32)
    weight_diff = weight_diff.transpose((2, 3, 0, 1) if op.is_transposed else (3, 2, 0, 1))
    options |= {"weight_diff": weight_diff, "accumulate": False}
    op.backward_weights(bottom, top_diff, **options)
    del options["weight_diff"], options["accumulate"]
    bottom, weight, top_diff = placed(backward)
    on_device("backward_data")
    op.backward_data(top_diff, weight, out=channels_last(bottom.shape), **options)

    traffic, blocks = _core.simt_traffic(), _core.simt_blocks()
    if splitting == "never":
        names = {f"{op.name}_{direction} {math} {tile}" for direction in devices_of_tile}
        assert names <= set(blocks)
    conflicts = {entry for entry in traffic if entry[1] and entry[5] != entry[6]}
    assert conflicts == set()
    wasteful = {entry for entry in traffic if not entry[1] and entry[5] > 1.05 * entry[6]}
    assert wasteful == set()
    assert sum(entry[4] for entry in traffic if entry[1]) > 1000


def channels_last(shape):
    n, c, h, w = shape
    return np.empty((n, h, w, c), np.float32).transpose(0, 3, 1, 2)


def placed(operands):
    """bottom, weight, top_diff, the blobs where the device begins a page: what an op copies begins
    at a cache line of the host."""
    bottom, weight, _, top_diff = operands
    blobs = channels_last(bottom.shape), channels_last(top_diff.shape)
    blobs[0][...], blobs[1][...] = bottom, top_diff
    return blobs[0], weight, blobs[1]
