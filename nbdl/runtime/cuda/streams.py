"""Streams, the queues in which a GPU works, and events, marks in them.

Work in one stream runs in order; two streams run side by side. nbdl keeps them right by itself: each block of memory
knows the stream that used it last, and a launch in another stream waits for that one first (`use`).
"""

from __future__ import annotations

import threading
import weakref
from typing import Any

from nbdl.runtime.cuda import device
from nbdl.runtime.errors import ArgumentTypeError, DeviceError


class Event:
    """A mark in a stream.

    Args:
        enable_timing: Whether `elapsed_time` may be asked.
    """

    def __init__(self, enable_timing: bool = False) -> None:
        driver = device.driver()
        self.enable_timing = enable_timing
        self._driver = driver
        self._handle = driver.new_event(enable_timing)
        self._recorded = False
        weakref.finalize(self, driver.free_event, self._handle).atexit = False

    def record(self, stream: Stream | None = None) -> None:
        """Puts the mark behind all that the stream was given so far; the current stream when None."""
        self._driver.record(self._handle, (current() if stream is None else stream).handle)
        self._recorded = True

    def wait(self, stream: Stream | None = None) -> None:
        """Lets the stream wait for the mark."""
        if self._recorded:
            self._driver.order((current() if stream is None else stream).handle, self._handle)

    def query(self) -> bool:
        """Whether all before the mark is done."""
        return not self._recorded or self._driver.is_event_over(self._handle)

    def synchronize(self) -> None:
        """Waits for the mark."""
        if self._recorded:
            self._driver.wait_for_event(self._handle)

    def elapsed_time(self, end_event: Event) -> float:
        """Milliseconds from this mark to another. Both must lie behind."""
        for name, event in (("self", self), ("end_event", end_event)):
            if not isinstance(event, Event) or not event.enable_timing or not event._recorded:
                raise DeviceError(f"{name}: expected an Event(enable_timing=True) that was recorded")
        end_event.synchronize()
        return self._driver.milliseconds(self._handle, end_event._handle)


class Stream:
    """A queue of the GPU's work. `with nbdl.cuda.stream(Stream()):` launches into it."""

    def __init__(self) -> None:
        self._driver = device.driver()
        self.handle = self._driver.new_stream()
        _others.add(self)
        weakref.finalize(self, self._driver.free_stream, self.handle).atexit = False

    def synchronize(self) -> None:
        """Waits until all of its work is done."""
        self._driver.wait_for_stream(self.handle)

    def query(self) -> bool:
        """Whether all of its work is done."""
        return self._driver.is_stream_idle(self.handle)

    def record_event(self, event: Event | None = None) -> Event:
        """Puts a mark behind all that it was given so far."""
        event = Event() if event is None else event
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        """Lets it wait for a mark."""
        event.wait(self)

    def wait_stream(self, stream: Stream) -> None:
        """Lets it wait for all that another stream was given so far."""
        stream.record_event().wait(self)


class _DefaultStream(Stream):
    """CUDA's own stream, in which all runs unless somebody says otherwise."""

    handle = 0

    def __init__(self) -> None:
        pass

    @property
    def _driver(self) -> Any:  # type: ignore[override]
        return device.driver()


default = _DefaultStream()

_others: weakref.WeakSet[Stream] = weakref.WeakSet()


class _Current(threading.local):
    stream: Stream = default


_current = _Current()


def current() -> Stream:
    """The stream that this thread's launches go into."""
    return _current.stream


class stream:
    """Launches go into a stream until the end of the block. None changes nothing."""

    def __init__(self, stream: Stream | None) -> None:
        if stream is not None and not isinstance(stream, Stream):
            raise ArgumentTypeError(f"stream: expected an nbdl.cuda.Stream or None, got {type(stream).__name__}")
        self._stream = stream

    def __enter__(self) -> None:
        self._before = _current.stream
        if self._stream is not None:
            _current.stream = self._stream

    def __exit__(self, *_: object) -> None:
        _current.stream = self._before


def use(allocation: Any, wanted: Stream) -> None:
    """A launch in the wanted stream is about to use a block that another stream used last: it waits for that one."""
    wanted.wait_stream(allocation.stream)
    allocation.stream = wanted


def join(wanted: Stream) -> None:
    """Lets a stream wait for all others: a launch is about to use arrays by their addresses, in blocks nobody sees."""
    driver = device.driver()
    others = [stream for stream in _others if stream._driver is driver]
    for other in (default, *others) if others else ():
        if other is not wanted:
            wanted.wait_stream(other)
