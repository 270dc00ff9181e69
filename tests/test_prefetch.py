"""The thread that makes tiles ahead: order, bounded memory, errors, a clean end."""

import subprocess
import sys
import threading
import time

import pytest

from unet_native.data.prefetch import Prefetcher


def running():
    return [t for t in threading.enumerate() if t.name == "prefetch"]


def test_samples_come_in_order_from_any_start():
    with Prefetcher(lambda k: k * k, 3, 8) as samples:
        assert list(samples) == [9, 16, 25, 36, 49]
    assert not running()


def test_works_ahead_but_not_far():
    made = []
    with Prefetcher(lambda k: made.append(k) or k, ahead=2) as samples:
        deadline = time.monotonic() + 5
        while len(made) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.05)
        assert made == [0, 1, 2]  # two wait in the queue, one for room in it
        assert next(samples) == 0


def test_error_appears_where_the_sample_is_asked_for():
    def sample(k):
        if k == 2:
            raise ZeroDivisionError("tile 2")
        return k

    with Prefetcher(sample) as samples:
        assert next(samples) == 0
        assert next(samples) == 1
        with pytest.raises(ZeroDivisionError, match="tile 2"):
            next(samples)
        with pytest.raises(StopIteration):
            next(samples)
    assert not running()


def test_interrupt_in_the_consumer_ends_the_thread():
    def consume():
        with Prefetcher(lambda k: k) as samples:
            next(samples)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        consume()
    assert not running()


def test_program_that_forgets_to_close_ends_in_silence():
    program = """
import numpy as np
from unet_native.data import DataSet, Prefetcher, Sampler
image = np.random.default_rng(0).integers(0, 255, (80, 80)).astype(np.uint8)
sampler = Sampler(DataSet.from_arrays([image], [image > 99]), 188, 100)
samples = Prefetcher(sampler.sample)
next(samples)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
