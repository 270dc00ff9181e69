"""What a net's parameters have to do with other nets and with files."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from unet_native.blob import Blob
from unet_native.ops.arrays import Array
from unet_native.spec import Shape

if TYPE_CHECKING:
    from unet_native.net import Net


class ParameterExchange:
    """Copying, sharing, loading and saving the parameters of a net, by the names of its layers.

    A part of :class:`unet_native.net.Net`.
    """

    params: OrderedDict[str, list[Blob]]
    layer_dict: OrderedDict
    _inner_params: dict[str, list[Blob]]

    def load_params(self, params: Mapping[str, Sequence[Array]]) -> list[str]:
        """Copies parameters, given by layer name, as Caffe's CopyTrainedLayersFrom does.

        Returns the names of layers that this net does not have; those that `params` lacks keep
        their values. Raises ValueError for a number or shape of parameters that differs.
        """
        for name, arrays in params.items():
            if name in self.params:
                self._check_params(name, [array.shape for array in arrays])
        for name, arrays in params.items():
            if name in self.params:
                for blob, array in zip(self._inner_params[name], arrays, strict=True):
                    blob.latest("data")[...] = array
        return [name for name in params if name not in self.layer_dict]

    def copy_from(self, source: Net | str | Path) -> list[str]:
        """Copies the parameters of another net, or of a model file, by layer name.

        source: a net, or a .safetensors, .caffemodel or .caffemodel.h5 file. Returns the names that
        this net ignores. Raises ValueError (UserError for a file), and copies nothing, if a layer
        of both has another number or other shapes of parameters.
        """
        if isinstance(source, ParameterExchange):
            theirs = source._inner_params.items()
            return self.load_params({k: [b.latest("data") for b in v] for k, v in theirs})
        if Path(source).suffix == ".safetensors":
            from unet_native import snapshot

            return self.load_params(snapshot.read(source).params())
        from unet_native.caffe import snapshot as caffes

        return caffes.copy_into(self, source)

    def share_with(self, other: Net) -> None:
        """Uses the parameters of `other` from now on, for layers of the same name.

        Raises ValueError, and shares nothing, if a layer of both has other shapes of parameters.
        """
        both = {k: theirs for k, theirs in other._inner_params.items() if k in self.params}
        for name, theirs in both.items():
            self._check_params(name, [blob.shape for blob in theirs])
        for name, theirs in both.items():
            for mine, blob in zip(self._inner_params[name], theirs, strict=True):
                mine.share_data(blob)

    def save(self, path: str | Path) -> None:
        """Writes network and parameters: by the name's ending .safetensors, or Caffe's model file.

        What ends in .h5 is written as Caffe's HDF5 form, everything else as its binary one.
        """
        if Path(path).suffix == ".safetensors":
            from unet_native import snapshot

            snapshot.save_model(path, self)
        else:
            from unet_native.caffe import snapshot as caffes

            caffes.save_net(path, self)

    def save_hdf5(self, path: str | Path, write_diff: bool = False) -> None:
        """Writes Caffe's HDF5 model file; write_diff: with the parameters' diffs.

        Raises UserError for a name that does not end in .h5, by which such a file is recognized.
        """
        from unet_native.caffe import snapshot as caffes

        caffes.save_net_hdf5(path, self, diffs=write_diff)

    def load_hdf5(self, path: str | Path) -> None:
        """Copies the parameters of an HDF5 model file; see :meth:`copy_from`."""
        self.copy_from(path)

    def _check_params(self, layer: str, given: list[Shape]) -> None:
        own = [blob.shape for blob in self.params[layer]]
        if own != list(given):
            raise ValueError(f"layer {layer!r}: parameters of shapes {given} do not fit {own}")
