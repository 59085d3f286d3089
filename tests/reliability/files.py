"""Damaged and hostile files: each reader says what is wrong, by a named error, and writes nowhere else."""

from __future__ import annotations

import gzip
import io
import json
import random
import shutil
import struct
import tarfile
import tempfile
import tracemalloc
import wave
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import nbdl
from nbdl import data, interop, models
from nbdl.data.archive import unpack
from nbdl.data.errors import DataError
from nbdl.data.idx import read_idx
from nbdl.train.checkpoint import load_checkpoint, save_checkpoint
from tests.reliability.area import Area, BrokenPromiseError, part

CASES = 100_000
"""Mutated inputs a reader, in full."""
CAP = 2**16
"""Bytes that a reader is told to take at most, where it can be told."""
OVERHEAD = 2**18
"""Bytes that reading takes whatever the file holds: buffers, headers, exceptions."""
TELLING = (nbdl.NbdlError, DataError)


@dataclass(frozen=True)
class Reader:
    """A reader, and one good file for it.

    Attributes:
        good: The contents of a file that it reads.
        read: Reads the file at a path; `folder` is where it may write.
        checked: The bytes whose change it must notice, as (first, last + 1); none for formats without a checksum.
    """

    good: bytes
    read: Callable[[Path, Path], Any]
    checked: tuple[int, int] | None = None
    corpus: list[bytes] = field(default_factory=list)


# ---------------------------------------------------------------- good files


def _idx() -> bytes:
    return b"\0\0\x0b\x02" + struct.pack(">II", 5, 7) + np.arange(35, dtype=">i2").tobytes()


def _zip(kind: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", kind) as archive:
        archive.writestr("one.txt", "a line of text\n" * 20)
        archive.writestr("inner/two.bin", bytes(range(200)))
    return file.getvalue()


def _tar(mode: str) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:  # type: ignore[call-overload]
        for name, contents in (("one.txt", b"a line of text\n" * 20), ("inner/two.bin", bytes(range(200)))):
            info = tarfile.TarInfo(name)
            info.size = len(contents)
            archive.addfile(info, io.BytesIO(contents))
    return file.getvalue()


def _wav() -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(2)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(np.arange(-60, 60, dtype="<i2").tobytes())
    return file.getvalue()


def _csv() -> bytes:
    rows = [f'{i * 0.5},"{"red" if i % 2 else "blue, or so"}",{i % 3},{"yes" if i % 4 else "no"}' for i in range(24)]
    return "\n".join(["size,colour,count,sold", *rows]).encode()


def _checkpoint(folder: Path) -> bytes:
    path = folder / "good.checkpoint"
    state = {"model": {"weight": nbdl.ones(3, 4)}, "step": 7, "rates": [0.1, 0.01], "name": "run", "random": None}
    save_checkpoint(path, state)
    return path.read_bytes()


def _foreign_tensors() -> bytes:
    import safetensors.numpy

    tensors = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.arange(4, dtype=np.float16)}
    return safetensors.numpy.save(tensors)


def _published(folder: Path) -> dict[str, bytes]:
    """The files of a small checkpoint with a tokenizer."""
    root = folder / "published"
    tokenizer = data.BpeTokenizer.train("to be or not to be that is the question " * 4, 270)
    config = models.BERTConfig(vocabulary=tokenizer.size, context=8, width=8, layers=1, heads=2)
    interop.to_huggingface(models.BERT(config), root, tokenizer)
    return {path.name: path.read_bytes() for path in root.iterdir()}


def readers(folder: Path) -> dict[str, Reader]:
    """Every reader of files that come from elsewhere."""
    checkpoint = _checkpoint(folder)
    published = _published(folder)

    def pretrained(name: str) -> Callable[[Path, Path], Any]:
        def read(path: Path, target: Path) -> Any:
            target.mkdir()
            for other, contents in published.items():
                if other != name:
                    (target / other).write_bytes(contents)
            shutil.copyfile(path, target / name)
            return interop.from_huggingface(target)

        return read

    def archive(path: Path, target: Path) -> Any:
        return unpack(path, target, CAP)

    return {
        "idx": Reader(_idx(), lambda path, _: read_idx(path, CAP)),
        "idx under gzip": Reader(gzip.compress(_idx(), mtime=0), lambda path, _: read_idx(path, CAP), (10, -8)),
        "zip": Reader(_zip(), archive),
        "tar": Reader(_tar("w"), archive),
        "tar under gzip": Reader(_tar("w:gz"), archive),
        "wav": Reader(_wav(), lambda path, _: data.read_wav(path, CAP)),
        "csv": Reader(_csv(), lambda path, _: data.load_csv(path, target="sold", categorical=["colour"]).split()),
        "checkpoint": Reader(checkpoint, lambda path, _: load_checkpoint(path), (0, len(checkpoint))),
        "safetensors": Reader(_foreign_tensors(), lambda path, _: nbdl.load(path)),
        "published config.json": Reader(published["config.json"], pretrained("config.json")),
        "published model.safetensors": Reader(published["model.safetensors"], pretrained("model.safetensors")),
        "published tokenizer.json": Reader(published["tokenizer.json"], pretrained("tokenizer.json")),
    }


# ---------------------------------------------------------------- damage

EXTREMES = [b"\0", b"\xff", b"\x7f", b"\x80", b"\xff\xff\xff\xff", b"\0\0\0\x80", b"\x7f\xff\xff\xff", b"\xff" * 8]
TEXTS = [b"-1", b"1e400", b"NaN", b"null", b"[]", b"{}", b'""', b"9" * 30, b"0", b"..", b"/", b"\\", b"\n", b'"', b","]


def mutated(good: bytes, rng: random.Random) -> bytes:
    """The contents with one to four changes: bytes flipped, cut, doubled, moved, or replaced by what hurts most."""
    contents = bytearray(good)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        place = rng.randrange(len(contents) + 1)
        length = min(rng.choice((1, 2, 4, 8, 32)), len(contents) - place)
        kind = rng.randrange(8)
        if kind <= 1 and length:
            contents[place] ^= 1 << rng.randrange(8)
        elif kind == 2:
            del contents[place:]
        elif kind == 3:
            del contents[place : place + length]
        elif kind == 4:
            contents[place:place] = contents[place : place + length]
        elif kind == 5:
            extreme = rng.choice(EXTREMES)
            contents[place : place + len(extreme)] = extreme
        elif kind == 6:
            contents[place : place + rng.randrange(3)] = rng.choice(TEXTS)
        else:
            contents[place : place + length] = rng.randbytes(length)
    return bytes(contents)


VALUES: list[Any] = [None, True, -1, 0, 1, 2**63, 1e300, 0.5, "", "x", "../../x", [], [1], {}, {"a": 1}]


def mutated_json(good: bytes, rng: random.Random) -> bytes:
    """A JSON document with one value, somewhere in it, replaced or left out."""
    document = json.loads(good)
    place: Any = document
    for _ in range(rng.randrange(1, 6)):
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            break
        key = rng.choice(keys)
        if isinstance(place[key], (dict, list)) and place[key] and rng.random() < 0.7:
            place = place[key]
            continue
        if isinstance(place, dict) and rng.random() < 0.3:
            del place[key]
        else:
            place[key] = rng.choice(VALUES)
        break
    return json.dumps(document).encode()


def damage(name: str, reader: Reader, count: int, seed: int) -> Iterator[bytes]:
    """Mutated contents, the same for a seed."""
    rng = random.Random(seed)
    for number in range(count):
        if name.endswith(".json") and number % 2:
            yield mutated_json(reader.good, rng)
        else:
            yield mutated(reader.good, rng)


# ---------------------------------------------------------------- proof


def watched(reader: Reader, path: Path, target: Path) -> tuple[int, bool]:
    """The most memory that reading a file took, and whether it was refused; nothing stays written."""
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    refused = False
    try:
        reader.read(path, target)
    except TELLING:
        refused = True
    used = tracemalloc.get_traced_memory()[1] - before
    shutil.rmtree(target, ignore_errors=True)
    return used, refused


def try_reader(name: str, reader: Reader, folder: Path, count: int, seed: int = 0) -> dict[str, int]:
    """Reads mutated files: how many were refused and how many read, and the most memory that one of them took."""
    path, target = folder / "input", folder / "output"
    path.write_bytes(reader.good)
    reader.read(path, target)  # untouched, it is read
    shutil.rmtree(target, ignore_errors=True)
    allowed = 2 * CAP + OVERHEAD + 8 * len(reader.good)
    refused = most = 0
    tracemalloc.start()
    try:
        for number, contents in enumerate(damage(name, reader, count, seed)):
            path.write_bytes(contents)
            try:
                used, said = watched(reader, path, target)
                if (
                    used > allowed
                ):  # the interpreter's table of names may have grown just now: what the input takes, it takes twice
                    used = min(used, watched(reader, path, target)[0])
            except BaseException as error:
                raise BrokenPromiseError(
                    f"{name}, seed {seed}, input {number}: {type(error).__name__}: {error}"
                ) from error
            if used > allowed:
                raise BrokenPromiseError(
                    f"{name}, seed {seed}, input {number}: {used:,} bytes, more than the {allowed:,} allowed"
                )
            most = max(most, used)
            refused += said
            strangers = {entry.name for entry in folder.iterdir()} - {"input"}
            if strangers:
                raise BrokenPromiseError(f"{name}, seed {seed}, input {number} left {strangers} behind")
    finally:
        tracemalloc.stop()
    return {f"{name}: inputs": count, f"{name}: refused": refused, f"{name}: most bytes": most}


def try_flips(name: str, reader: Reader, folder: Path, count: int) -> int:
    """Flips single bits under a checksum; each is noticed, or changes nothing: compressed data end in idle bits."""
    assert reader.checked is not None
    rng, path = random.Random(1), folder / "input"
    first, last = reader.checked
    last += len(reader.good) if last <= 0 else 0
    path.write_bytes(reader.good)
    right = reader.read(path, folder / "output")
    for _ in range(count):
        contents = bytearray(reader.good)
        place = rng.randrange(first, last)
        contents[place] ^= 1 << rng.randrange(8)
        path.write_bytes(contents)
        try:
            found = reader.read(path, folder / "output")
        except TELLING:
            continue
        if not (isinstance(right, np.ndarray) and np.array_equal(found, right)):
            raise BrokenPromiseError(f"{name}: a bit flipped in byte {place} was not noticed")
    return count


def prove(share: float) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        found = readers(folder)
        for name, reader in found.items():
            inside = folder / "inside"
            inside.mkdir()
            figures |= try_reader(name, reader, inside, part(CASES, share))
            if reader.checked is not None:
                figures[f"{name}: bits flipped, all noticed"] = try_flips(
                    name, reader, inside, part(CASES // 10, share)
                )
            shutil.rmtree(inside)
    return figures


AREA = Area(
    "files",
    "Damaged files: every reader refuses by a named error; no crash, nothing written elsewhere, memory within bounds.",
    prove,
)
