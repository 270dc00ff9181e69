"""No race in any schedule: proved by SentryWard for small fixed sizes, from nvcc's PTX.

It checks races and barriers, not addresses (the SIMT runtime's checker does) and not values. A few
kernels always, the rest with ``-m simt_full``. See race_freedom.py.
"""

from __future__ import annotations

import importlib.util

import pytest

from shared import CHECKOUT

if not (CHECKOUT / "benchmarks").is_dir():
    pytest.skip("no benchmarks beside these tests", allow_module_level=True)

from benchmarks.cuda_static.model import sources
from benchmarks.cuda_static.toolkit import tool
from race_freedom import (
    Launch,
    Prover,
    entries_of,
    no_view,
    numbers,
    span,
    specialise,
    view,
    view_with_strides,
)
from race_launches import (
    ALWAYS,
    BLOB,
    CONV3X3,
    FULL,
    UNSUPPORTED,
    WITHOUT_MEMORY,
    elementwise,
    sum_outer_products,
)

needs_prover = pytest.mark.skipif(
    not (tool("nvcc") and importlib.util.find_spec("sentryward")),
    reason='no nvcc, or SentryWard is not installed (pip install ".[verify]")',
)


@pytest.fixture(scope="module")
def prover(tmp_path_factory):
    return Prover(tmp_path_factory.mktemp("race_freedom"))


def proofs(launches: list[Launch], *marks: pytest.MarkDecorator) -> list:
    return [pytest.param(one, marks=marks, id=f"{one.source}: {one.kernel}") for one in launches]


@needs_prover
@pytest.mark.parametrize("launch", [*proofs(ALWAYS), *proofs(FULL, pytest.mark.simt_full)])
def test_no_race_in_any_schedule(prover, launch):
    answer = prover.prove(launch)
    assert answer["result"] == "race_free", answer["diagnostics"]
    assert answer["checks"]["memory"] == answer["checks"]["synchronization"] == "passed"
    assert answer["counts"]["memory_accesses"] > 0


@needs_prover
@pytest.mark.simt_full
@pytest.mark.parametrize("launch", proofs(UNSUPPORTED))
def test_what_cannot_be_proved(prover, launch):
    """When this fails, there is more to prove."""
    answer = prover.prove(launch)
    assert answer["result"] == "unsupported"
    assert [d["code"] for d in answer["diagnostics"]] == ["control_predicate_not_static"]


@pytest.mark.skipif(not tool("nvcc"), reason="no nvcc: there is no PTX")
def test_no_kernel_is_forgotten(prover):
    """Each template in one of its forms at least."""
    launched = {one.kernel.split("<")[0] for one in [*ALWAYS, *FULL, *UNSUPPORTED]}
    there = {kernel.split("<")[0] for source in sources() for kernel in prover.kernels(source)}
    assert launched | WITHOUT_MEMORY == there


# --- planted faults ---


@needs_prover
def test_a_missing_barrier_is_found(prover):
    launch = sum_outer_products(CONV3X3, 1, True, 24, 1, 4, 7, 7, 8)
    answer = prover.prove(launch, without_barriers=True)
    assert answer["result"] == "potential_race"
    assert answer["checks"]["memory"] != "passed"


@needs_prover
def test_two_blocks_that_write_the_same_are_found(prover):
    rows_alike = view_with_strides("to", BLOB, (0, 0, 3))
    arguments = [view("sign", *BLOB), view("source", *BLOB), numbers("f", 0.1), rows_alike]
    answer = prover.prove(elementwise("relu", "scale_negative", BLOB, *arguments))
    assert answer["result"] == "potential_race"


# --- specialisation ---

PTX = """.version 9.0

.entry _Z1k4View(
\t.param .align 8 .b8 _Z1k4View_param_0[16],
\t.param .f32 _Z1k4View_param_1
)
.maxntid 32
{
\tld.param.v2.u64 \t{%rd1, %rd2}, [_Z1k4View_param_0];
\tld.param.u8 \t%rs1, [_Z1k4View_param_0+8];
\tld.param.f32 \t%f1, [_Z1k4View_param_1];
\tret;
}
"""


def test_specialised_ptx():
    entries = entries_of(PTX)
    arguments = [span("x", 258), numbers("f", -1.5)]
    kernel = specialise(entries[""], entries["_Z1k4View"], arguments)
    assert kernel.pointers == ["x"]
    assert (
        kernel.ptx
        == """.version 9.0

.visible .entry kernel(
\t.param .u64 x
)
.maxntid 32
{
\tld.param.u64 %rd1, [x];
\tmov.u64 %rd2, 258;
\tmov.u16 %rs1, 2;
\tmov.f32 %f1, 0fBFC00000;
\tret;
}
"""
    )


def test_the_address_of_a_parameter_is_followed():
    entry = entries_of(PTX)["_Z1k4View"]
    moves = "mov.b64 \t%rd8, _Z1k4View_param_0;\n\tmov.u64 \t%rd9, %rd8;\n\t"
    entry = entry.replace(
        "ld.param.u8 \t%rs1, [_Z1k4View_param_0+8]", moves + "ld.param.u8 \t%rs1, [%rd9+9]"
    )
    kernel = specialise("", entry, [span("x", 258), numbers("f", -1.5)])
    assert "mov.u16 %rs1, 1;" in kernel.ptx
    assert "_param_" not in kernel.ptx
    written_again = entry.replace("ret;", "add.s64 \t%rd9, %rd9, 4;\n\tret;")
    with pytest.raises(KeyError, match="%rd9"):
        specialise("", written_again, [span("x", 258), numbers("f", -1.5)])


def test_arguments_that_do_not_fit_are_an_error():
    entry = entries_of(PTX)["_Z1k4View"]
    with pytest.raises(ValueError, match="has 16 bytes, not 48"):
        specialise("", entry, [no_view(), numbers("f", 1)])
    with pytest.raises(ValueError, match="shorter"):
        specialise("", entry, [span("x", 1)])
    address = entry.replace("ret;", "mov.b64 %rd3, _Z1k4View_param_0;\n\tadd.s64 %rd4, %rd3, 8;")
    with pytest.raises(ValueError, match="otherwise"):
        specialise("", address, [span("x", 1), numbers("f", 1)])
