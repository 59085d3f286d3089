"""Automatic mixed precision: `autocast` chooses dtypes, `GradScaler` keeps gradients in float16's range.

scaler = nbdl.amp.GradScaler()
for x, y in loader:
    optimizer.zero_grad()
    with nbdl.amp.autocast("cuda"):
        loss = criterion(model(x), y)
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
"""

from nbdl.ops.mixed import autocast, is_autocast_enabled
from nbdl.optim.scaling import GradScaler

__all__ = ["GradScaler", "autocast", "is_autocast_enabled"]
