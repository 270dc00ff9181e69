"""Scores of segmentations: ISBI 2012, Cell Tracking Challenge, intersection over union."""

from unet_native.metrics.ctc import CtcScores, ctc_scores
from unet_native.metrics.iou import IoU, iou
from unet_native.metrics.isbi import (
    IsbiScores,
    Summary,
    ThresholdScores,
    isbi_scores,
    isbi_thresholds,
    v_rand_thinned,
)
from unet_native.metrics.partitions import InformationScore, PairScore
from unet_native.metrics.thinning import thinned_objects
from unet_native.metrics.warping import MISMATCH_KINDS, classify_mismatches, warp_label

__all__ = [
    "MISMATCH_KINDS",
    "CtcScores",
    "InformationScore",
    "IoU",
    "IsbiScores",
    "PairScore",
    "Summary",
    "ThresholdScores",
    "classify_mismatches",
    "ctc_scores",
    "iou",
    "isbi_scores",
    "isbi_thresholds",
    "thinned_objects",
    "v_rand_thinned",
    "warp_label",
]
