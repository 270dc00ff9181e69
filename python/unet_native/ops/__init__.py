"""The ops of the core, one documented function each: numpy in, numpy out.

Arrays are float32 and indexed ``(N, C, H, W)`` as in Caffe. The core keeps the channels of a pixel
together in memory ("channels last"); every function here takes arrays of any layout, copies those
that lie otherwise, and returns arrays of Caffe's shape over channels-last memory, so that calls
chain without copies. Filters likewise: Caffe's shapes over ``[KH][KW][IC][OC]`` memory.

Where a function has an ``out`` argument (or ``*_diff`` to add to), that array is written in place
and must already lie that way: make it with :func:`empty`, :func:`empty_filter` or their kin.
Gradients of parameters are added to the arrays given, as in Caffe, unless ``accumulate=False``;
without arrays, new ones are returned.

``context`` says where a call runs (:class:`Context`: device, threads, instruction set, and the
arithmetic of products: ``math`` "fp32", or on tensor cores "tf32" or "bf16", where channels
come in fours and memory is aligned to 16 bytes; what has neither is exact); None is the
CPU with all cores this process may use. Results do not depend on the number of threads.

A wrong dtype, shape or layout raises ``ValueError`` with the op's name and both shapes.
"""

from unet_native._core import Context
from unet_native.ops.adam import adam_correction, adam_update
from unet_native.ops.arrays import (
    channels_last,
    empty,
    empty_filter,
    empty_workspace,
    filter_memory,
    zeros,
    zeros_filter,
)
from unet_native.ops.conv1x1 import (
    conv1x1_backward_data,
    conv1x1_backward_weights,
    conv1x1_forward,
    conv1x1_workspace_bytes,
)
from unet_native.ops.conv3x3 import (
    conv3x3_backward_data,
    conv3x3_backward_weights,
    conv3x3_forward,
    conv3x3_workspace_bytes,
)
from unet_native.ops.crop_concat import (
    crop_backward,
    crop_concat_backward,
    crop_concat_forward,
    crop_forward,
)
from unet_native.ops.dropout import dropout_backward, dropout_forward, dropout_mask
from unet_native.ops.fma_peak import fma_peak
from unet_native.ops.max_pool2x2 import max_pool2x2_backward, max_pool2x2_forward
from unet_native.ops.relu import relu_backward, relu_forward
from unet_native.ops.sgd import sgd_update
from unet_native.ops.softmax import (
    SoftmaxLoss,
    softmax_backward,
    softmax_forward,
    softmax_loss,
    softmax_loss_workspace_bytes,
)
from unet_native.ops.up_conv2x2 import (
    up_conv2x2_backward_data,
    up_conv2x2_backward_weights,
    up_conv2x2_forward,
    up_conv2x2_workspace_bytes,
)

__all__ = [
    "Context",
    "SoftmaxLoss",
    "adam_correction",
    "adam_update",
    "channels_last",
    "conv1x1_backward_data",
    "conv1x1_backward_weights",
    "conv1x1_forward",
    "conv1x1_workspace_bytes",
    "conv3x3_backward_data",
    "conv3x3_backward_weights",
    "conv3x3_forward",
    "conv3x3_workspace_bytes",
    "crop_backward",
    "crop_concat_backward",
    "crop_concat_forward",
    "crop_forward",
    "dropout_backward",
    "dropout_forward",
    "dropout_mask",
    "empty",
    "empty_filter",
    "empty_workspace",
    "filter_memory",
    "fma_peak",
    "max_pool2x2_backward",
    "max_pool2x2_forward",
    "relu_backward",
    "relu_forward",
    "sgd_update",
    "softmax_backward",
    "softmax_forward",
    "softmax_loss",
    "softmax_loss_workspace_bytes",
    "up_conv2x2_backward_data",
    "up_conv2x2_backward_weights",
    "up_conv2x2_forward",
    "up_conv2x2_workspace_bytes",
    "zeros",
    "zeros_filter",
]
