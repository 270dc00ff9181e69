"""Training on a data set, with log, snapshots and validation.

from unet_native.data.load import load_training_set
from unet_native.train import Trainer, TrainSettings

dataset = load_training_set("images", "labels")
Trainer("run", dataset[:20], dataset[20:], TrainSettings(iterations=2000)).train()
"""

from unet_native.train.observer import Observer
from unet_native.train.settings import TrainSettings
from unet_native.train.trainer import DivergenceError, Trainer

__all__ = ["DivergenceError", "Observer", "TrainSettings", "Trainer"]
