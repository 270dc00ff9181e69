"""What each kernel must keep to. Bounds are what the code reaches, with a little room: they are
there so that a change which loses registers, blocks or multiply-adds is seen, not to praise."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Bound:
    sources: str  # a pattern of their names: csrc/cuda/<source>.cu
    kernels: str  # a pattern of theirs, whole, without unet::cuda::
    registers: int  # of a thread, at most
    threads: str  # of a block: a C++ constant of the source, in which \\1 is the pattern's group 1
    shared: str = "0"  # bytes that the launch gives a block: the same
    blocks: int = 1  # on a multiprocessor, at least
    occupancy: float = 0.0  # of the warps that there is room for, at least
    share: float = 0.0  # of multiply-adds in the hottest loop, at least
    since: int = 75  # the architecture; on older ones nothing launches it

    def match(self, source: str, kernel: str) -> re.Match[str] | None:
        return re.fullmatch(self.kernels, kernel) if re.fullmatch(self.sources, source) else None

    def sizes(self, kernel: str) -> tuple[str, str]:
        """C++ for the threads and the shared memory of a kernel's block."""
        match = re.fullmatch(self.kernels, kernel)
        return match.expand(self.threads), match.expand(self.shared)


def _streaming(
    sources: str, kernels: str = r"\w+", threads: str = "kElementThreads", shared: str = "0"
) -> Bound:
    # Bound by memory: half the warps keep enough loads under way.
    return Bound(sources, kernels, 64, threads, shared, occupancy=0.5)


def _tiled(sources: str, kernels: str, warps: int, share: float) -> Bound:
    # 64 sums and the operands of a step live in registers; three blocks of 4 warps, or one of 8.
    threads, shared = f"Tiling<{warps}>::kThreads", f"sizeof(Tiling<{warps}>::Shared)"
    blocks = {1: 3, 2: 1}[warps]
    return Bound(sources, kernels, 168, threads, shared, blocks, share=share)


def _tensor(math: str, rows: int, columns: int, registers: int, share: float) -> Bound:
    # 16 * rows * columns sums for each of two products; a ring of four stages. Blocks: of GPUs that
    # have 100 KB of shared memory; the others hold one more.
    tiling = f"TensorTiling<{rows}, {columns}>"
    kernels = rf"(?:multiply_taps|sum_outer_products)<{math}, {tiling}.*>"
    blocks = {1: 3, 2: 2, 4: 1}[rows * columns]
    shared = f"sizeof({tiling}::Shared)"
    return Bound(
        *("convolution_tensor", kernels, registers, "kTensorThreads", shared, blocks),
        share=share,
        since=80,
    )


BOUNDS = [
    _tiled("convolution", r"multiply_taps<1, \w+, true>", 1, 0.81),
    _tiled("convolution", r"multiply_taps<1, \w+, false>", 1, 0.70),
    _tiled("convolution", r"multiply_taps<2, \w+, true>", 2, 0.82),
    _tiled("convolution", r"sum_outer_products<1, true>", 1, 0.80),
    _tiled("convolution", r"sum_outer_products<1, false>", 1, 0.70),
    _tiled("convolution", r"sum_outer_products<2, true>", 2, 0.80),
    _streaming("convolution", "finish_splits"),
    _tensor("Tf32", 2, 2, 240, 0.17),
    _tensor("Tf32", 2, 1, 176, 0.13),
    _tensor("Tf32", 1, 1, 120, 0.07),
    _tensor("Bf16", 2, 2, 240, 0.14),
    _tensor("Bf16", 2, 1, 176, 0.10),
    _tensor("Bf16", 1, 1, 120, 0.045),
    # Bound by memory. A thread of dot_products has the loads of several pixels under way, one of
    # the others with sixteen outputs keeps as many filters or sums: a quarter of the warps do.
    Bound("conv1x1_few", r"conv1x1_few::dot_products<(\d+), \w+>", 128, "conv1x1_few::kThreads",
          r"4 * \1 * conv1x1_few::kWidth", occupancy=0.25),
    Bound("conv1x1_few", r"conv1x1_few::spread_diffs<\d+, \w+>", 96, "conv1x1_few::kThreads",
          occupancy=0.25),
    Bound("conv1x1_few", r"conv1x1_few::correlate_few<\d+, \w+>", 128, "conv1x1_few::kThreads",
          "sizeof(conv1x1_few::GroupSums)", occupancy=0.25),
    # A thread of direct_sums keeps 32 sums; one of direct_products 40, and the loads of a run.
    Bound("conv3x3_few", r"conv3x3_few::direct_sums<(\d+)>", 72, "conv3x3_few::kThreads",
          r"sizeof(conv3x3_few::Tile<\1>::Forward)", occupancy=0.5),
    Bound("conv3x3_few", r"conv3x3_few::direct_products<(\d+)>", 112, "conv3x3_few::kThreads",
          r"sizeof(conv3x3_few::Tile<\1>::Backward)", occupancy=0.25),
    Bound("fma_peak", "multiply_add", 32, "kThreads", occupancy=0.5),
    _streaming("reduce", "add_splits|sum_channels", "kReduceThreads", "sizeof(ReduceSlots)"),
    _streaming("softmax_loss", "count_labels|weighted_losses|finish", "kThreads", "sizeof(Shared)"),
    _streaming("adam|crop_concat|dropout|max_pool2x2|relu|sgd|softmax"),
]  # fmt: skip


def bound_of(source: str, kernel: str) -> Bound:
    """The only bound of a kernel; each kernel has one."""
    found = [bound for bound in BOUNDS if bound.match(source, kernel)]
    if len(found) != 1:
        raise LookupError(
            f"{kernel} of {source}.cu has {len(found)} rows in benchmarks/cuda_static/bounds.py: "
            "it needs one"
        )
    return found[0]
