"""Model files: exact resuming, complete or absent, damage is told in one sentence."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from test_solver import SETTINGS, feed, small_spec, solver_of, state_of
from unet_native import snapshot
from unet_native.errors import UserError
from unet_native.net import Net
from unet_native.solver import SGDSolver


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A solver's snapshot after two iterations."""
    solver = solver_of(metadata={"classes": '["cell", "membrane"]'})
    solver.step(2)
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    assert solver.snapshot(path) == path
    return path


# --- resuming ---


@pytest.mark.parametrize("plan", ["observable", "lean"])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"random_seed": -1},
        {"iter_size": 2, "clip_gradients": 0.3},
        {"lr_policy": "multistep", "gamma": 0.1, "stepvalue": (1, 3, 3)},
    ],
)
def test_stopping_and_resuming_changes_no_bit(tmp_path, plan, settings):
    s = replace(SETTINGS, snapshot_prefix=str(tmp_path / "run"), **settings)
    whole = solver_of(s, plan=plan)
    whole.step(3)
    path = whole.snapshot()
    assert path == tmp_path / "run_iter_3.safetensors"
    whole.step(3)

    resumed = solver_of(s, plan=plan)
    resumed.restore(path)
    assert (resumed.iter, resumed.net.seed) == (3, whole.net.seed)
    resumed.step(3)
    assert resumed.iter == whole.iter == 6
    assert resumed.lr == whole.lr
    assert resumed.loss == whole.loss
    assert state_of(resumed) == state_of(whole)


def test_snapshots_are_taken_when_due(tmp_path):
    s = replace(SETTINGS, snapshot_prefix=str(tmp_path / "a"), snapshot=2, max_iter=5)
    solver_of(s).solve()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f"a_iter_{n}.safetensors" for n in (2, 4, 5)]
    solver_of(replace(s, snapshot_after_train=False, snapshot_prefix=str(tmp_path / "b"))).solve()
    assert not (tmp_path / "b_iter_5.safetensors").exists()


# --- what a file holds ---


def test_a_file_holds_caffes_names_and_shapes(model):
    from safetensors.numpy import load_file

    solver = solver_of()
    solver.step(2)
    tensors = load_file(model)
    for param, history in zip(solver.net.parameters, solver.history, strict=True):
        assert np.array_equal(tensors.pop(param.name), param.blob.data)
        assert np.array_equal(tensors.pop(f"history.{param.name}"), history)
    assert not tensors
    found = snapshot.read(model)
    assert found.spec == small_spec()
    assert (found.iteration, found.current_step, found.seed) == (2, 0, 3)
    assert found.metadata == {"classes": '["cell", "membrane"]'}
    assert found.has_history


def test_loading_a_model_gives_the_same_scores(model, tmp_path):
    data = feed(9)["data"]
    trained = solver_of()
    trained.restore(model)
    expected = Net(small_spec(), "TEST", params_of=trained.net).forward(data=data)["score"]
    net, found = snapshot.load_model(model, plan="lean")
    assert found.iteration == 2
    assert np.array_equal(net.forward(data=data)["score"], expected)

    net.save(tmp_path / "weights.safetensors")
    again = Net(small_spec(), "TEST", seed=1)
    assert again.copy_from(tmp_path / "weights.safetensors") == []
    assert np.array_equal(again.forward(data=data)["score"], expected)
    wide = snapshot.load_model(model, data=(1, 1, 40, 24))[0]
    assert wide.blobs["score"].shape == (1, 2, 24, 8)


def test_fine_tuning_takes_over_layers_of_the_same_name(model):
    deeper = Net(small_spec(depth=3, tile=44), seed=8)
    kept = deeper.params["conv_d2a-b"][0].data.copy()
    assert deeper.copy_from(model) == ["upconv_d1c_u0a"]
    source = snapshot.read(model).params()
    for name in source:
        if name in deeper.params:
            for blob, array in zip(deeper.params[name], source[name], strict=True):
                assert np.array_equal(blob.data, array), name
    assert np.array_equal(deeper.params["conv_d2a-b"][0].data, kept)


# --- files that do not fit, or are damaged ---


def test_a_file_of_another_network_is_refused(model, tmp_path):
    for spec, problem in (
        (small_spec(base_width=4), "conv_d0a-b.0 has shape"),
        (small_spec(depth=3, tile=44), "has no conv_d2a-b.0"),
    ):
        with pytest.raises(UserError, match=problem):
            SGDSolver(SETTINGS, spec).restore(model)
    Net(small_spec(), "TEST", seed=0).save(tmp_path / "w.safetensors")
    with pytest.raises(UserError, match="no momentum"):
        solver_of().restore(tmp_path / "w.safetensors")


def test_damaged_files_are_refused_in_one_sentence(model, tmp_path):
    whole = model.read_bytes()
    header = int.from_bytes(whole[:8], "little")
    damaged = {
        "empty": b"",
        "short": whole[:5],
        "truncated header": whole[: header // 2],
        "truncated data": whole[:-1],
        "half": whole[: len(whole) // 2],
        "trailing": whole + b"\0" * 8,
        "huge header": (1 << 62).to_bytes(8, "little") + whole[8:],
        "long header": (len(whole) * 2).to_bytes(8, "little") + whole[8:],
        "no header": bytes(8) + whole[8:],
        "garbage header": whole[:8] + b"\xff" * header + whole[8 + header :],
        "other format": b"PK\x03\x04" + whole[4:],
        "not finite": whole[:-4] + np.float32(np.nan).tobytes(),
    }
    for name, content in damaged.items():
        path = tmp_path / f"{name.replace(' ', '_')}.safetensors"
        path.write_bytes(content)
        with pytest.raises(UserError) as error:
            solver_of().restore(path)
        message = str(error.value)
        assert str(path) in message, name
        assert "\n" not in message, name


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("format", "something else", "not a model"),
        ("network", "{}", "lacks a field"),
        ("network", "[" * 100_000, "not JSON"),
        ("iteration", "three", "damaged"),
        ("seed", None, "seed"),
    ],
)
def test_metadata_that_cannot_be_are_refused(model, tmp_path, key, value, problem):
    whole = model.read_bytes()
    end = 8 + int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8:end])
    header["__metadata__"][key] = value
    if value is None:
        del header["__metadata__"][key]
    text = json.dumps(header).encode()
    path = tmp_path / "changed.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + whole[end:])
    with pytest.raises(UserError, match=problem):
        snapshot.read(path)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.safetensors: cannot be read"):
        snapshot.load_model(tmp_path / "nowhere.safetensors")


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    net = Net(small_spec(), "TEST", seed=1)
    path = tmp_path / "w.safetensors"
    net.save(path)
    before = path.read_bytes()
    monkeypatch.setattr(
        np, "ascontiguousarray", lambda *_: (_ for _ in ()).throw(OSError(28, "full"))
    )
    with pytest.raises(UserError, match="cannot be written"):
        net.save(path)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]
