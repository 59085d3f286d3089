"""Random numbers of recorded launches: each run of a recording draws new ones, as the function itself would.

A kernel gets its random numbers as four words from a generator. While launches are recorded the words are marked, so
that a recording knows which of its arguments they are, and can put the generator's next ones in their places.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

from nbdl.runtime import philox
from nbdl.runtime.errors import RecordingError


class Word(np.uint32):
    """A random word that a generator gave: the number of the draw, and which of its words."""

    draw = -1
    place = -1


class Draws:
    """The draws of one run of a function, in order."""

    def __init__(self) -> None:
        self._generators: list[philox.Generator] = []
        self._numbers: dict[tuple[int, ...], int] = {}  # the words of each draw: its number

    @contextlib.contextmanager
    def noting(self) -> Iterator[None]:
        """Notes and marks what generators give to this thread. After an error nothing was drawn."""
        give, start, go_on = philox.Generator.next, philox.Generator.manual_seed, philox.Generator.set_state
        before: dict[philox.Generator, int] = {}
        own = threading.get_ident()

        def marked(generator: philox.Generator) -> tuple[Any, ...]:
            if threading.get_ident() != own:
                return give(generator)
            before.setdefault(generator, generator.offset)
            words = tuple(Word(word) for word in give(generator))
            for place, word in enumerate(words):
                word.draw, word.place = len(self._generators), place
            self._numbers[tuple(int(word) for word in words)] = len(self._generators)
            self._generators.append(generator)
            return words

        def refusing(method: Any) -> Any:
            def refuse(generator: philox.Generator, *arguments: Any) -> Any:
                if threading.get_ident() != own:
                    return method(generator, *arguments)
                raise RecordingError(
                    "a seed cannot be set in a graph, nor numbers be drawn again (nbdl.checkpoint, unless it gets "
                    "preserve_rng_state=False): each run draws the generator's next ones"
                )

            return refuse

        philox.Generator.next = marked  # type: ignore[method-assign,assignment]
        philox.Generator.manual_seed = refusing(start)  # type: ignore[method-assign]
        philox.Generator.set_state = refusing(go_on)  # type: ignore[method-assign]
        try:
            yield
        except BaseException:
            for generator, offset in before.items():
                generator.offset = offset
            raise
        finally:
            philox.Generator.next = give  # type: ignore[method-assign]
            philox.Generator.manual_seed = start  # type: ignore[method-assign]
            philox.Generator.set_state = go_on  # type: ignore[method-assign]

    def number_of(self, table: np.ndarray) -> int | None:
        """Which draw's words an array holds; None if it is none of them."""
        if table.dtype != np.uint32 or table.ndim != 1:
            return None
        return self._numbers.get(tuple(table.tolist()))

    def again(self) -> list[tuple[Any, ...]]:
        """The next words of each generator, draw by draw."""
        return [generator.next() for generator in self._generators]
