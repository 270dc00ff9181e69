"""From files to training tiles: reading, pairing, checking, normalising, weighting, augmenting.

dataset = load_training_set("train/image", "train/label")
print(check_training_set(dataset).text())
sampler = Sampler(dataset, tile_in=572, tile_out=388, seed=1)
with Prefetcher(sampler.sample, start=0) as tiles:
    data, label, weight = next(tiles)
"""

from unet_native.data.augment import AugmentSettings
from unet_native.data.check import DataReport, check_training_set
from unet_native.data.dataset import DataSet, Slice
from unet_native.data.images import ImageFile, list_images, open_image
from unet_native.data.instances import connected_instances, separate_touching
from unet_native.data.labels import LabelRule
from unet_native.data.load import load_images, load_training_set, split_indices
from unet_native.data.mirror import mirror_index, mirror_pad
from unet_native.data.normaliser import Normaliser
from unet_native.data.prefetch import Prefetcher
from unet_native.data.sampler import Sampler
from unet_native.data.synthetic import synthetic_em
from unet_native.data.weight_map import WeightSettings, class_weights, weight_map
from unet_native.data.write import write_labels, write_probabilities, write_stack

__all__ = [
    "AugmentSettings",
    "DataReport",
    "DataSet",
    "ImageFile",
    "LabelRule",
    "Normaliser",
    "Prefetcher",
    "Sampler",
    "Slice",
    "WeightSettings",
    "check_training_set",
    "class_weights",
    "connected_instances",
    "list_images",
    "load_images",
    "load_training_set",
    "mirror_index",
    "mirror_pad",
    "open_image",
    "separate_touching",
    "split_indices",
    "synthetic_em",
    "weight_map",
    "write_labels",
    "write_probabilities",
    "write_stack",
]
