"""The two plans of a net: the same bits, in different amounts of memory."""

from __future__ import annotations

import resource
import weakref
from itertools import pairwise

import numpy as np
import pytest

from small_net import MODELS, inputs_of, random_biases, small_spec
from unet_native import arena, models
from unet_native.arena import Buffer
from unet_native.net import Net
from unet_native.ops import Context


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("base_width", [4, 16], ids=["copied", "joined"])
@pytest.mark.parametrize("model", MODELS)
def test_lean_and_observable_give_the_same_bits(model, base_width, threads):
    spec = small_spec(model, base_width=base_width)
    observable = Net(spec, seed=9, context=Context(threads=1))
    random_biases(observable)
    kept = Net(spec, seed=9, plan="lean", params_of=observable, context=Context(threads=threads))
    transient = Net(spec, seed=9, plan="lean", params_of=observable, transient_param_diffs=True)
    for k in range(3):  # also with what the last iteration left in the arena
        inputs = inputs_of(observable, seed=k)
        loss = observable.forward(**inputs)["loss"].copy()
        observable.clear_param_diffs()
        observable.backward()
        assert kept.forward(**inputs)["loss"].tobytes() == loss.tobytes()
        kept.clear_param_diffs()
        kept.backward()
        assert transient.forward(**inputs)["loss"].tobytes() == loss.tobytes()
        handed_over = {}
        transient.backward(
            on_param_diff=lambda p, d=handed_over: d.update({p.name: p.blob.diff.copy()})
        )
        for mine, other in zip(observable.parameters, kept.parameters, strict=True):
            expected = np.ascontiguousarray(mine.blob.diff).tobytes()
            assert np.ascontiguousarray(other.blob.diff).tobytes() == expected, mine.name
            assert np.ascontiguousarray(handed_over[mine.name]).tobytes() == expected, mine.name
    test_nets = [
        Net(spec, "TEST", plan=plan, params_of=observable) for plan in ("observable", "lean")
    ]
    scores = [net.forward(data=inputs["data"])["score"].tobytes() for net in test_nets]
    assert scores[0] == scores[1]


def test_lean_plan_needs_much_less_memory_and_places_it_tightly():
    nets = {
        (plan, phase): Net(models.fig1(tile=572), phase, plan=plan, fill=False)
        for plan in ("observable", "lean")
        for phase in ("TRAIN", "TEST")
    }
    sizes = {key: net.plan.bytes for key, net in nets.items()}
    assert sizes["lean", "TRAIN"] < 0.5 * sizes["observable", "TRAIN"]
    assert sizes["lean", "TEST"] < 0.25 * sizes["observable", "TEST"]
    for key in (("lean", "TRAIN"), ("lean", "TEST")):
        plan = nets[key].plan
        assert plan.least_bytes <= plan.bytes <= 1.03 * plan.least_bytes
        assert f"{plan.bytes / 1e6:.1f} MB" in nets[key].summary()


@pytest.mark.parametrize("plan", ["observable", "lean"])
def test_buffers_that_live_together_do_not_overlap(plan):
    net = Net(models.phseg_v5(depth=4, base_width=6, tile=92), plan=plan, fill=False)
    buffers = list(net.plan.buffers.values())
    assert len(buffers) > 50
    for i, one in enumerate(buffers):
        assert one.offset % 64 == 0
        assert one.end <= net.plan.bytes
        for other in buffers[:i]:
            if one.first <= other.last and other.first <= one.last:
                assert one.end <= other.offset or other.end <= one.offset, (one, other)


def test_layers_of_a_lean_plan_do_the_backward_passes_of_others():
    """Pooling does those of Crop and ReLU (with dropout between, only Crop's), a convolution that
    of the ReLU before it."""
    plan = Net(models.fig1(tile=316, base_width=4), plan="lean", fill=False).plan
    layers = plan._graph.layers
    crops = [layer.name for layer in layers if layer.type == "Crop"]
    pools = [also for layer, also in plan.absorbed.items() if layer.type == "Pooling"]
    assert [also.crop.name for also in pools] == crops
    slopes = [also.negative_slope for also in pools]
    assert slopes.count(0.0) == len(crops) - 1  # dropout follows on the ReLU before the last one
    steps = {(step.layer.name, step.name) for step in plan.backward}
    assert not any((crop, "backward_data") in steps for crop in crops)
    left = [x.name for x in layers if x.type == "ReLU" and (x.name, "backward_data") in steps]
    assert left[:2] == ["relu_d3c", "relu_d4c"]  # dropout comes between
    assert left[2:] == ["relu_u3d", "relu_u2d", "relu_u1d"]  # up-convolutions come next
    observable = Net(models.fig1(tile=316, base_width=4), fill=False).plan
    assert not observable.absorbed


def test_steps_after_the_first_take_no_new_memory():
    """A page fault for each page of what a step would allocate: there are next to none."""
    net = Net(small_spec("fig1", tile=(172, 172), base_width=16), seed=1, plan="lean")
    inputs = inputs_of(net)

    def faults() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        net.forward(**inputs)
        net.backward()
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    for _ in range(2):
        faults()
    pages = net.plan.bytes // resource.getpagesize()
    assert min(faults() for _ in range(5)) < pages / 50


def test_a_pass_leaves_the_arrays_where_they_are():
    net = Net(small_spec("phseg_v5"), seed=1)
    arrays = {name: (blob.data, blob.diff) for name, blob in net.blobs.items()}
    inputs = inputs_of(net)
    for _ in range(2):
        net.forward(**inputs)
        net.backward()
    net.reshape()
    for name, (data, diff) in arrays.items():
        assert net.blobs[name].data is data
        assert net.blobs[name].diff is diff


def test_lean_refuses_what_it_does_not_keep():
    net = Net(small_spec("fig1"), plan="lean", seed=0, transient_param_diffs=True)
    assert set(net.blobs) == {"data", "label", "weight", "loss"}
    net.forward(**inputs_of(net))
    with pytest.raises(ValueError, match="does not keep blob 'd0c'"):
        net.forward(blobs=["d0c"])
    with pytest.raises(ValueError, match="runs all its layers"):
        net.forward(end="conv_d0a-b")
    with pytest.raises(ValueError, match="needs on_param_diff"):
        net.backward()
    with pytest.raises(ValueError, match="needs plan='lean'"):
        Net(small_spec("fig1"), transient_param_diffs=True)


def test_placement_of_random_lifetimes():
    rng = np.random.default_rng(3)
    for _ in range(20):
        buffers = []
        for i in range(40):
            first, last = np.sort(rng.integers(0, 30, 2))
            buffers.append(Buffer(f"b{i}", int(rng.integers(1, 5000)), int(first), int(last)))
        size = arena.place(buffers)
        assert arena.least_bytes(buffers) <= size <= 1.3 * arena.least_bytes(buffers)
        for time in range(30):
            living = sorted((b.offset, b.end) for b in buffers if b.first <= time <= b.last)
            assert all(end <= start for (_, end), (start, _) in pairwise(living))
            assert all(start >= 0 and end <= size for start, end in living)


def arena_of(net: Net) -> np.ndarray:
    """The array whose memory the blobs of `net` lie in."""
    array = net.blobs["score"].data
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def test_a_net_lets_its_old_arena_go_before_it_takes_a_new_one():
    net = Net(small_spec("fig1"), "TEST", plan="lean", seed=0)
    net.forward(**inputs_of(net))
    old = weakref.ref(arena_of(net))
    allocate, alive = arena.allocate, []

    def allocate_and_look(*given):
        alive.append(old() is not None)
        return allocate(*given)

    net.blobs["data"].reshape(2, 2, 52, 52)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arena, "allocate", allocate_and_look)
        net.forward()
    assert alive == [False]
