"""Weight files: `.caffemodel`, Caffe's NetParameter in binary, and `.caffemodel.h5`.

    name 1, layers 2 (V1LayerParameter), layer 100 (LayerParameter)
    LayerParameter:   name 1, type 2 (string), blobs 7
    V1LayerParameter: layer 1 (V0, of 2013), name 4, type 5 (enum), blobs 6

Everything else is kept as bytes, in the order of the field numbers, as Caffe writes it: a file that
Caffe wrote is written again byte for byte. Numbers of 64 bits and unpacked ones are written as
packed float32, and fields of a blob that Caffe does not know are lost.

Source: src/caffe/proto/caffe.proto, Net::ToProto and Net::CopyTrainedLayersFrom.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from unet_native.caffe import hdf5
from unet_native.caffe.blob_proto import blob_field, int32, parse_blob, write_pieces
from unet_native.caffe.stored import (
    CaffeModel,
    StoredLayer,
    check_finite,
    named_blobs,
    quoted,
)
from unet_native.caffe.whole_file import damaged, read_whole
from unet_native.caffe.wire import (
    BYTES,
    Field,
    Piece,
    Walker,
    WireError,
    bytes_field,
    number_field,
    text_field,
)
from unet_native.errors import UserError

KIND = ".caffemodel"
_NAME = 1


class _Form(NamedTuple):
    """The field numbers of a form of layer; `layer` is the layer's own in the network."""

    layer: int
    name: int
    type: int
    blobs: int


_CURRENT = _Form(layer=100, name=1, type=2, blobs=7)
_V1 = _Form(layer=2, name=4, type=5, blobs=6)


class _FormError(Exception):
    """The layers are of a form that is not read; the text says why and what to do."""


def read_caffemodel(path: str | os.PathLike[str]) -> CaffeModel:
    """Reads a weight file; one named `*.h5` as HDF5. Runs none of its content.

    The blobs are views of the file's bytes in memory where Caffe's order allows, that is float32,
    C order, read-only, perhaps not aligned. Raises UserError, one sentence, if the file is missing,
    damaged, of another kind, or has weights that are not finite numbers.
    """
    path = Path(path)
    if path.suffix == ".h5":
        return hdf5.read_model(path)
    data = read_whole(path, KIND)
    try:
        model = _parse_model(Walker(data))
    except WireError as error:
        raise damaged(path, KIND, data, str(error)) from error
    except _FormError as error:
        raise UserError(f"{path}: {error}") from error
    check_finite(path, named_blobs(model))
    return model


def write_caffemodel(path: str | os.PathLike[str], model: CaffeModel) -> Path:
    """Writes a weight file, whole or not at all; one named `*.h5` as HDF5.

    Takes memory for one blob at a time. Raises UserError if the file cannot be written, or the
    model is too large for the form (2 GiB in binary).
    """
    path = Path(path)
    if path.suffix == ".h5":
        return hdf5.write_model(path, model)
    form = _V1 if model.v1 else _CURRENT
    pieces: list[Piece] = [] if model.name is None else [text_field(_NAME, model.name)]
    pieces.append(model.head)
    for layer in model.layers:
        pieces += bytes_field(form.layer, _layer_pieces(layer, form))
    return write_pieces(path, KIND, [*pieces, model.tail])


def _parse_model(walker: Walker) -> CaffeModel:
    model = CaffeModel(name=None)
    between, after = bytearray(), bytearray()
    forms: set[_Form] = set()
    for field in walker.fields():
        if field.number == _NAME:
            model.name = walker.text(field)
        elif field.number in (_V1.layer, _CURRENT.layer):
            form = _V1 if field.number == _V1.layer else _CURRENT
            forms.add(form)
            if len(forms) == 2:
                raise _FormError(
                    "has both `layers` and `layer`, which Caffe refuses; write it with one of them"
                )
            model.layers.append(_parse_layer(walker, field, form))
        else:
            part = after if field.number > _CURRENT.layer else between
            part += walker.data[field.begin : field.stop]
    model.v1 = _V1 in forms
    if model.v1:
        model.tail = bytes(between + after)
    else:
        model.head, model.tail = bytes(between), bytes(after)
    return model


def _parse_layer(walker: Walker, field: Field, form: _Form) -> StoredLayer:
    if field.kind != BYTES:
        raise WireError(f"field {field.number} holds no layer")
    layer = StoredLayer("")
    head, tail = bytearray(), bytearray()
    blobs: list[Field] = []
    for part in walker.fields(field.start, field.stop):
        if part.number == form.name:
            layer.name = walker.text(part)
        elif part.number == form.type:
            layer.type = int32(part) if form is _V1 else walker.text(part)
        elif part.number == form.blobs:
            blobs.append(part)
        elif part.number == 1:  # only of V1: in the current form it is the name
            raise _FormError(
                "has layers in the form of 2013; convert it with Caffe's upgrade_net_proto_binary"
            )
        else:
            place = head if part.number < form.blobs else tail
            place += walker.data[part.begin : part.stop]
    layer.head, layer.tail = bytes(head), bytes(tail)
    try:
        layer.blobs = [parse_blob(walker, blob) for blob in blobs]
    except WireError as error:
        raise WireError(f"layer {quoted(layer.name)}: {error}") from error
    return layer


def _layer_pieces(layer: StoredLayer, form: _Form) -> list[Piece]:
    names: list[Piece] = [text_field(form.name, layer.name)] if layer.name else []
    if isinstance(layer.type, int):
        names.append(number_field(form.type, layer.type))
    elif layer.type:
        names.append(text_field(form.type, layer.type))
    blobs = [piece for blob in layer.blobs for piece in blob_field(form.blobs, blob)]
    # The numbers of name and type come before those of `head` now, and came after them in V1.
    before = [layer.head, *names] if form is _V1 else [*names, layer.head]
    return [*before, *blobs, layer.tail]
