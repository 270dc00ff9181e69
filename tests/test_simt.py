"""The SIMT runtime: planted bugs are found, right kernels are not complained about.

The kernels are in ``simt/planted.cpp``; its two builds, without and with the checker, are compiled
here together with the runtime.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared import CHECKOUT

COMPILER = shutil.which(os.environ.get("CXX", "g++"))
SIMT, SOURCES = CHECKOUT / "csrc" / "simt", CHECKOUT / "tests" / "simt"
SCHEDULES = {"first": 0, "last": 1, "reverse": 2, "random": 3}

pytestmark = [
    pytest.mark.skipif(not COMPILER, reason="no C++ compiler"),
    pytest.mark.skipif(not SIMT.is_dir(), reason="no sources of the core beside these tests"),
    pytest.mark.skipif(platform.machine() != "x86_64", reason="the runtime is written for x86-64"),
]

CHECKED = ["-O1", "-fsanitize=thread", "--param", "tsan-instrument-func-entry-exit=0"]
CHECKED += ["-DUNET_SIMT_CHECKED=1"]

# What the checked build must find, under every schedule; without: nothing.
PLANTED = {
    "reverse: no barrier": "race",
    "reverse: a place nobody writes": "uninitialised",
    "reverse: one past shared memory": "out-of-bounds",
    "rotate: filled again too early": "race",
    "warp exchange: no __syncwarp": "race",
    "twice: two blocks, one place": "race",
    "twice: one past the end": "out-of-bounds",
    "twice: before the beginning": "host-access",
    "twice: 16 bytes at an odd place": "misaligned",
    "twice: reads what another block writes": "race",
    "twice: nobody has written x": "uninitialised",
    "twice: x is host memory": "host-access",
    "twice: x was freed": "host-access",
    "bytes: two threads, one byte": "race",
    "meet: two barriers": "divergent-barrier",
    "meet: half the block has left": "early-exit",
    "meet: barrier against __syncwarp": "deadlock",
    "warp sum: mask without the caller": "lane-mask",
    "warp sum: from a lane outside the mask": "inactive-lane",
    "warp sum: half the warp has left": "lane-mask",
    "warp sum: half a warp": "lane-mask",
    "ring: one wait too short": "copy-in-flight",
    "ring: no barrier after the wait": "race",
    "ring: filled again too early": "race",
    "ring: no wait": "copy-in-flight",
    "ring: copies from an odd place": "misaligned",
    "copy that is never waited for": "copy-in-flight",
}
WRONG_ALONE = ["tf32: wrong row of a fragment", "bf16: wrong row of ldmatrix"]
RIGHT = ["bf16", "bytes", "meet", "reverse", "ring", "rotate: right", "tf32", "twice", "votes"]
RIGHT += ["warp exchange", "warp sum"]
# In the build without the checker, under at least one schedule and kind of copies, the result is
# wrong or the runtime itself cannot go on.
# Only the checker knows which memory is the device's, and what an access must be aligned to.
ONLY_CHECKED = {"twice: before the beginning", "twice: x was freed"}
ONLY_CHECKED |= {"twice: 16 bytes at an odd place", "twice: x is host memory"}
SHOWS_UNCHECKED = [case for case in [*PLANTED, *WRONG_ALONE] if case not in ONLY_CHECKED]

# What a marked line of counted.cpp asks for, by one warp: requests, cost, ideal. In shared memory
# wavefronts, of which 16 bytes a lane need four at least; in global memory sectors of 32 bytes.
COUNTED = {
    "shared: neighbours": (1, 1, 1),
    "shared: one word": (1, 1, 1),
    "shared: every second word": (1, 2, 1),
    "shared: one bank": (1, 32, 1),
    "shared: a column, padded": (1, 1, 1),
    "shared 16: neighbours": (1, 4, 4),
    "shared 16: one place": (1, 4, 4),
    "shared 16: every second": (1, 8, 4),
    "shared 16: a column": (1, 32, 4),
    "shared 16: a column, padded": (1, 4, 4),
    "copies: neighbours": (1, 4, 4),
    "copies: a column": (1, 32, 4),
    "matrices: rows of 64 bytes": (1, 16, 4),
    "matrices: padded rows": (1, 4, 4),
    "global: neighbours": (1, 4, 4),
    "global: one float late": (1, 5, 4),
    "global: one word": (1, 1, 1),
    "global: a sector each": (1, 32, 4),
    "global 16: neighbours": (1, 16, 16),
    "global 16: half a sector each": (1, 32, 16),
    "global: rounds": (2, 6, 6),
}


def compile_to(objects, source, *options):
    output = objects / f"{source.stem}-{len(options)}.o"
    command = [COMPILER, "-std=c++17", "-g1", "-fPIE", "-ffp-contract=off", "-Wall", "-Wextra"]
    command += ["-Werror", *options, f"-I{CHECKOUT / 'csrc'}", "-c", str(source), "-o", str(output)]
    subprocess.run(command, check=True)
    return output


@pytest.fixture(scope="session")
def programs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simt")
    wanted = [(path, "-O2") for path in sorted(SIMT.glob("*.cpp"))]
    wanted += [(SOURCES / "planted.cpp", "-O2"), (SOURCES / "planted.cpp", *CHECKED)]
    wanted += [(SOURCES / "runtime_cases.cpp", "-O2"), (SOURCES / "counted.cpp", *CHECKED)]
    with ThreadPoolExecutor(2) as pool:
        objects = list(pool.map(lambda one: compile_to(folder, *one), wanted))
    names = ("unchecked", "checked", "runtime", "counted")
    runtime = list(map(str, objects[: -len(names)]))
    paths = {}
    for name, file in zip(names, objects[-len(names) :], strict=True):
        paths[name] = folder / name
        command = [COMPILER, "-pie", str(file), *runtime, "-ldl", "-o", str(paths[name])]
        subprocess.run(command, check=True)
    return paths


def run(program, *arguments):
    """The kinds of findings, with places and texts, and what the program says last."""
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60)
    if done.returncode:
        return [], f"ended by signal {-done.returncode}"
    *findings, result = done.stdout.splitlines()
    return [line.split("\t") for line in findings], result


def test_every_case_is_expected(programs):
    cases = subprocess.run([programs["checked"]], capture_output=True, text=True).stdout.split("\n")
    assert sorted(filter(None, cases)) == sorted([*PLANTED, *WRONG_ALONE, *RIGHT])


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("copies", ["late", "eager"])
@pytest.mark.parametrize("build", ["unchecked", "checked"])
def test_right_kernels_are_left_in_peace(programs, build, copies, schedule):
    for case in RIGHT:
        found = run(programs[build], case, str(SCHEDULES[schedule]), copies)
        assert found == ([], "right"), case


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("case", PLANTED)
def test_the_checker_finds_it(programs, case, schedule):
    for copies in ("late", "eager"):
        findings, _ = run(programs["checked"], case, str(SCHEDULES[schedule]), copies)
        kinds = [kind for kind, _, _ in findings]
        assert PLANTED[case] in kinds
        for _, where, text in findings:
            assert where.startswith(("planted.cpp:", "line ")), text


@pytest.mark.parametrize("case", SHOWS_UNCHECKED)
def test_it_shows_without_the_checker_too(programs, case):
    outcomes = [
        run(programs["unchecked"], case, str(schedule), copies)
        for schedule in SCHEDULES.values()
        for copies in ("late", "eager")
    ]
    assert any(findings or result != "right" for findings, result in outcomes)


def test_a_finding_names_the_line(programs):
    findings, _ = run(programs["checked"], "twice: one past the end", "0")
    ((kind, where, text),) = findings
    line = (SOURCES / "planted.cpp").read_text().splitlines()[int(where.split(":")[1]) - 1]
    assert kind == "out-of-bounds"
    assert "y[Bug == 2 ? i + 1" in line
    assert "write of 4 bytes at byte 512 of allocation 2, which has 512 bytes" in text
    assert "twice block (1,0,0) thread 63" in text


def test_the_runtime_refuses_what_cuda_refuses(programs):
    listed = subprocess.run([programs["runtime"]], capture_output=True, text=True).stdout
    cases = listed.splitlines()
    assert len(cases) >= 18
    wrong = {
        case: result for case in cases if (result := run(programs["runtime"], case)[1]) != "right"
    }
    assert wrong == {}


def test_every_counted_case_is_expected(programs):
    cases = subprocess.run([programs["counted"]], capture_output=True, text=True).stdout.split("\n")
    assert sorted(filter(None, cases)) == sorted(COUNTED)


@pytest.mark.parametrize("case", COUNTED)
def test_the_counters_know_what_it_costs(programs, case):
    marks = {}
    for number, text in enumerate((SOURCES / "counted.cpp").read_text().splitlines(), 1):
        if "// counted " in text:
            marks[f"counted.cpp:{number}"] = text.split("// counted ")[1]
    done = subprocess.run([programs["counted"], case], capture_output=True, text=True, check=True)
    found = [line.split("\t") for line in done.stdout.splitlines()]
    spaces = {"shared": "1", "global": "0"}
    counted = [
        tuple(map(int, numbers))
        for where, is_shared, _, _, *numbers in found
        if where in marks and spaces[marks[where]] == is_shared
    ]
    assert counted == [COUNTED[case]]
