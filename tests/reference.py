"""Every op in float64 numpy: one obvious function per pass, written from its formula alone."""

from __future__ import annotations

import numpy as np

FLT_MIN = float(np.finfo(np.float32).tiny)


def relu(x: np.ndarray, negative_slope: float = 0.0) -> np.ndarray:
    return np.where(x > 0, x, negative_slope * x.astype(np.float64))


def relu_backward(x: np.ndarray, top_diff: np.ndarray, negative_slope: float = 0.0) -> np.ndarray:
    return np.where(x > 0, top_diff, negative_slope * top_diff.astype(np.float64))


def conv_forward(bottom: np.ndarray, weight: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
    """bottom (N,IC,IH,IW), weight (OC,IC,KH,KW) -> (N,OC,IH-KH+1,IW-KW+1)."""
    oc, _, kernel_h, kernel_w = weight.shape
    n, _, ih, iw = bottom.shape
    top = np.zeros((n, oc, ih - kernel_h + 1, iw - kernel_w + 1))
    for kh, kw in np.ndindex(kernel_h, kernel_w):
        window = bottom[:, :, kh : kh + top.shape[2], kw : kw + top.shape[3]].astype(np.float64)
        top += np.einsum("oi,nihw->nohw", weight[:, :, kh, kw].astype(np.float64), window)
    return top if bias is None else top + bias.astype(np.float64)[:, None, None]


def conv_backward_data(top_diff: np.ndarray, weight: np.ndarray) -> np.ndarray:
    n, _, oh, ow = top_diff.shape
    _, ic, kernel_h, kernel_w = weight.shape
    bottom_diff = np.zeros((n, ic, oh + kernel_h - 1, ow + kernel_w - 1))
    for kh, kw in np.ndindex(kernel_h, kernel_w):
        bottom_diff[:, :, kh : kh + oh, kw : kw + ow] += np.einsum(
            "oi,nohw->nihw", weight[:, :, kh, kw].astype(np.float64), top_diff.astype(np.float64)
        )
    return bottom_diff


def conv_backward_weights(
    bottom: np.ndarray, top_diff: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    top_diff = top_diff.astype(np.float64)
    _, oc, oh, ow = top_diff.shape
    _, ic, ih, iw = bottom.shape
    weight_diff = np.zeros((oc, ic, ih - oh + 1, iw - ow + 1))
    for kh, kw in np.ndindex(*weight_diff.shape[2:]):
        window = bottom[:, :, kh : kh + oh, kw : kw + ow].astype(np.float64)
        weight_diff[:, :, kh, kw] = np.einsum("nohw,nihw->oi", top_diff, window)
    return weight_diff, top_diff.sum((0, 2, 3))


def up_conv2x2_forward(
    bottom: np.ndarray, weight: np.ndarray, bias: np.ndarray | None
) -> np.ndarray:
    """bottom (N,IC,H,W), weight (IC,OC,2,2) -> (N,OC,2H,2W)."""
    n, _, h, w = bottom.shape
    top = np.zeros((n, weight.shape[1], 2 * h, 2 * w))
    for kh, kw in np.ndindex(2, 2):
        top[:, :, kh::2, kw::2] = np.einsum(
            "io,nihw->nohw", weight[:, :, kh, kw].astype(np.float64), bottom.astype(np.float64)
        )
    return top if bias is None else top + bias.astype(np.float64)[:, None, None]


def up_conv2x2_backward_data(top_diff: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return sum(
        np.einsum(
            "io,nohw->nihw",
            weight[:, :, kh, kw].astype(np.float64),
            top_diff[:, :, kh::2, kw::2].astype(np.float64),
        )
        for kh, kw in np.ndindex(2, 2)
    )


def up_conv2x2_backward_weights(
    bottom: np.ndarray, top_diff: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    top_diff = top_diff.astype(np.float64)
    weight_diff = np.zeros((bottom.shape[1], top_diff.shape[1], 2, 2))
    for kh, kw in np.ndindex(2, 2):
        weight_diff[:, :, kh, kw] = np.einsum(
            "nihw,nohw->io", bottom.astype(np.float64), top_diff[:, :, kh::2, kw::2]
        )
    return weight_diff, top_diff.sum((0, 2, 3))


def max_pool2x2_argmax(bottom: np.ndarray) -> np.ndarray:
    """(N,C,OH,OW,2): row and column of the first maximum of each clipped 2x2 window."""
    n, c, ih, iw = bottom.shape
    places = np.zeros((n, c, (ih + 1) // 2, (iw + 1) // 2, 2), int)
    for index in np.ndindex(places.shape[:4]):
        _, _, oh, ow = index
        window = bottom[index[:2]][2 * oh : 2 * oh + 2, 2 * ow : 2 * ow + 2]
        row, column = np.unravel_index(np.argmax(window), window.shape)  # argmax: the first
        places[index] = 2 * oh + row, 2 * ow + column
    return places


def max_pool2x2_forward(bottom: np.ndarray) -> np.ndarray:
    places = max_pool2x2_argmax(bottom)
    n, c = np.indices(places.shape[:4])[:2]
    return bottom[n, c, places[..., 0], places[..., 1]]


def max_pool2x2_backward(bottom: np.ndarray, top_diff: np.ndarray) -> np.ndarray:
    places = max_pool2x2_argmax(bottom)
    n, c = np.indices(places.shape[:4])[:2]
    bottom_diff = np.zeros(bottom.shape)
    bottom_diff[n, c, places[..., 0], places[..., 1]] = top_diff
    return bottom_diff


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x.astype(np.float64) - x.max(1, keepdims=True).astype(np.float64))
    return e / e.sum(1, keepdims=True)


def softmax_backward(top: np.ndarray, top_diff: np.ndarray) -> np.ndarray:
    top, top_diff = top.astype(np.float64), top_diff.astype(np.float64)
    return top * (top_diff - (top * top_diff).sum(1, keepdims=True))


def softmax_loss(
    score: np.ndarray,
    label: np.ndarray,
    weight: np.ndarray | None,
    normalization: str,
    ignore_label: int | None,
    loss_weight: float,
) -> tuple[float, np.ndarray, np.ndarray]:
    """Loss, score diff and the factor loss_weight*w/Z of each pixel; label, weight (N,1,H,W)."""
    counts = np.ones(label.shape, bool) if ignore_label is None else label != ignore_label
    w = counts * (1.0 if weight is None else weight.astype(np.float64))
    onehot = np.arange(score.shape[1])[:, None, None] == label
    shifted = score.astype(np.float64) - score.max(1, keepdims=True).astype(np.float64)
    log_p = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    nll = -(log_p * onehot).sum(1, keepdims=True)
    if weight is None:
        nll = np.minimum(nll, -np.log(FLT_MIN))
    z = {
        "FULL": label.size,
        "VALID": counts.sum(),
        "BATCH_SIZE": score.shape[0],
        "NONE": 1,
        "WEIGHT_SUM": w.sum(),
    }[normalization]
    if normalization != "WEIGHT_SUM":
        z = max(1, z)
    if z == 0:
        return 0.0, np.zeros(score.shape), np.zeros(label.shape)
    factor = loss_weight * w / z
    return float((w * nll).sum() / z), factor * (np.exp(log_p) - onehot), factor


def sgd(
    weight: np.ndarray,
    diff: np.ndarray,
    history: np.ndarray,
    *,
    rate: float,
    momentum: float,
    weight_decay: float = 0.0,
    regularization: str = "L2",
    scale: float = 1.0,
) -> tuple[np.ndarray, np.ndarray]:
    """New weight and history."""
    weight = weight.astype(np.float64)
    decayed = weight if regularization == "L2" else np.sign(weight)
    g = scale * diff.astype(np.float64) + weight_decay * decayed
    history = momentum * history.astype(np.float64) + rate * g
    return weight - history, history


def adam(
    weight: np.ndarray,
    diff: np.ndarray,
    histories: tuple[np.ndarray, np.ndarray],
    *,
    rate: float,
    step: int,
    momentum: float,
    momentum2: float,
    delta: float,
    weight_decay: float = 0.0,
    regularization: str = "L2",
    scale: float = 1.0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """New weight and histories. momentum and momentum2 are rounded to float32, as in Caffe."""
    beta1, beta2 = float(np.float32(momentum)), float(np.float32(momentum2))
    weight = weight.astype(np.float64)
    decayed = weight if regularization == "L2" else np.sign(weight)
    g = scale * diff.astype(np.float64) + weight_decay * decayed
    first = beta1 * histories[0].astype(np.float64) + (1 - beta1) * g
    second = beta2 * histories[1].astype(np.float64) + (1 - beta2) * g**2
    unbiased = first / (1 - beta1**step), second / (1 - beta2**step)
    # The formula of Kingma and Ba, with the delta that Caffe's rearrangement means.
    root = np.sqrt(unbiased[1]) + delta / np.sqrt(1 - beta2**step)
    return weight - rate * unbiased[0] / root, first, second


def philox4x32(counter: np.ndarray, key: tuple[int, int]) -> np.ndarray:
    """Ten rounds of Philox on counters (blocks, 4) of 32-bit words; see csrc/core/philox.h."""
    mask = np.uint64(0xFFFFFFFF)
    c = [counter[:, i].astype(np.uint64) for i in range(4)]
    for r in range(10):
        k0 = np.uint64((key[0] + r * 0x9E3779B9) & 0xFFFFFFFF)
        k1 = np.uint64((key[1] + r * 0xBB67AE85) & 0xFFFFFFFF)
        a, b = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
        shift = np.uint64(32)
        c = [(b >> shift) ^ c[1] ^ k0, b & mask, (a >> shift) ^ c[3] ^ k1, a & mask]
    return np.stack(c, 1).astype(np.uint32)


def dropout_mask(
    shape: tuple[int, int, int, int], ratio: float, seed: int, iteration: int, layer: int
) -> np.ndarray:
    n, c, h, w = shape
    blocks = -(-n * c * h * w // 4)
    low, high = iteration & 0xFFFFFFFF, iteration >> 32
    counter = np.stack([np.arange(blocks), *(np.full(blocks, x) for x in (layer, low, high))], 1)
    words = philox4x32(counter, (seed & 0xFFFFFFFF, seed >> 32)).reshape(-1)[: n * c * h * w]
    kept = words >= np.float64(np.float32(ratio)) * 2.0**32
    return kept.astype(np.uint8).reshape(n, h, w, c).transpose(0, 3, 1, 2)
