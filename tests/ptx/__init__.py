"""An interpreter of PTX, the code that nvcc makes of the kernels.

A launch that the SIMT runtime has recorded (``recording.py``) is run again from the PTX of the same
kernel, on the same memory, and what it leaves there is compared (``replay.py``)::

    parser.py       text -> entries, instructions, operands
    program.py      an entry for a number of threads: registers, and a function for each instruction
    arithmetic.py, floats.py, conversions.py, accesses.py, control.py, warp.py, tensor.py
                  what those do
    memory.py       global and shared memory: bounds, alignment, what was written, what is under way
    machine.py      the threads of a block: branches, barriers, warp operations
    toolchain.py    calls nvcc, and the C++ compiler for the kernels of the tool's own tests

All threads of a block take a step together, as far as they are at the same place: an instruction is
one numpy operation over them. What the interpreter does not know is an error that names it.
"""
