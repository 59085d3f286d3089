"""Optimizers: one kernel launch updates all parameters of a group."""

from nbdl.optim.adam import Adam, AdamW, NAdam
from nbdl.optim.adaptive import Adadelta, Adagrad, RMSprop
from nbdl.optim.optimizer import Optimizer
from nbdl.optim.sgd import SGD

__all__ = ["SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "NAdam", "Optimizer", "RMSprop"]
