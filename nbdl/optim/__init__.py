"""Optimizers, schedules of the learning rate and gradient clipping; a step is one kernel launch over all parameters."""

from nbdl.optim import lr_scheduler
from nbdl.optim.adam import Adam, AdamW, NAdam
from nbdl.optim.adaptive import Adadelta, Adagrad, RMSprop
from nbdl.optim.averaging import average_, get_ema_multi_avg_fn, get_swa_multi_avg_fn
from nbdl.optim.clipping import clip_grad_norm_, clip_grad_value_
from nbdl.optim.optimizer import Optimizer
from nbdl.optim.scaling import GradScaler
from nbdl.optim.sgd import SGD
from nbdl.runtime.boundary import named_constructor, named_errors

__all__ = [
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "GradScaler",
    "NAdam",
    "Optimizer",
    "RMSprop",
    "average_",
    "clip_grad_norm_",
    "clip_grad_value_",
    "get_ema_multi_avg_fn",
    "get_swa_multi_avg_fn",
    "lr_scheduler",
]

for _name in __all__:
    _value = globals()[_name]
    if isinstance(_value, type):
        named_constructor(_value)
    else:
        globals()[_name] = named_errors(_value)

for _kind, _methods in (
    (Optimizer, ("add_param_group", "load_state_dict")),
    (GradScaler, ("scale", "step", "unscale_", "load_state_dict")),
    (lr_scheduler.LRScheduler, ("step", "load_state_dict")),
):
    for _name in _methods:
        setattr(_kind, _name, named_errors(vars(_kind)[_name]))
