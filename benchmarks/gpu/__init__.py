"""A GPU against its peers: every op checked, then each layer, the step and segmentation timed.

``python -m benchmarks.gpu`` does all of it; ``python -m benchmarks.gpu.roofline`` says what any
implementation can reach at most.

    network.py     the layers of the network: shapes, operations, least traffic
    cases.py       one pass of one layer, to run in any place
    check.py       cases on the device against the CPU
    clock.py       seconds on the device
    cudnn.py/.cpp  the peer cuDNN, a program of its own
    pytorch.py     the peer PyTorch
    race.py        all of them taking turns
    whole.py       step, inference and segmentation
    machine.py     what a reader must know about the GPU
    page.py        what was measured, as benchmarks/gpu.md and JSON
"""
