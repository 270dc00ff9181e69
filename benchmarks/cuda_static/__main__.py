"""Writes benchmarks/cuda_static.md; the exit status is 1 if a bound is broken."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.cuda_static import model
from benchmarks.cuda_static.toolkit import ARCHITECTURES, CUDA, fatbin_bytes, tool

PAGE = Path(__file__).resolve().parents[1] / "cuda_static.md"

_TEXT = """# Kernels of the GPU: a static model

Written by `python -m benchmarks.cuda_static` from machine code that no GPU has run: **a static
model, no speed**. {nvcc}.

r: registers of a thread; b: blocks that a multiprocessor holds at a time (cuda_occupancy.h), and
the share of its warps that they make up; FFMA, HMMA: the share of multiply-adds among the
instructions of the hottest loop, which bounds the share of the peak from above. No kernel spills or
uses local memory. Machine code of all these architectures, compressed: {size:.2f} MB.

{table}
"""


def main() -> int:
    if not (tool("nvcc") and tool("nvdisasm")):
        sys.exit('needs nvcc, and nvdisasm (pip install ".[verify]")')
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = [
            model.compiled(CUDA / f"{source}.cu", architecture, folder)
            for source in model.sources()
            for architecture in ARCHITECTURES
        ]
        rows = model.figures(files, folder)
        size = sum(
            fatbin_bytes({f.architecture: f.cubin for f in files if f.source == source}, folder)
            for source in model.sources()
        )
    version = subprocess.run([tool("nvcc"), "--version"], capture_output=True, text=True).stdout
    nvcc = "nvcc " + version.split("release ")[1].split(",")[0]
    table = "\n".join(model.table(rows))
    PAGE.write_text(_TEXT.format(nvcc=nvcc, size=size / 1e6, table=table), encoding="utf-8")
    print(f"{len(rows)} kernels times architectures, a static model: {PAGE}")
    complaints = [complaint for row in rows for complaint in row.complaints()]
    print("\n".join(complaints))
    return bool(complaints)


if __name__ == "__main__":
    sys.exit(main())
