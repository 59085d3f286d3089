"""A training step under the clock: `nbdl.profile`."""

from __future__ import annotations

import contextlib
from time import perf_counter_ns
from typing import Any

from nbdl.profiling.recorder import BACKWARD, FORWARD, KERNEL, LAYER, OPERATION, UPDATE, Event, Recorder
from nbdl.profiling.seams import watching
from nbdl.runtime.checks import check_choice
from nbdl.runtime.errors import StateError

PHASES = (FORWARD, BACKWARD, UPDATE)

_active: list[profile] = []


class profile:
    """Measures time and memory of everything that nbdl does in a `with` block, forward and backward separately.

    What runs for the first time is compiled or read from the cache first: run the code once before, outside.

    Args:
        kernels: Note every launch of a kernel.
        memory: Note every allocation of a result.

    Attributes:
        events: All layers, operations and kernels, a list of `Event` in the order of their beginnings.
        seconds: Of the whole block.
        peak_bytes: Most bytes that arrays made in the block took at one time; what was there before is not counted.

    Raises:
        StateError: A profile is running already.

    Example:
        >>> model = nbdl.nn.Linear(64, 10)
        >>> with nbdl.profile() as profile:
        ...     model(nbdl.randn(32, 64)).sum().backward()
        >>> [event.name for event in profile.events if event.kind == "operation"]
        ['Linear', 'Sum', 'Sum', 'Linear']
        >>> profile.flops("forward")
        41599
    """

    def __init__(self, kernels: bool = True, memory: bool = True) -> None:
        self._recorder = Recorder()
        self._stack = contextlib.ExitStack()
        self._wrappers = self._recorder.wrappers(kernels, memory)
        self._began = 0
        self._events: list[Event] | None = None
        self.seconds = 0.0

    def __enter__(self) -> profile:
        if _active:
            raise StateError("profile: another one is running; profiles do not nest")
        _active.append(self)
        self._stack.enter_context(watching(**self._wrappers))
        self._began = perf_counter_ns()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = (perf_counter_ns() - self._began) / 1e9
        self._stack.close()
        _active.remove(self)

    @property
    def events(self) -> list[Event]:
        if self._events is None:
            self._events = self._recorder.events(self._began)
        return self._events

    @property
    def peak_bytes(self) -> int:
        return self._recorder.meter.peak

    @property
    def live_bytes(self) -> int:
        """Bytes of the arrays made in the block that are still alive."""
        return self._recorder.meter.live

    # -- sums

    def phase_seconds(self, phase: str) -> float:
        """Time of one phase: 'forward' is that of the operations, 'backward' and 'update' that of the whole calls."""
        check_choice("phase", phase, PHASES)
        kind = OPERATION if phase == FORWARD else LAYER
        return sum(
            event.seconds
            for event in self.events
            if event.phase == phase and event.kind == kind and not (event.parent and event.parent.kind == kind != LAYER)
        )

    def flops(self, phase: str | None = None) -> int:
        """Floating-point operations, counted from the shapes; of one phase, or of all."""
        if phase is not None:
            check_choice("phase", phase, PHASES)
        return sum(event.work.total for event in self.events if phase in (None, event.phase))

    # -- tables

    def rows(self, by: str = OPERATION) -> list[dict[str, Any]]:
        """What the table shows, a row for each name and phase, the longest first.

        Args:
            by: 'operation', 'kernel' or 'layer'.

        Returns:
            Rows with name, phase, calls, seconds, kernel_seconds (the rest is Python), flops, bytes (moved) and kept
            (bytes that live longer than the operation). Times of layers contain those of the layers in them.
        """
        check_choice("by", by, (OPERATION, KERNEL, LAYER))
        rows: dict[tuple[str, str], dict[str, Any]] = {}
        live = 0
        for event in sorted(self.events, key=lambda event: event.stop):
            grown, live = (event.bytes_live - live, event.bytes_live) if event.kind == OPERATION else (0, live)
            if event.kind != by:
                continue
            row = rows.setdefault(
                (event.name, event.phase),
                {"name": event.name, "phase": event.phase, "calls": 0, "seconds": 0.0, "kernel_seconds": 0.0}
                | {"flops": 0, "bytes": 0, "kept": 0},
            )
            row["calls"] += 1
            row["seconds"] += event.seconds
            row["kernel_seconds"] += event.kernel_seconds
            row["flops"] += event.work.total
            row["bytes"] += event.bytes_moved
            row["kept"] += grown
        return sorted(rows.values(), key=lambda row: -row["seconds"])

    def table(self, by: str = OPERATION, most: int = 20) -> str:
        """The rows as text, the `most` longest of them.

        Columns: calls; milliseconds and their share of the block; the share of the time that went to Python, not to
        kernels; millions of floating-point operations and billions of them a second; megabytes read and written, and
        megabytes that stayed when the operation was over.
        """
        rows = self.rows(by)
        head = f"{by:24}{'phase':>9}{'calls':>7}{'ms':>10}{'share':>8}"
        if by == OPERATION:
            head += f"{'Python':>8}{'MFLOP':>10}{'GFLOP/s':>9}{'MB':>9}{'kept':>9}"
        lines = [head]
        for row in rows[:most]:
            share = row["seconds"] / self.seconds if self.seconds else 0.0
            text = f"{row['name']:24}{row['phase']:>9}{row['calls']:>7}{1e3 * row['seconds']:>10.3f}{share:>8.1%}"
            if by == OPERATION:
                python = 1 - row["kernel_seconds"] / row["seconds"] if row["seconds"] else 0.0
                rate = row["flops"] / row["seconds"] / 1e9 if row["seconds"] else 0.0
                text += f"{python:>8.0%}{row['flops'] / 1e6:>10.2f}{rate:>9.1f}{row['bytes'] / 1e6:>9.2f}"
                text += f"{row['kept'] / 1e6:>9.2f}"
            lines.append(text)
        if len(rows) > most:
            lines.append(f"... and {len(rows) - most} more")
        phases = ", ".join(f"{phase} {1e3 * self.phase_seconds(phase):.3f} ms" for phase in PHASES)
        lines.append(f"{1e3 * self.seconds:.3f} ms: {phases}; {self.flops() / 1e6:.2f} MFLOP; ")
        lines[-1] += f"at most {self.peak_bytes / 1e6:.2f} MB"
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.table()

    def flame(self, title: str = "profile") -> str:
        """The block as a drawing: time from left to right, what happened within what from top to bottom, and memory.

        Returns:
            The text of an SVG file, readable on light and on dark pages; a pointer held over a bar shows its numbers.
        """
        from nbdl.profiling.drawing import draw_flame

        return draw_flame(self.events, self.seconds, title)
