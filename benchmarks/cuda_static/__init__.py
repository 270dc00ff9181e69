"""What the machine code of the GPU's kernels says without a GPU: a static model, never a speed.

``python -m benchmarks.cuda_static`` compiles every file of csrc/cuda/ and writes the figures to
benchmarks/cuda_static.md; ``tests/test_cuda_static.py`` holds them against the bounds of
:mod:`benchmarks.cuda_static.bounds`.

- registers, spills, local memory: what ptxas reports (:mod:`ptxas`)
- blocks on a multiprocessor: NVIDIA's own formula, cuda_occupancy.h (:mod:`occupancy`)
- the share of multiply-adds in the hottest loop: read from the disassembly (:mod:`sass`)
"""
