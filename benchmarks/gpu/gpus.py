"""What GPUs are said to reach: published peaks, and the least time that follows from them."""

from __future__ import annotations

from dataclasses import dataclass

MATHS = ("fp32", "tf32", "bf16")


@dataclass(frozen=True)
class Gpu:
    """peak: TFLOP/s by math, of dense matrices, sums in float32; bandwidth: GB/s.

    key: by which the name that the driver gives is known
    """

    name: str
    key: str
    fp32: float
    tf32: float
    bf16: float
    bandwidth: float
    source: str

    def peak(self, math: str) -> float:
        """Operations a second."""
        return {"fp32": self.fp32, "tf32": self.tf32, "bf16": self.bf16}[math] * 1e12

    def ridge(self, math: str) -> float:
        """Operations for each byte from which on the math is the limit."""
        return self.peak(math) / (self.bandwidth * 1e9)

    def math_seconds(self, flop: float, math: str) -> float:
        return flop / self.peak(math)

    def memory_seconds(self, traffic: float) -> float:
        return traffic / (self.bandwidth * 1e9)

    def ideal_seconds(self, flop: float, traffic: float, math: str) -> float:
        """The least for so many operations and bytes, one beside the other."""
        return max(self.math_seconds(flop, math), self.memory_seconds(traffic))

    def is_bound_by_memory(self, flop: float, traffic: float, math: str) -> bool:
        return self.memory_seconds(traffic) > self.math_seconds(flop, math)


# The data sheets give the tensor cores' rates with structured sparsity, twice these, or both.
GPUS = (
    Gpu("A100 SXM 80 GB", "A100", 19.5, 156, 312, 2039, "NVIDIA A100 Tensor Core GPU, data sheet"),
    Gpu("H100 SXM", "H100", 66.9, 494.7, 989.4, 3350, "NVIDIA H100 Tensor Core GPU, data sheet"),
    Gpu("RTX 4090", "RTX 4090", 82.6, 82.6, 165.2, 1008, "NVIDIA Ada GPU Architecture, appendix A"),
    Gpu("L4", "L4", 30.3, 60.5, 121, 300, "NVIDIA L4 Tensor Core GPU, data sheet"),
)  # fmt: skip


def known(name: str) -> Gpu | None:
    """The GPU that the driver calls `name`; None for one without a row above."""
    words = name.replace("-", " ").split()
    for gpu in GPUS:
        key = gpu.key.split()
        if any(words[i : i + len(key)] == key for i in range(len(words))):
            return gpu
    return None
