"""The state of a solver: `.solverstate`, Caffe's SolverState in binary, and `.solverstate.h5`.

    iter 1, learned_net 2, history 3 (BlobProto), current_step 4

A file that Caffe wrote is written again byte for byte.

Source: src/caffe/proto/caffe.proto, SGDSolver::SnapshotSolverState and ::RestoreSolverState
(src/caffe/solvers/sgd_solver.cpp).
"""

from __future__ import annotations

import os
from pathlib import Path

from unet_native.caffe import hdf5
from unet_native.caffe.blob_proto import blob_field, int32, parse_blob, write_pieces
from unet_native.caffe.stored import SolverState, check_finite, named_history
from unet_native.caffe.whole_file import damaged, read_whole
from unet_native.caffe.wire import Piece, Walker, WireError, number_field, text_field

KIND = ".solverstate"
_ITER, _LEARNED_NET, _HISTORY, _CURRENT_STEP = 1, 2, 3, 4


def read_solverstate(path: str | os.PathLike[str]) -> SolverState:
    """Reads a solver's state; one named `*.h5` as HDF5. Does not open the weights it names.

    Raises UserError, one sentence, if the file is missing, damaged, of another kind, or has
    momentum that is not finite.
    """
    path = Path(path)
    if path.suffix == ".h5":
        return hdf5.read_state(path)
    data = read_whole(path, KIND)
    try:
        state = _parse_state(Walker(data))
    except WireError as error:
        raise damaged(path, KIND, data, str(error)) from error
    check_finite(path, named_history(state))
    return state


def write_solverstate(path: str | os.PathLike[str], state: SolverState) -> Path:
    """Writes a solver's state, whole or not at all; one named `*.h5` as HDF5.

    Takes memory for one blob at a time. Raises UserError if it cannot be written.
    """
    path = Path(path)
    if path.suffix == ".h5":
        return hdf5.write_state(path, state)
    pieces: list[Piece] = [number_field(_ITER, state.iter)]
    if state.learned_net:
        pieces.append(text_field(_LEARNED_NET, state.learned_net))
    for blob in state.history:
        pieces += blob_field(_HISTORY, blob)
    if state.current_step is not None:
        pieces.append(number_field(_CURRENT_STEP, state.current_step))
    return write_pieces(path, KIND, pieces)


def _parse_state(walker: Walker) -> SolverState:
    state = SolverState(-1, current_step=None)
    for field in walker.fields():
        if field.number == _ITER:
            state.iter = int32(field)
        elif field.number == _LEARNED_NET:
            state.learned_net = walker.text(field)
        elif field.number == _HISTORY:
            state.history.append(parse_blob(walker, field))
        elif field.number == _CURRENT_STEP:
            state.current_step = int32(field)
    if state.iter < 0:
        raise WireError("no iteration is stored")
    return state
