"""Crop: a window of the first bottom, of the second one's size."""

from __future__ import annotations

from collections.abc import Sequence

from unet_native import ops
from unet_native.layers.base import CoordinateMap, Layer
from unet_native.ops.arrays import Array
from unet_native.spec import Shape


class Crop(Layer):
    """top = bottom[0] cut to the size of bottom[1] from `axis` on; see CropParameter for where.

    `offsets` tells the start of the window on all four axes, once shapes are known. `is_window`:
    the net has made the top a view of its bottom, so that there is nothing to do forward.
    Source: Caffe crop_layer.cpp; for "coordinates" the Crop of the 2015 release.
    """

    num_bottoms = (2, 2)
    can_accumulate = True
    backward_may_wait = True

    def __init__(self, *args):
        super().__init__(*args)
        self.offsets: Shape = (0, 0, 0, 0)
        self.is_window = False
        self.aligned: tuple[int, int] | None = None  # rows and columns that coordinates ask for
        alignment = self.spec.crop_param.alignment
        if alignment not in ("offset", "coordinates"):
            raise self.refuse(f"alignment must be offset or coordinates, not {alignment!r}")

    def coordinates(self, bottoms: list[CoordinateMap]) -> CoordinateMap:
        data, reference = bottoms
        shifts = [(r - d) / data.scale for d, r in zip(data.shift, reference.shift, strict=True)]
        whole = all(shift >= 0 and shift == int(shift) for shift in shifts)
        if data.scale == reference.scale and whole:
            self.aligned = int(shifts[0]), int(shifts[1])
        if self.spec.crop_param.alignment == "offset":
            self.offsets = self._given_offsets()
            return data.window(1, *self.offsets[2:])
        if data.scale != reference.scale:
            raise self.refuse(
                f"pixels of the bottoms lie {data.scale:g} and {reference.scale:g} data pixels "
                "apart, so no crop aligns them"
            )
        if self.aligned is None:
            raise self.refuse(f"no crop aligns bottoms that are {shifts[0]:g} pixels apart")
        self.offsets = (0, 0, *self.aligned)
        return reference

    def _given_offsets(self) -> Shape:
        p = self.spec.crop_param
        if not 0 <= p.axis < 4:
            raise self.refuse(f"axis must be 0 to 3, got {p.axis}")
        cropped = 4 - p.axis
        if len(p.offset) not in (0, 1, cropped):
            raise self.refuse(f"{cropped} axes are cropped, but {len(p.offset)} offsets given")
        offset = p.offset or (0,)
        return (0,) * p.axis + (offset * cropped if len(offset) == 1 else offset)

    def top_shapes(self, bottoms: list[Shape]) -> list[Shape]:
        data, reference = bottoms
        if len(data) != 4 or len(reference) != 4:
            raise self.refuse(f"bottoms of 4 axes are wanted, got shapes {data} and {reference}")
        p = self.spec.crop_param
        axis = p.axis if p.alignment == "offset" else 2
        top = data[:axis] + reference[axis:]
        for size, start, length in zip(data, self.offsets, top, strict=True):
            if start < 0 or start + length > size:
                raise self.refuse(
                    f"a window of {length} from {start} on does not fit into {size} "
                    f"(bottoms {data} and {reference})"
                )
        return [top]

    def backpropagates_to(self, bottom: int) -> bool:
        return bottom == 0

    def reads_only_shape(self, bottom: int) -> bool:
        return bottom == 1

    def window(self, bottom: Array, shape: Shape) -> Array:
        """The window of that shape, or of the first axes that it names, as a view."""
        pairs = zip(self.offsets, shape, strict=False)
        return bottom[tuple(slice(start, start + size) for start, size in pairs)]

    def forward(self) -> None:
        if self.is_window:
            return
        top = self.top[0].data
        ops.crop_forward(
            self.window(self.bottom[0].data, top.shape[:2]),  # the op itself cuts the other axes
            top.shape[2:],
            offset=self.offsets[2:],
            out=top,
            context=self.execution.context,
        )

    def backward_data(self) -> None:
        diff = self.bottom_diffs[0]
        window = self.window(diff, self.top[0].diff.shape[:2])
        if window.shape[:2] != diff.shape[:2] and not self.accumulate[0]:
            diff[...] = 0
        ops.crop_backward(
            self.top[0].diff,
            window.shape,
            offset=self.offsets[2:],
            accumulate=self.accumulate[0],
            out=window,
            context=self.execution.context,
        )


def notices(layers: Sequence[Layer]) -> list[str]:
    """Which of the two Crops is applied, one sentence for each that occurs."""
    crops = [layer for layer in layers if isinstance(layer, Crop)]
    release = [layer for layer in crops if layer.spec.crop_param.alignment == "coordinates"]
    bvlc = [layer for layer in crops if layer.spec.crop_param.alignment == "offset"]
    silent = [
        layer
        for layer in bvlc
        if not layer.spec.crop_param.offset and layer.aligned not in (None, layer.offsets[2:])
    ]
    found = []
    if release:
        found.append(
            f"Crop is the 2015 release's, aligned by coordinates: {_rows(release)} pixels are cut "
            "off at the top and left"
        )
    if bvlc:
        found.append(f"Crop is BVLC Caffe's, at the file's offsets: {_rows(bvlc)} pixels")
    if silent:
        found.append(
            f"warning: layer {silent[0].name!r} gives no offset, so BVLC Caffe's Crop cuts at the "
            f"top left corner; aligned by coordinates, as in the 2015 release, {silent[0].name!r} "
            f"would cut at {silent[0].aligned[0]}: say so with crop_param {{ offset: ... }}"
        )
    return found


def _rows(crops: list[Crop]) -> str:
    return ", ".join(f"{crop.offsets[2]} ({crop.name})" for crop in crops)
