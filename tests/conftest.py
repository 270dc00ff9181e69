"""Fixtures. Ops: instruction sets and thread counts; commands: data and a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from command_line import FAST, sources, write_folders
from places import ON_DEVICES, SCHEDULES, assert_no_findings, context_of, devices, instruction_sets
from small_run import discs
from unet_native import _core
from unet_native.ops import Context

Run = Callable[[Context], tuple[np.ndarray, ...] | np.ndarray]

THREADS = (1, 2, 3)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`isa`: every place where the ops of the test file run. `context`: each device.

    In the checked build of the SIMT runtime a network takes long, so those tests are slow ones.
    """
    if "isa" in metafunc.fixturenames:
        places = instruction_sets()
        if metafunc.module.__name__ in ON_DEVICES:
            places += devices()
        metafunc.parametrize("isa", places, indirect=True)
    if "context" in metafunc.fixturenames:
        slow = {"cuda-simt-checked"}
        everywhere = [
            pytest.param(device, marks=pytest.mark.slow) if device in slow else device
            for device in ("cpu", *devices())
        ]
        metafunc.parametrize("context", everywhere, indirect=True)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Whatever runs on a device belongs to simt_full, and is not repeated for algorithms it lacks.

    Tests that are marked simt_full themselves take long: they are slow ones too.
    """
    again = []
    for item in items:
        if item.get_closest_marker("simt_full"):
            item.add_marker(pytest.mark.slow)
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        if not set(devices()) & {p for p in parameters.values() if isinstance(p, str)}:
            continue
        item.add_marker(pytest.mark.simt_full)
        algorithm = parameters.get("algorithm", "direct")
        if algorithm.startswith("winograd") or ("context" in parameters and algorithm != "direct"):
            again.append(item)
    config.hook.pytest_deselected(items=again)
    items[:] = [item for item in items if item not in set(again)]


@pytest.fixture
def context(request: pytest.FixtureRequest) -> Iterator[Context]:
    """A context on the CPU and on each device, for whole networks and solvers."""
    yield Context(device=request.param)
    if request.param in devices():
        assert_no_findings()


@pytest.fixture
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each instruction set that this machine offers, and each device; see places.context_of."""
    yield request.param
    if request.param in devices():
        assert_no_findings()


@pytest.fixture
def on_threads(isa: str) -> Callable[[Run], tuple[np.ndarray, ...] | np.ndarray]:
    """Runs a function of a context in all ways that a place offers: they must agree bit for bit.

    On the CPU with 1, 2 and 3 threads, on the SIMT runtime with four schedules, both with late and
    eager copies; two of them with its checker, which finds a race in any schedule.
    """

    def run_all(run: Run) -> tuple[np.ndarray, ...] | np.ndarray:
        first, *others = [run(context) for context in _ways(isa)]
        for other in others:
            for one, two in zip(_as_tuple(first), _as_tuple(other), strict=True):
                one, two = np.ascontiguousarray(one), np.ascontiguousarray(two)
                assert one.tobytes() == two.tobytes(), "threads or schedules differ"
        return first

    return run_all


def _ways(place: str) -> Iterator[Context]:
    if place not in devices():
        for threads in THREADS:
            yield context_of(place, threads)
    elif place.startswith("cuda-simt"):
        schedules = SCHEDULES[::3] if place.endswith("checked") else SCHEDULES
        for seed, schedule in enumerate(schedules):
            _core.simt_options(schedule, seed=seed, eager_copies=seed % 2 == 1)
            yield context_of(place)
        _core.simt_options()
    else:
        for _ in range(2):
            yield context_of(place)


def _as_tuple(result: tuple[np.ndarray, ...] | np.ndarray) -> tuple[np.ndarray, ...]:
    return result if isinstance(result, tuple) else (result,)


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """Folders images and labels with 0.tif .. 3.tif; labels 0 and 255."""
    folder = tmp_path_factory.mktemp("data")
    write_folders(folder, *discs(4))
    return folder


@pytest.fixture(scope="session")
def trained(data, tmp_path_factory):
    """A folder with a run, trained for a moment on `data`."""
    run = tmp_path_factory.mktemp("trained") / "run"
    from unet_native import cli

    status = cli.run(["train", *sources(data), "-o", str(run), "--validation", "3", *FAST])
    assert status == 0
    return run


@pytest.fixture
def complaint(capsys):
    """Runs a command that must fail with status 2 and one sentence on stderr; returns it."""

    from unet_native import cli

    def run(*arguments):
        capsys.readouterr()
        assert cli.run([str(argument) for argument in arguments]) == 2
        error = capsys.readouterr().err
        lines = [line for line in error.splitlines() if line.startswith("unet-native: ")]
        assert len(lines) == 1, error
        assert "Traceback" not in error
        return lines[0]

    return run


@pytest.fixture
def net_of(tmp_path):
    """Reads a prototxt from its text: net_of(content, level=.., stages=..)."""
    from unet_native.caffe.network import read_net

    def read(content, **state):
        path = tmp_path / "net.prototxt"
        path.write_text(content)
        return read_net(path, **state)

    return read


@pytest.fixture
def layer_of(net_of):
    """Reads the only layer of a prototxt, from what stands between its braces."""

    def read(content):
        (layer,) = net_of(f"layer {{ {content} }}").layers
        return layer

    return read
