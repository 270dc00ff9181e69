"""Results too large for the caches are written past them (csrc/cpu/stream.h): the same bits."""

from __future__ import annotations

import numpy as np
import pytest

from unet_native import ops

STREAMED = 12 << 20  # bytes from which on a target is
SIZE = 452  # of images whose 16 channels are just above


def apart(shape: tuple[int, ...]) -> np.ndarray:
    """A blob whose pixels lie one float apart from each other, which cannot be streamed."""
    n, c, h, w = shape
    return ops.empty((n, c + 1, h, w))[:, :c]


def both(run, shape: tuple[int, ...]) -> None:
    """Whether `run` writes the same into a target that is streamed and one that is not."""
    streamed, ordinary = ops.empty(shape), apart(shape)
    assert streamed.nbytes >= STREAMED
    assert streamed.ctypes.data % 64 == 0, "not aligned, so not streamed: the test is blind"
    for out in (streamed, ordinary):
        out[...] = np.nan
        run(out)
    np.testing.assert_array_equal(streamed, ordinary)
    assert np.isfinite(streamed).all()


def normal(*shape: int) -> np.ndarray:
    return ops.channels_last(np.random.default_rng(shape).standard_normal(shape, np.float32))


@pytest.mark.parametrize(
    ("channels", "algorithm"), [(1, "direct"), (16, "direct"), (16, "winograd")]
)
def test_conv3x3(channels, algorithm, isa):
    context = ops.Context(isa=isa)
    options = {"algorithm": algorithm, "context": context}
    bottom, weight = normal(1, channels, SIZE, SIZE - 1), normal(16, channels, 3, 3)
    bias = np.linspace(-1, 1, 16, dtype=np.float32)
    both(
        lambda out: ops.conv3x3_forward(bottom, weight, bias, negative_slope=0, out=out, **options),
        (1, 16, SIZE - 2, SIZE - 3),
    )
    top_diff, weight = normal(1, channels, SIZE - 2, SIZE - 3), normal(channels, 16, 3, 3)
    both(
        lambda out: ops.conv3x3_backward_data(top_diff, weight, out=out, **options),
        (1, 16, SIZE, SIZE - 1),
    )


def test_up_conv2x2(isa):
    bottom, weight = normal(1, 24, SIZE // 2, SIZE // 2), normal(24, 16, 2, 2)
    context = ops.Context(isa=isa)
    both(
        lambda out: ops.up_conv2x2_forward(bottom, weight, out=out, context=context),
        (1, 16, SIZE, SIZE),
    )


def test_max_pool2x2_backward(isa):
    bottom, top_diff = normal(1, 16, SIZE - 1, SIZE), normal(1, 16, SIZE // 2, SIZE // 2)
    context = ops.Context(isa=isa)
    both(
        lambda out: ops.max_pool2x2_backward(bottom, top_diff, out=out, context=context),
        bottom.shape,
    )
