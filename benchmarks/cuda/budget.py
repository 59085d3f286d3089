"""The time that a run may take: what does not fit is left out, and named."""

from __future__ import annotations

import time


class Budget:
    """Seconds from now on."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds that are left; at least 0."""
        return max(self._end - time.monotonic(), 0.0)

    def is_spent(self) -> bool:
        """Whether nothing is left."""
        return time.monotonic() >= self._end
