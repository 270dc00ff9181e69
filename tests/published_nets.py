"""The prototxts of two published networks, written anew in the forms in which they came.

release_2015   phseg_v5 of u-net-release-2015-10-02: V1, one `layers { .. }` a line
cell_net_2019  2d_cell_net_v0 of the 2019 fork: current form, cropping in Concat, augmenting layers

`depth` and `width` make them smaller; the published ones have 5 and 64. Names follow from them:
"conv_d3b-c" leads from d3b to d3c, "upconv_d4c_u3a" from d4c up to u3a.
"""

from __future__ import annotations


def contracting(depth: int, first: str) -> list[tuple[str, str, str, int]]:
    """(kind, bottom, top, level) of the layers down to the last level."""
    steps, bottom = [], first
    for i in range(depth):
        if i > 0:
            steps.append(("pool", bottom, f"d{i}a", i))
            bottom = f"d{i}a"
        for top in (f"d{i}b", f"d{i}c"):
            steps.append(("conv", bottom, top, i))
            bottom = top
    return steps


def conv_name(bottom: str, top: str) -> str:
    return f"conv_{'d0a' if bottom == 'data' else bottom}-{top[2:]}"


# --- 2015 ---


def release_2015(
    *, depth: int = 5, width: int = 64, source: str = "aug.txt", ratio: float = 0.5
) -> str:
    """The file to train with."""
    blobs_lr = "blobs_lr: 1 blobs_lr: 2 weight_decay: 1 weight_decay: 0"
    train = "include: { phase: TRAIN }"

    def layer(kind: str, name: str, bottoms: list[str], tops: list[str], rest: str = "") -> None:
        ends = [f"bottom: '{b}'" for b in bottoms] + [f"top: '{t}'" for t in tops]
        lines.append(f"layers {{ {' '.join(ends)} name: '{name}' type: {kind} {rest}}}")

    def filter_of(size: int, count: int, stride: str = "", engine: str = "engine: CAFFE ") -> str:
        return (
            f"{blobs_lr} convolution_param {{ {engine}num_output: {count} pad: 0 "
            f"kernel_size: {size} {stride}weight_filler {{ type: 'xavier' }} }} "
        )

    def conv(bottom: str, top: str, count: int) -> None:
        layer("CONVOLUTION", conv_name(bottom, top), [bottom], [top], filter_of(3, count))
        layer("RELU", f"relu_{top}", [top], [top])

    lines = ["name: 'phseg_v5'", "force_backward: true"]
    hdf5 = f"hdf5_data_param {{ source: '{source}' batch_size: 1 }} {train} "
    layer("HDF5_DATA", "loaddata", [], ["data", "label"], hdf5)
    for kind, bottom, top, i in contracting(depth, "data"):
        if kind == "pool":
            pooling = "pooling_param { pool: MAX kernel_size: 2 stride: 2 } "
            layer("POOLING", f"pool_{bottom}-{top[1:]}", [bottom], [top], pooling)
            continue
        conv(bottom, top, width << i)
        if top[2] == "c" and i >= depth - 2:
            dropout = f"dropout_param {{ dropout_ratio: {ratio} }} {train} "
            layer("DROPOUT", f"dropout_{top}", [top], [top], dropout)
    bottom = f"d{depth - 1}c"
    for i in reversed(range(depth - 1)):
        a, b, c, d = (f"u{i}{letter}" for letter in "abcd")
        count = max(width << i, 2 * width)  # the last one keeps its channels
        up = filter_of(2, count, "stride: 2 ", engine="")
        layer("DECONVOLUTION", f"upconv_{bottom}_{a}", [bottom], [a], up)
        layer("RELU", f"relu_{a}", [a], [a])
        layer("CROP", f"crop_d{i}c-d{i}cc", [f"d{i}c", a], [f"d{i}cc"])
        layer("CONCAT", f"concat_d{i}cc_{a}-b", [a, f"d{i}cc"], [b])
        conv(b, c, width << i)
        conv(c, d, width << i)
        bottom = d
    layer("CONVOLUTION", f"conv_{bottom}-score", [bottom], ["score"], filter_of(1, 2))
    layer("SOFTMAX_LOSS", "loss", ["score", "label"], ["loss"], f"{train} ")
    return "\n".join(lines) + "\n"


def deploy_2015(height: int, width: int, train_file: str) -> str:
    """What the release's MATLAB code puts before the file to apply the network."""
    dims = "".join(f"input_dim: {n}\n" for n in (1, 1, height, width))
    return f'input: "data"\n{dims}state: {{ phase: TEST }}\n{train_file}'


# --- 2019 ---

_AUGMENTATION = """\
layer {{ top: 'data' top: 'labels' top: 'weights' top: 'weights2' name: 'loaddata' type: 'HDF5Data'
  hdf5_data_param {{ source: 'trainfileList.txt' batch_size: 1 shuffle: true }}
  include: {{ phase: TRAIN }} }}
layer {{ bottom: 'weights2' top: 'def' name: 'create_deformation' type: 'CreateDeformation'
  create_deformation_param {{ ny: {size} nx: {size}
    random_offset_from {{ v: -8 v: -8 }} random_offset_to {{ v: 8 v: 8 }}
    random_rotate_from {{ v: 0 }} random_rotate_to {{ v: 360 }}
    random_elastic_grid_spacing {{ v: 150 v: 150 }}
    random_elastic_deform_magnitude {{ v: 10 v: 10 }} random_offset_range_from_pdf: true }}
  include: {{ phase: TRAIN }} }}
layer {{ bottom: 'data' bottom: 'def' top: 'data2' name: 'def_data' type: 'ApplyDeformation'
  apply_deformation_param {{ interpolation: 'linear' extrapolation: 'mirror' }}
  include: {{ phase: TRAIN }} }}
layer {{ bottom: 'data2' top: 'data3' name: 'augm_data' type: 'ValueAugmentation'
  value_augmentation_param {{ black_from: -0.05 black_to: 0.05 white_from: 0.95 white_to: 1.05
    slope_min: 0.8 slope_max: 1.2 }}
  include: {{ phase: TRAIN }} }}
"""

_LOSS = """\
layer { bottom: 'labels' bottom: 'def' top: 'labelcrop' name: 'labelcrop' type: 'ApplyDeformation'
  apply_deformation_param { interpolation: 'nearest' output_shape_from: 'score' }
  include: { phase: TRAIN } }
layer { bottom: 'weights' bottom: 'def' top: 'weightcrop' name: 'weightcrop'
  type: 'ApplyDeformation'
  apply_deformation_param { interpolation: 'nearest' output_shape_from: 'score' }
  include: { phase: TRAIN } }
layer { bottom: 'score' bottom: 'labelcrop' bottom: 'weightcrop' top: 'loss' name: 'loss'
  type: 'SoftmaxWithLoss' include: { phase: TRAIN } }
"""


def cell_net_2019(*, depth: int = 5, width: int = 64, size: int = 540) -> str:
    """The file to train with; for phase TEST, something gives data3."""
    learning = "param { lr_mult: 1 decay_mult: 1 } param { lr_mult: 2 decay_mult: 0 }"

    def layer(kind: str, name: str, bottoms: list[str], top: str, rest: str = "") -> None:
        ends = " ".join(f"bottom: '{b}'" for b in bottoms)
        lines.append(f"layer {{ {ends} top: '{top}' name: '{name}' type: '{kind}'\n  {rest} }}")

    def filter_of(size: int, count: int, stride: str = "") -> str:
        sizes = f"kernel_size: {size} kernel_size: {size}"
        return (
            f"{learning}\n  convolution_param {{ num_output: {count} pad: 0 {sizes} {stride}"
            "weight_filler { type: 'msra' } }"
        )

    def relu(blob: str) -> None:
        layer("ReLU", f"relu_{blob}", [blob], blob, "relu_param { negative_slope: 0.1 }")

    def conv(bottom: str, top: str, count: int) -> None:
        layer("Convolution", conv_name(bottom, top), [bottom], top, filter_of(3, count))
        relu(top)

    lines = ["name: '2d_cell_net_v0'", _AUGMENTATION.format(size=size)]
    offset = "value_transformation_param { offset { v: -0.5 } }"
    layer("ValueTransformation", "trafo_data3-d0a", ["data3"], "d0a", offset)
    for kind, bottom, top, i in contracting(depth, "d0a"):
        if kind == "pool":
            sizes = "kernel_size: 2 kernel_size: 2 stride: 2 stride: 2"
            pooling = f"pooling_param {{ pool: MAX {sizes} }}"
            layer("Pooling", f"pool_{bottom}-{top[1:]}", [bottom], top, pooling)
        else:
            conv(bottom, top, width << i)
    bottom = f"d{depth - 1}c"
    for i in reversed(range(depth - 1)):
        a, b, c, d = (f"u{i}{letter}" for letter in "abcd")
        count = max(width << i, 2 * width)
        stride = "stride: 2 stride: 2 "
        layer("Deconvolution", f"upconv_{bottom}_{a}", [bottom], a, filter_of(2, count, stride))
        relu(a)
        layer("Concat", f"concat_d{i}c_{a}-b", [a, f"d{i}c"], b)
        conv(b, c, count)
        conv(c, d, count)
        bottom = d
    layer("Convolution", f"conv_{bottom}-score", [bottom], "score", filter_of(1, 2))
    return "\n".join(lines) + "\n" + _LOSS


def deploy_2019(height: int, width: int, train_file: str) -> str:
    """The same to apply: data3 is an input."""
    shape = f"dim: 1 dim: 1 dim: {height} dim: {width}"
    return f"input: 'data3'\ninput_shape {{ {shape} }}\nstate: {{ phase: TEST }}\n{train_file}"
