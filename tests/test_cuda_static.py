"""The GPU's kernels as machine code: spills, registers, blocks, multiply-adds of the hottest loop.

A static model (benchmarks/cuda_static): nothing here says how fast a kernel is. Two architectures
always, all of them with ``-m simt_full``; the gates themselves are tested on planted kernels.
"""

from __future__ import annotations

import pytest

from shared import CHECKOUT

if not (CHECKOUT / "benchmarks").is_dir():
    pytest.skip("no benchmarks beside these tests", allow_module_level=True)

from benchmarks.cuda_static import model, ptxas, sass
from benchmarks.cuda_static.bounds import BOUNDS, Bound, bound_of
from benchmarks.cuda_static.occupancy import Occupancy, Request, evaluate, occupancies
from benchmarks.cuda_static.toolkit import ARCHITECTURES, CUDA, fatbin_bytes, tool

ALWAYS = (80, 90)
# Bytes, all architectures and PTX. The CUDA runtime and the launches add 0.9 MB, for 3 MB in all.
FATBIN_LIMIT = 1.9e6

needs_nvcc = pytest.mark.skipif(not tool("nvcc"), reason="no nvcc: kernels are not compiled")
needs_nvdisasm = pytest.mark.skipif(
    not tool("nvdisasm"), reason='no nvdisasm (pip install ".[verify]"): loops are not read'
)
every_architecture = [
    pytest.param(a, marks=[] if a in ALWAYS else pytest.mark.simt_full) for a in ARCHITECTURES
]


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cuda_static")


@pytest.fixture(scope="session")
def compiled(folder):
    """A file of kernels for an architecture, compiled once."""
    done = {}

    def compile_once(path, architecture):
        key = path, architecture
        if key not in done:
            done[key] = model.compiled(path, architecture, folder)
        return done[key]

    return compile_once


# --- the kernels ---


@needs_nvcc
@pytest.mark.parametrize("architecture", every_architecture)
@pytest.mark.parametrize("source", model.sources())
def test_kernels_keep_their_bounds(compiled, folder, source, architecture):
    rows = model.figures([compiled(CUDA / f"{source}.cu", architecture)], folder)
    assert len(rows) >= 1
    assert [complaint for row in rows for complaint in row.complaints()] == []


@needs_nvcc
@needs_nvdisasm
def test_the_table(compiled, folder, capsys):
    files = [compiled(CUDA / f"{s}.cu", a) for s in model.sources() for a in ALWAYS]
    rows = model.figures(files, folder)
    for bound in BOUNDS:
        assert any(row.bound is bound for row in rows), f"no kernel has the bound {bound}"
    with capsys.disabled():
        print("\nstatic model (r registers, b blocks a multiprocessor, % of its warps):")
        print("\n".join(model.table(rows)))


@needs_nvcc
@pytest.mark.parametrize(
    "architectures", [ALWAYS, pytest.param(ARCHITECTURES, marks=pytest.mark.simt_full)]
)
def test_machine_code_is_small(compiled, folder, architectures):
    size = sum(
        fatbin_bytes({a: compiled(CUDA / f"{s}.cu", a).cubin for a in architectures}, folder)
        for s in model.sources()
    )
    share = len(architectures) / (len(ARCHITECTURES) + 1)  # of a build: they, and PTX
    assert 0 < size < FATBIN_LIMIT * share


# --- the gates: planted faults ---


@pytest.fixture(scope="session")
def planted(compiled, folder):
    """complaints(kernel, architecture, **bound) of a kernel in cuda/planted.cu, 128 threads."""

    def complaints(kernel, architecture=80, **bound):
        file = compiled(CHECKOUT / "tests" / "cuda" / "planted.cu", architecture)
        resources = file.resources[kernel]
        request = Request(architecture, resources.registers, 128, resources.static_shared, 0)
        return model.Figures(
            *("planted", kernel, architecture, resources, occupancies([request], folder)[0]),
            loop=file.loops[kernel] if file.loops else None,
            bound=Bound("planted", kernel, threads="128", **{"registers": 255, **bound}),
            is_disassembled=file.loops is not None,
        ).complaints()

    return complaints


@needs_nvcc
@pytest.mark.parametrize("architecture", every_architecture)
def test_a_spill_and_a_local_array_are_found(planted, architecture):
    assert any("local memory" in text for text in planted("local_array", architecture))
    assert any("spills" in text for text in planted("spill", architecture))
    assert planted("many_multiply_adds", architecture) == []


@needs_nvcc
def test_too_many_registers_and_too_few_blocks_are_found(planted):
    (text,) = planted("many_multiply_adds", registers=40)
    assert "registers, over 40" in text
    (text,) = planted("much_shared", blocks=5)
    assert "has 4 blocks a multiprocessor of 5" in text
    assert planted("much_shared", blocks=4) == []
    (text,) = planted("much_shared", occupancy=0.5)
    assert "has 0.25 of the warps, of 0.5" in text


@needs_nvcc
@needs_nvdisasm
def test_too_few_multiply_adds_are_found(planted):
    (text,) = planted("few_multiply_adds", share=0.7)
    assert "multiply-adds in its hottest loop, of 0.7" in text
    (text,) = planted("much_shared", share=0.1)
    assert "has 0.000 multiply-adds" in text
    assert planted("many_multiply_adds", share=0.7) == []


@pytest.mark.parametrize("name", ["of_nobody", "multiply_taps<3, true, true>"])
def test_a_kernel_without_a_bound_is_an_error(name):
    with pytest.raises(LookupError, match="0 rows"):
        bound_of("convolution", name)


def test_a_kernel_of_two_bounds_is_an_error(monkeypatch):
    monkeypatch.setattr(
        "benchmarks.cuda_static.bounds.BOUNDS", [*BOUNDS, Bound("relu", ".*", 1, "1")]
    )
    with pytest.raises(LookupError, match="2 rows"):
        bound_of("relu", "scale_negative")


# --- ptxas ---

REPORT = """ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function '_Z1av' for 'sm_80'
ptxas info    : Function properties for _Z1av
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 40 registers, used 1 barriers, 1024 bytes smem, 400 bytes cmem[0]
ptxas info    : Compiling entry function '_Z1bv' for 'sm_90a'
ptxas info    : Function properties for _Z1bv
    16 bytes stack frame, 12 bytes spill stores, 8 bytes spill loads
ptxas info    : Function properties for _Z6calledv
    32 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 255 registers, used 0 barriers
"""


def test_ptxas_report():
    assert ptxas.read(REPORT) == {
        "_Z1av": ptxas.Resources(registers=40, stack=0, spilled=0, static_shared=1024),
        "_Z1bv": ptxas.Resources(registers=255, stack=32, spilled=20, static_shared=0),
    }


@pytest.mark.parametrize("without", ["Compiling", "stack frame", "Used"])
def test_a_ptxas_report_without_a_figure_is_an_error(without):
    lines = [line for line in REPORT.splitlines() if without not in line]
    with pytest.raises(ValueError, match="ptxas"):
        ptxas.read("\n".join(lines))


# --- disassembly ---


def listing(*code):
    """A function as nvdisasm prints it; labels end with a colon."""
    lines = ["//--------------------- .text._Z1av --------------------------", "_Z1av:"]
    for i, one in enumerate(code):
        lines.append(one if one.endswith(":") else f"        /*{16 * i:04x}*/     {one} ;")
    return "\n".join(lines)


PADDING = (".L_x_9:", "BRA `(.L_x_9)", "NOP")


def hottest(*code):
    return sass.hottest_loops(listing(*code, *PADDING))["_Z1av"]


def test_the_loop_ends_with_its_branch():
    loop = hottest("FFMA R0, R1, R2, R0", ".L_x_1:", "LDS R1, [R2]", "FFMA R0, R1, R2, R0",
                   "@!P0 FFMA.FTZ R0, R1, R2.reuse, R0", "@P0 BRA `(.L_x_1)", "EXIT")  # fmt: skip
    assert loop.operations == {"LDS": 1, "FFMA": 2, "BRA": 1}
    assert loop.share == 0.5


def test_of_nested_loops_the_inner_one_counts():
    loop = hottest(".L_x_1:", "FFMA R0, R1, R2, R0", "FFMA R0, R1, R2, R0", ".L_x_2:",
                   "HMMA.1688.F32.TF32 R0, R4, R8, R0", "BRA `(.L_x_2)", "IADD3 R1, R1, R2, RZ",
                   "@P1 BRA.U `(.L_x_1)")  # fmt: skip
    assert (loop.operation, loop.share) == ("HMMA", 0.5)


def test_beside_tensor_cores_other_multiply_adds_do_not_count():
    rounding = ["FFMA R0, R1, R2, R0"] * 2
    loop = hottest(".L_x_1:", *rounding, "HMMA.1688.F32.TF32 R0, R4, R8, R0", "BRA `(.L_x_1)")
    assert (loop.operation, loop.share) == ("HMMA", 0.25)


def test_a_loop_without_multiply_adds_does_not_hide_the_one_around_it():
    loop = hottest(".L_x_1:", "FFMA R0, R1, R2, R0", ".L_x_2:", "LDG.E R1, [R2]", "BRA `(.L_x_2)",
                   "@P1 BRA `(.L_x_1)")  # fmt: skip
    assert loop.operations["FFMA"] == 1
    assert loop.instructions == 4


def test_the_loop_with_the_most_multiply_adds_counts():
    once, twice = ["FFMA R0, R1, R2, R0"], ["FFMA R0, R1, R2, R0"] * 2
    loop = hottest(".L_x_1:", *once, "BRA `(.L_x_1)", ".L_x_2:", *twice, "MOV R1, R2",
                   "BRA `(.L_x_2)")  # fmt: skip
    assert loop.share == 0.5


def test_code_without_a_loop():
    assert hottest("FFMA R0, R1, R2, R0", "BRA `(.L_x_9)", "EXIT") is None


def test_what_cannot_be_read_is_an_error():
    with pytest.raises(ValueError, match="no function"):
        sass.hottest_loops("")
    with pytest.raises(ValueError, match="no instruction"):
        sass.hottest_loops(listing())
    with pytest.raises(ValueError, match="lacks"):
        hottest("BRA `(.L_x_7)")


# --- occupancy ---


@needs_nvcc
def test_occupancy(folder):
    """NVIDIA's published examples of limits: warps, registers, shared memory, too much of it."""
    known = {
        Request(80, 32, 256, 0, 0): Occupancy(8, 1.0),
        Request(86, 32, 256, 0, 0): Occupancy(6, 1.0),
        Request(75, 64, 256, 0, 0): Occupancy(4, 1.0),
        Request(90, 255, 256, 0, 0): Occupancy(1, 8 / 64),
        Request(80, 122, 256, 0, 98304): Occupancy(1, 8 / 64),
        Request(90, 122, 256, 0, 98304): Occupancy(2, 16 / 64),
        Request(75, 122, 256, 0, 98304): Occupancy(0, 0.0),
    }
    assert occupancies(list(known), folder) == list(known.values())
    with pytest.raises(ValueError, match="cannot answer"):
        occupancies([Request(70, 32, 256, 0, 0)], folder)


@needs_nvcc
def test_sizes_come_from_the_source(folder):
    assert evaluate("relu", ("kElementThreads", "sizeof(Extent)"), folder) == [256, 16]
