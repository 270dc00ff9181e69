"""The built extension: no code for new machines outside its place; a quick import."""

from __future__ import annotations

import functools
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest

from unet_native import _core

# Namespaces whose code runs only on machines that offer the instructions (mangled).
GUARDED = ("4unet3cpu4avx2", "4unet3cpu6avx512")
# Instructions beyond SSE2 begin with v and name a vector register (or are vzeroupper).
NEW = re.compile(r"\tv(?:\w+\s.*%[xyz]mm|zeroupper)")


@functools.cache
def code() -> dict[str, str]:
    """The instructions of each function of the extension, one a line, by its mangled name."""
    if platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("only x86-64 has several instruction sets")
    if shutil.which("objdump") is None:
        pytest.skip("objdump (package binutils) is not installed")
    listing = subprocess.run(
        ["objdump", "-d", "--no-show-raw-insn", _core.__file__],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    found = {}
    for block in re.split(r"\n(?=[0-9a-f]+ <)", listing)[1:]:
        found[block[block.index("<") + 1 : block.index(">:")]] = block
    if len(found) < 100:
        pytest.skip("the extension was built without symbols")
    return found


def functions() -> dict[str, bool]:
    """Whether each function of the extension holds instructions of AVX or newer."""
    return {name: NEW.search(block) is not None for name, block in code().items()}


def innermost_loops(block: str) -> Iterator[list[str]]:
    """The instructions between the target of a jump back and that jump, if no other lies within."""
    lines = re.findall(r"^ *([0-9a-f]+):\t(.*)$", block, re.MULTILINE)
    position = {address: i for i, (address, _) in enumerate(lines)}
    for i, (_, instruction) in enumerate(lines):
        jump = re.match(r"j\w+ +([0-9a-f]+) ", instruction)
        start = position.get(jump[1], len(lines)) if jump else len(lines)
        body = [text for _, text in lines[start:i]]
        if body and not any(text.startswith("j") for text in body):
            yield body


def test_new_instructions_stay_where_they_belong():
    """The linker must not have shared a function between instruction sets (csrc/cpu/simd.h)."""
    found = functions()
    new = [name for name, is_new in found.items() if is_new]
    for namespace in GUARDED:
        assert any(namespace in name for name in new), f"nothing in {namespace}: test is blind"
    strays = [name for name in new if not any(namespace in name for namespace in GUARDED)]
    assert not strays, f"compiled for a newer machine than its callers check for: {strays}"


def test_baseline_has_its_own_kernels():
    names = [name for name in functions() if "4unet3cpu8baseline" in name]
    assert any("panel_kernel" in name or "forward" in name for name in names)


@pytest.mark.parametrize(
    ("namespace", "register", "tile", "ops"),
    [
        ("6avx512", "zmm", 14 * 2, ("winograd", "direct", "pointwise")),
        ("6avx512", "zmm", 12 * 2, ("multiply_pair",)),
        ("4avx2", "ymm", 6 * 2, ("winograd", "direct", "pointwise")),
    ],
)
def test_matrix_kernels_keep_their_tile_in_registers(namespace, register, tile, ops):
    """No accumulator of a full tile (csrc/cpu/gemm.h), or of two positions of few tiles
    (csrc/cpu/winograd_few_tiles.h), visits the stack within the loop over k."""
    multiply_add = re.compile(rf"vfn?m(add|sub)\w+ .*%{register}")
    of_one_number = re.compile(r"vbroadcastss|.*\{1to16\}")  # no loop of a transform has them
    spill = re.compile(rf"vmov\w+ +%{register}\d+,.*\(")
    kernels = []
    for name, block in code().items():
        if f"4unet3cpu{namespace}" not in name:
            continue
        for body in innermost_loops(block):
            multiply_adds = sum(multiply_add.match(text) is not None for text in body)
            if multiply_adds == tile and any(map(of_one_number.match, body)):
                kernels.append(name)
                assert not [text for text in body if spill.match(text)], name
    for op in ops:
        assert any(op in name for name in kernels), f"no full tile in {op}: test is blind"


@pytest.mark.parametrize(("namespace", "rows"), [("6avx512", 14), ("4avx2", 6)])
@pytest.mark.parametrize(("op", "of_filters"), [("winograd", 1), ("pointwise", 0)])
def test_next_rows_are_fetched(namespace, rows, op, of_filters):
    """A full tile fetches each row of the next one, in Winograd's products the next filters too:
    GCC 12 drops calls of functions that only do so (fetch in csrc/cpu/simd.h)."""
    blocks = [block for name, block in code().items() if f"4unet3cpu{namespace}" in name]
    tiles = [block for block in blocks if op in block and "vfmadd" in block]
    assert max(block.count("\tprefetcht0") for block in tiles) >= rows + of_filters
    assert any("\tprefetcht1" in block for block in tiles) == (of_filters > 0)


@pytest.mark.parametrize("namespace", ["4avx2", "6avx512"])
def test_next_windows_are_fetched_while_products_are_computed(namespace):
    """Products of whole blocks of tiles do it: multiply<2, true, ..> of conv3x3_winograd.cpp."""
    blocks = [
        block
        for name, block in code().items()
        if f"4unet3cpu{namespace}" in name and "multiplyILi2ELb1E" in name
    ]
    tiles = [block for block in blocks if "vfmadd" in block]
    assert tiles
    assert all("\tprefetcht0" in block for block in tiles)


@pytest.mark.parametrize("op", ["winograd", "direct", "pointwise", "backward_row"])
def test_large_results_are_streamed(op):
    """Stores past the caches (csrc/cpu/stream.h) are there where an op may write a large blob."""
    blocks = [block for name, block in code().items() if "4unet3cpu6avx512" in name and op in name]
    assert any("vmovntps" in block for block in blocks)


@pytest.mark.parametrize("module", ["unet_native", "unet_native.ops"])
def test_import_leaves_heavy_packages_alone(module):
    """Plotting, image formats, SciPy and the command line's packages are imported when used."""
    heavy = {"scipy", "matplotlib", "PIL", "tifffile", "typer", "rich", "h5py", "torch"}
    code = f"import sys, {module}; print(*{{name.split('.')[0] for name in sys.modules}})"
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert not heavy & set(output.split())


def test_import_leaves_the_environment_alone():
    """How OpenMP's threads wait is chosen while the core is loaded; child processes choose anew."""
    code = "import os; old = dict(os.environ); import unet_native; assert os.environ == old"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_import_is_quick():
    """Beyond numpy's own time, within a third of a second (the best of three)."""
    code = (
        "import time, numpy; start = time.perf_counter(); import unet_native.ops;"
        "print(time.perf_counter() - start)"
    )
    seconds = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
        for _ in range(3)
    ]
    assert min(seconds) < 0.33
