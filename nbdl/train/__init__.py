"""Training: the loop, its callbacks and checkpoints, and recipes that need no code."""

from nbdl.train.adversarial import AdversarialTrainer, Players
from nbdl.train.callbacks import Callback, CurveFile, EarlyStopping, MetricsFile
from nbdl.train.checkpoint import CheckpointFolder, load_checkpoint, save_checkpoint, save_weights
from nbdl.train.curve import draw_curve
from nbdl.train.errors import CheckpointError, DivergedError, OutputFolderError, TrainError, TrainingInterrupted
from nbdl.train.loop import Trainer, accuracy, fit
from nbdl.train.progress import ProgressTable
from nbdl.train.recipes import RECIPES, run_recipe
from nbdl.train.stream import StreamTrainer

__all__ = [
    "RECIPES",
    "AdversarialTrainer",
    "Callback",
    "CheckpointError",
    "CheckpointFolder",
    "CurveFile",
    "DivergedError",
    "EarlyStopping",
    "MetricsFile",
    "OutputFolderError",
    "Players",
    "ProgressTable",
    "StreamTrainer",
    "TrainError",
    "Trainer",
    "TrainingInterrupted",
    "accuracy",
    "draw_curve",
    "fit",
    "load_checkpoint",
    "run_recipe",
    "save_checkpoint",
    "save_weights",
]
