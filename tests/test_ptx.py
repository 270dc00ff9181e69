"""The PTX interpreter: small kernels agree with the SIMT runtime, planted bugs are found.

The kernels are in ``ptx/kernels.cu``; nvcc makes PTX of them, and the C++ compiler a program that
records their launches on the SIMT runtime.
"""

from __future__ import annotations

import platform
import re
import shutil
import subprocess

import numpy as np
import pytest

from ptx import replay, toolchain
from ptx.memory import Allocation, KernelError
from ptx.parser import Module, PtxError
from ptx.recording import Launch, read_launches
from shared import CHECKOUT

KERNELS = CHECKOUT / "tests" / "ptx" / "kernels.cu"

pytestmark = [
    pytest.mark.skipif(not toolchain.NVCC, reason="no nvcc, which makes the PTX"),
    pytest.mark.skipif(not shutil.which("c++filt"), reason="no nm and c++filt (package binutils)"),
    pytest.mark.skipif(
        not (CHECKOUT / "csrc" / "cuda").is_dir(),
        reason="no sources of the core beside these tests",
    ),
]

# What a kernel must be found to do wrong; "right" or "wrong": its result, without a finding.
PLANTED = {
    ("scale", 0): "right",
    ("scale", 1): "out-of-bounds",
    ("scale", 2): "misaligned",
    ("scale", 3): "uninitialised",
    ("reverse", 0): "right",
    ("reverse", 1): "out-of-bounds",
    ("reverse", 2): "uninitialised",
    ("reverse", 3): "divergent-barrier",
    ("reverse", 4): "early-exit",
    ("together", 0): "right",
    ("together", 1): "partial-warp",
    ("together", 2): "lane-mask",
    ("together", 3): "inactive-lane",
    ("product_tf32", 0): "right",
    ("product_tf32", 1): "copy-in-flight",
    ("product_tf32", 2): "copy-in-flight",
    ("product_tf32", 3): "wrong",
    ("product_tf32", 4): "misaligned",
}
DEPTH = 44  # of the product: the ring of three stages is gone through twice, the last step is short


def module_of(architecture, change=lambda text: text):
    return Module(change(toolchain.ptx_of(KERNELS, architecture)))


def launch_of(kernel, arguments, grid=1, block=32, shared_bytes=0):
    """Arrays lie in device memory, where what is NaN has not been written; numbers are int32."""
    memory, values = [], []
    for argument in arguments:
        if isinstance(argument, int):
            values.append(np.int32(argument).tobytes())
            continue
        address = (len(memory) + 1) << 20
        written = np.repeat(~np.isnan(argument.ravel()), 4).astype(np.uint8)
        memory.append(Allocation(address, argument.ravel().view(np.uint8).copy(), written))
        values.append(address.to_bytes(8, "little"))
    launch = Launch(
        "kernels.cu", kernel, kernel, (grid, 1, 1), (block, 1, 1), 0, values, memory, []
    )
    launch.shared_bytes = shared_bytes
    return launch


def nothing(*shape):
    return np.full(shape, np.nan, np.float32)


def scale():
    x = np.concatenate([np.arange(100, dtype=np.float32), nothing(8)])
    return (x, nothing(100), 100), 1, 32, 0, 2 * x[:100]


def reverse():
    x = np.random.default_rng(1).permutation(128).astype(np.float32)
    return (x, nothing(128)), 2, 64, 256, np.concatenate([x[:64][::-1], x[64:][::-1]])


def together():
    x = np.arange(96, dtype=np.float32)
    lane, warp = np.arange(96) % 32, np.arange(96) // 32 * 32
    y = np.empty((96, 8), np.float32)
    y[:, 0] = x.reshape(3, 32).sum(1)[warp // 32]
    y[:, 1] = np.where(lane + 3 < 32, x + 3, x)
    y[:, 2] = np.where(lane % 16 >= 5, x - 5, x)
    y[:, 3] = x // 8 * 8 + 3
    y[:, 4] = [sum(1 << i for i in range(24) if (w + i) % 3 == 1) for w in warp]
    y[:, 5] = np.select([warp == 64, warp == 32], [3, 1])
    y[:, 6:] = 1, 55
    return (x, nothing(96 * 8)), 1, 96, 0, y.ravel()


def product_tf32():
    rng = np.random.default_rng(2)
    a, b = rng.integers(-9, 9, (16, DEPTH)), rng.integers(-9, 9, (8, DEPTH))
    arguments = (a.astype(np.float32), b.astype(np.float32), nothing(128), DEPTH)
    return arguments, 1, 32, 3 * 24 * 12 * 4, (a @ b.T).astype(np.float32).ravel()


CASES = {case.__name__: case for case in (scale, reverse, together, product_tf32)}


def outcome_of(module, case, bug):
    """ "right", "wrong" or the kind of the finding; and the finding."""
    arguments, grid, block, shared_bytes, expected = CASES[case]()
    kernel = f"{case}<({case.split('_')[0].capitalize()}){bug}>"
    launch = launch_of(kernel, arguments, grid, block, shared_bytes)
    output = [i for i, x in enumerate(arguments[:3]) if np.ndim(x) and np.isnan(x).all()]
    try:
        contents = replay.run(module, launch, fused=True).contents
    except KernelError as finding:
        return finding.kind, str(finding)
    found = contents[output[0]][0].view(np.float32)
    return ("right" if np.array_equal(found, expected) else "wrong"), ""


@pytest.mark.parametrize("architecture", toolchain.ARCHITECTURES)
@pytest.mark.parametrize(("case", "bug"), PLANTED)
def test_planted_bugs_are_found(case, bug, architecture):
    assert outcome_of(module_of(architecture), case, bug)[0] == PLANTED[case, bug]


def test_a_finding_says_where():
    _, text = outcome_of(module_of(80), "scale", 1)
    assert re.fullmatch(
        r"out-of-bounds: read of 16 bytes at byte 432 of an allocation of 432 bytes "
        r"\(scale<\(Scale\)1> block \(0,0,0\) thread 27, in: ld.global.v4.f32 .*\)",
        text,
    )


def swap_registers_of_a(text):
    return re.sub(r"(mma\.sync.*?\}, \{)(%r\d+), ?(%r\d+)", r"\1\3, \2", text)


# Changes to the PTX itself, as if the inline assembly were wrong: the SIMT runtime cannot see them.
CHANGED = {
    "two registers of A": (swap_registers_of_a, "product_tf32", {"wrong"}),
    "wait_group": (
        lambda text: re.sub(r"wait_group 1;", "wait_group 2;", text),
        "product_tf32",
        {"copy-in-flight"},
    ),
    "no commit": (
        lambda text: text.replace("cp.async.commit_group;", ""),
        "product_tf32",
        {"copy-in-flight"},
    ),
    "bytes that are read": (
        lambda text: re.sub(r"(cp\.async\.cg.*\], 16), %r\d+;", r"\1, 16;", text),
        "product_tf32",
        {"wrong", "out-of-bounds"},
    ),
    "columns as rows": (
        lambda text: text.replace("x4.shared", "x4.trans.shared"),
        "product_tf32",
        {"wrong"},
    ),
    "no guard": (lambda text: re.sub(r"@%p1 bra.*", "", text), "scale", {"out-of-bounds"}),
    "shuffle by less": (
        lambda text: re.sub(r"(mov\.u32\s+%r\d+), 16;", r"\1, 8;", text),
        "together",
        {"wrong"},
    ),
}


@pytest.mark.parametrize("architecture", toolchain.ARCHITECTURES)
@pytest.mark.parametrize("name", CHANGED)
def test_wrong_assembly_is_found(name, architecture):
    change, case, expected = CHANGED[name]
    assert change(toolchain.ptx_of(KERNELS, architecture)) != toolchain.ptx_of(
        KERNELS, architecture
    )
    assert outcome_of(module_of(architecture, change), case, 0)[0] in expected


# --- agreement with the SIMT runtime ---


@pytest.fixture(scope="session")
def launches(tmp_path_factory):
    if not toolchain.COMPILER or platform.machine() != "x86_64":
        pytest.skip("no C++ compiler for x86-64, which the SIMT runtime is written for")
    folder = tmp_path_factory.mktemp("ptx")
    toolchain.compile_for_runtime(KERNELS, folder / "kernels")
    subprocess.run([folder / "kernels", folder / "launches"], check=True)
    return read_launches(folder / "launches")


@pytest.mark.parametrize("architecture", toolchain.ARCHITECTURES)
def test_kernels_agree_with_the_runtime(launches, architecture):
    """In the bits where sums are taken in its order; to 1e-6 where they are rounded once."""
    module = module_of(architecture)
    assert {launch.kernel.split("<")[0] for launch in launches} == {*CASES, "product_bf16"}
    for launch in launches:
        assert replay.disagreement(module, launch, None) == ""
        assert replay.disagreement(module, launch, 1e-6) == ""
        before = np.concatenate([one.content.view(np.uint32) for one in launch.memory])
        after = np.concatenate([content.view(np.uint32) for content in launch.after])
        assert (before != after).any(), "nothing to compare"
        assert np.isfinite(after[before != after].view(np.float32)).all()


def test_a_disagreement_is_named(launches):
    """One bit of what the runtime left is changed."""
    launch = next(launch for launch in launches if launch.kernel == "reverse<(Reverse)0>")
    launch.after = [content.copy() for content in launch.after]
    launch.after[1][4] ^= 1
    text = replay.disagreement(module_of(80), launch, None)
    assert text.startswith("reverse<(Reverse)0>, allocation 1: 1 of 8192 bytes differ, first in ")


# --- what the interpreter does not know ---

TEMPLATE = """
.version 9.0
.target sm_80
.address_size 64
{module}
.entry kernel(.param .u64 to)
{{
  .reg .b32 %r<4>;
  .reg .f32 %f<4>;
  .reg .pred %p<2>;
  {body}
  ret;
}}
"""


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("frob.u32 %r1, %r2;", r"unknown instruction frob, in: frob.u32 %r1, %r2"),
        ("add.odd.s32 %r1, %r2, 1;", r"unknown modifier .odd, in: add.odd.s32"),
        ("add.rz.f32 %f1, %f2, %f3;", r"unknown modifier .rz"),
        ("add.f16 %r1, %r2, %r3;", r"type .f16 instead of .f32, .f64"),
        ("add.s32 %r9, %r2, 1;", r"unknown register %r9"),
        ("add.s32 %r1, %r2, %clock;", r"unknown register %clock"),
        ("mov.u32 %r1, nowhere;", r"unknown symbol nowhere"),
        ("bra nowhere;", r"no label"),
        ("bar.sync 1;", r"a barrier that is not the first"),
        (
            "mma.sync.aligned.m16n8k32.row.col.f32.tf32.tf32.f32 {%f1}, {%r1}, {%r2}, {%f1};",
            "one of",
        ),
        ("ld.param.u32 %r1, [to+8];", r"no parameter at to\+8"),
        (".const .b8 table[4];", r"unknown directive: .const"),
        ("mov.b64 %r1, 3;", r"register %r1 of .b32 as"),
        ("st.global.v2.u32 [%r1], %r2;", r"unknown store of 1 elements"),
    ],
)
def test_the_unknown_is_named(body, message):
    with pytest.raises(PtxError, match=message):
        replay.program_of(Module(TEMPLATE.format(module="", body=body)), "kernel", (32, 1, 1), True)


@pytest.mark.parametrize("module", [".global .b8 table[4];", ".func helper() { ret; }"])
def test_unknown_statements_are_named(module):
    with pytest.raises(PtxError, match=r"unknown statement: \.(global|func)"):
        Module(TEMPLATE.format(module=module, body=""))
