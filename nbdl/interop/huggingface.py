"""Checkpoints as they are published on the Hugging Face Hub: a folder with config.json, model.safetensors (or several
files and an index) and tokenizer.json. Read and written without the transformers library.

Nothing in the folder is trusted: sizes, names, shapes and offsets are checked before memory is taken for them, no file
outside the folder is opened, and pickles are refused.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nbdl import data, nn
from nbdl.autograd import Tensor
from nbdl.interop.architecture import Architecture, Place, Settings
from nbdl.interop.bert import BERT_CHECKPOINTS
from nbdl.interop.gpt2 import GPT2_CHECKPOINTS
from nbdl.interop.tensor_file import Source, TensorFile, parse_object, write_tensors
from nbdl.runtime.checks import check_int
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, FileFormatError, ShapeError, StateError
from nbdl.serialization import write_durably

ARCHITECTURES = {architecture.kind: architecture for architecture in (BERT_CHECKPOINTS, GPT2_CHECKPOINTS)}
"""The families of checkpoints, by what config.json calls them."""

CONFIG, WEIGHTS, TOKENIZER = "config.json", "model.safetensors", "tokenizer.json"
INDEX = f"{WEIGHTS}.index.json"
PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json")
LARGEST_JSON = 2**28  # bytes
NAMED = 8  # tensors that a message names


@dataclass
class Pretrained:
    """A checkpoint, ready to run.

    Attributes:
        model: The model, in evaluation mode.
        tokenizer: Turns text into the model's ids; None where the folder holds no tokenizer.json.
        config: What config.json says.
    """

    model: Any
    tokenizer: data.JsonTokenizer | None
    config: dict[str, Any]


# ---------------------------------------------------------------- reading


def from_huggingface(folder: str | os.PathLike[str], *, strict: bool = True, tokenizer: bool = True) -> Pretrained:
    """Loads a published checkpoint of BERT or GPT-2.

    The weights become float32, whatever floating-point numbers the files hold. They are read one tensor at a time into
    the model's own memory, so that a model takes no more than itself.

    Args:
        folder: The downloaded folder: config.json; model.safetensors, or model.safetensors.index.json with the files
            that it names; and tokenizer.json where there is one.
        strict: Whether tensors that the model does not have are an error; otherwise they are left out. Tensors that it
            lacks always are.
        tokenizer: Whether to load tokenizer.json, for which the package `tokenizers` is needed.

    Returns:
        Model, tokenizer and settings.

    Raises:
        FileFormatError: A file is missing, damaged or truncated, names a file outside the folder, or there are pickles
            only.
        ArgumentError: config.json names an architecture, an activation or a size that nbdl's models do not have, or
            the tokenizer has ids that the model does not know.
        StateError: Tensors are missing or left over.
        ShapeError: A tensor has another shape than config.json says.
        DTypeError: A tensor holds no floating-point numbers of 16, 32 or 64 bits.
        MissingPackageError: There is a tokenizer.json, and `tokenizers` is not installed.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> config = nbdl.models.BERTConfig(vocabulary=50, context=8, width=16, layers=1, heads=2)
        >>> nbdl.interop.to_huggingface(nbdl.models.BERT(config), folder)
        >>> nbdl.interop.from_huggingface(folder).model
        BERT(50 tokens, context 8, 1 layers of 2 heads, 16 wide, 4,544 parameters)
    """
    root = Path(folder)
    config = _read_config(root)
    architecture = _architecture(config)
    files = _open_weights(root)
    tensors: dict[str, tuple[TensorFile, str]] = {}
    for file, names in files:
        for name in names:
            plain = architecture.plain_name(name)
            if plain in tensors:
                raise StateError(f"{root}: expected each tensor once, got {tensors[plain][1]!r} and {name!r}")
            tensors[plain] = (file, name)
    class_name = _class_name(config, architecture, tensors)
    plan = architecture.plan(config, class_name, tensors.keys())
    for other, name in plan.twins.items():
        if other in tensors and name not in tensors:
            tensors[name] = tensors.pop(other)
    unused = {*plan.twins, *plan.unused} | {
        name for name in tensors if any(re.fullmatch(pattern, name) for pattern in architecture.unused)
    }
    _check_names(root, plan.places, tensors, unused, strict)
    _check_twins(plan.twins, tensors)
    known = _read_tokenizer(root, config) if tokenizer else None
    model = plan.build()
    _fill(model, plan.places, tensors)
    return Pretrained(model.eval(), known, dict(config.values))


def _read(path: Path, expected: str) -> bytes:
    """A small file."""
    try:
        if path.stat().st_size > LARGEST_JSON:
            raise FileFormatError(f"{path}: expected {expected}, got {path.stat().st_size:,} bytes")
        return path.read_bytes()
    except OSError as error:
        raise FileFormatError(f"{path}: expected {expected}, got {(error.strerror or str(error)).lower()}") from None


def _read_config(root: Path) -> Settings:
    if not root.is_dir():
        raise FileFormatError(f"folder: expected a folder with a downloaded checkpoint, got {os.fspath(root)!r}")
    expected = "a checkpoint's settings"
    return Settings(parse_object(_read(root / CONFIG, expected), str(root / CONFIG), expected), str(root / CONFIG))


def _architecture(config: Settings) -> Architecture:
    return config.one_of("model_type", ARCHITECTURES, "")


def _class_name(config: Settings, architecture: Architecture, tensors: Iterable[str]) -> str:
    """The name of the model's class; a file that says none and holds no head is of the encoder or decoder itself."""
    said = config.values.get("architectures")
    if said is None and not any(name.startswith(architecture.heads) for name in tensors):
        return architecture.bare
    if not isinstance(said, list) or len(said) != 1 or said[0] not in list(architecture.classes):
        known = ", ".join(architecture.classes)
        raise ArgumentError(f"architectures in {config.name}: expected one of {known}, got {said!r}")
    return str(said[0])


def _open_weights(root: Path) -> list[tuple[TensorFile, list[str]]]:
    """The files of the weights, each with the names of its tensors."""
    if (root / WEIGHTS).exists():
        file = TensorFile(root / WEIGHTS)
        return [(file, list(file.entries))]
    if (root / INDEX).exists():
        return _open_shards(root)
    pickles = [name for name in PICKLES if (root / name).exists()]
    if pickles:
        raise FileFormatError(
            f"{root}: expected {WEIGHTS}, got {pickles[0]}: a pickle, which can run any code when it is read; "
            "save_pretrained of the transformers library writes the safe format"
        )
    raise FileFormatError(f"{root}: expected {WEIGHTS} or {INDEX}, got neither")


def _open_shards(root: Path) -> list[tuple[TensorFile, list[str]]]:
    """The files that the index names, with the tensors that it says are in each."""
    path, expected = root / INDEX, "an index of tensors and their files"
    where = parse_object(_read(path, expected), str(path), expected).get("weight_map")
    if not isinstance(where, dict) or not where:
        raise FileFormatError(f"{path}: expected {expected}, got no weight_map")
    shards: dict[str, list[str]] = {}
    for name, file in where.items():
        if not isinstance(file, str) or not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\.safetensors", file):
            raise FileFormatError(f"{path}: expected names of safetensors files in the same folder, got {file!r}")
        shards.setdefault(file, []).append(name)
    opened = []
    for file, names in sorted(shards.items()):
        tensors = TensorFile(root / file)
        if set(names) != set(tensors.entries):
            wrong = sorted(set(names) ^ set(tensors.entries))
            raise FileFormatError(f"{root / file}: expected the tensors that {INDEX} names, got others: {_some(wrong)}")
        opened.append((tensors, names))
    return opened


def _check_names(
    root: Path,
    places: Iterable[Place],
    tensors: Mapping[str, tuple[TensorFile, str]],
    unused: set[str],
    strict: bool,
) -> None:
    """Holds the names and the shapes in the files against those of the model, before it is made."""
    needed = {name: place for place in places for name in place.published}
    missing = [name for name in needed if name not in tensors]
    left = [tensors[name][1] for name in tensors if name not in needed and name not in unused]
    faults = [f"missing: {_some(missing)}"] if missing else []
    if left and strict:
        faults.append(f"left over: {_some(left)}")
    if faults:
        raise StateError(f"{root}: expected the tensors of the model that {CONFIG} describes, got {'; '.join(faults)}")
    for name, place in needed.items():
        file, stored = tensors[name]
        shape = file.entries[stored].shape
        if shape != place.published_shape:
            raise ShapeError(
                f"{stored} in {file.path}: expected {list(place.published_shape)} from {CONFIG}, got {list(shape)}"
            )
        file.view(stored)  # refuses other dtypes


def _check_twins(twins: Mapping[str, str], tensors: Mapping[str, tuple[TensorFile, str]]) -> None:
    """Makes sure that what a model shares is the same wherever the file holds it."""
    for other, name in twins.items():
        if other not in tensors or name not in tensors:
            continue
        (file, stored), (second, twin) = tensors[name], tensors[other]
        if not np.array_equal(file.view(stored), second.view(twin)):
            raise StateError(
                f"{twin} in {second.path}: expected the numbers of {stored}, which the model shares, got others; "
                'if the two are apart, config.json has to say "tie_word_embeddings": false'
            )


def _read_tokenizer(root: Path, config: Settings) -> data.JsonTokenizer | None:
    path = root / TOKENIZER
    if not path.exists():
        return None
    text = _read(path, "a tokenizer")
    try:
        tokenizer = data.JsonTokenizer(text.decode())
    except UnicodeDecodeError as error:
        raise FileFormatError(f"{path}: expected a tokenizer in UTF-8, got {error}") from None
    except data.DataFileError as error:
        raise FileFormatError(f"{path}: expected a tokenizer, got {error.got}") from None
    vocabulary = config.whole("vocab_size")
    if tokenizer.size > vocabulary:
        raise ArgumentError(
            f"vocab_size in {config.name}: expected at least the {tokenizer.size} ids of {path}, got {vocabulary}"
        )
    return tokenizer


def _fill(model: nn.Module, places: Iterable[Place], tensors: Mapping[str, tuple[TensorFile, str]]) -> None:
    """Reads the tensors into the memory of the model's parameters."""
    parameters = dict(model.state_dict())
    for place in places:
        target = np.asarray(parameters[place.name]._array)
        rows = place.shape[0] // len(place.published)
        for number, name in enumerate(place.published):
            file, stored = tensors[name]
            file.copy_into(stored, target[number * rows : (number + 1) * rows], place.transposed)


def _some(names: list[str]) -> str:
    """The first few of the names."""
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


# ---------------------------------------------------------------- writing


def to_huggingface(
    model: nn.Module,
    folder: str | os.PathLike[str],
    tokenizer: data.JsonTokenizer | None = None,
    *,
    config: Mapping[str, Any] | None = None,
    max_shard_size: int | None = None,
) -> None:
    """Saves a model as the transformers library does, so that it loads it with `from_pretrained`.

    Tensors are written one after the other; there is never a second copy of the model.

    Args:
        model: A BERT or GPT of `nbdl.models`.
        folder: Where to; made where there is none. Files of these names are replaced.
        tokenizer: Saved beside it, as tokenizer.json.
        config: Settings for config.json beside those of the model, such as "id2label".
        max_shard_size: Bytes of tensors in a file at most, where one tensor alone is not larger; one file when None.

    Raises:
        ArgumentTypeError: The model is of a class that the format has no name for.
        ArgumentError: The shard size is under 1, or the tokenizer has ids that the model does not know.
        OSError: The folder cannot be written to.
    """
    architecture, class_name = class_of(model)
    if max_shard_size is not None:
        check_int("max_shard_size", max_shard_size, 1)
    settings = {**architecture.describe(model), **(config or {})}
    if tokenizer is not None and tokenizer.size > settings["vocab_size"]:
        raise ArgumentError(
            f"tokenizer: expected at most the model's {settings['vocab_size']} ids, got one of {tokenizer.size}"
        )
    sources = _sources(model, architecture, class_name)
    dtype = next(iter(sources.values()))[0].name
    settings |= {"model_type": architecture.kind, "architectures": [class_name], "dtype": dtype}
    root = Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    _write_weights(root, sources, max_shard_size)
    _write_json(root / CONFIG, settings)
    if tokenizer is not None:
        write_durably(root / TOKENIZER, tokenizer.to_json().encode())


def class_of(model: nn.Module) -> tuple[Architecture, str]:
    """The architecture that a model is of, and the name of its class in published files."""
    for architecture in ARCHITECTURES.values():
        for name, kind in architecture.classes.items():
            if type(model) is kind:
                return architecture, name
    kinds = {kind.__name__ for architecture in ARCHITECTURES.values() for kind in architecture.classes.values()}
    raise ArgumentTypeError(f"model: expected one of {', '.join(sorted(kinds))}, got {type(model).__name__}")


def _sources(model: nn.Module, architecture: Architecture, class_name: str) -> dict[str, Source]:
    """The tensors of the file, made when they are written."""
    parameters = model.state_dict()
    sources: dict[str, Source] = {}
    for place in architecture.places(model):
        parameter = parameters[place.name]
        for number, name in enumerate(place.published):

            def make(parameter: Tensor = parameter, place: Place = place, number: int = number) -> np.ndarray:
                rows = place.shape[0] // len(place.published)
                part = np.asarray(parameter.to("cpu"))[number * rows : (number + 1) * rows]
                return part.T if place.transposed else part

            shape = place.published_shape
            sources[architecture.published_name(name, class_name)] = (np.dtype(parameter.dtype), shape, make)
    return sources


def _write_weights(root: Path, sources: dict[str, Source], limit: int | None) -> None:
    """One file, or several with an index; files of an earlier checkpoint that would be read instead are removed."""
    shards: list[dict[str, Source]] = [{}]
    sizes = [0]
    for name, source in sources.items():
        size = source[0].itemsize * int(np.prod(source[1]))
        if limit is not None and shards[-1] and sizes[-1] + size > limit:
            shards.append({})
            sizes.append(0)
        shards[-1][name] = source
        sizes[-1] += size
    if len(shards) == 1:
        write_tensors(root / WEIGHTS, shards[0])
        (root / INDEX).unlink(missing_ok=True)
        return
    where: dict[str, str] = {}
    for number, shard in enumerate(shards, start=1):
        file = f"model-{number:05}-of-{len(shards):05}.safetensors"
        write_tensors(root / file, shard)
        where |= dict.fromkeys(shard, file)
    _write_json(root / INDEX, {"metadata": {"total_size": sum(sizes)}, "weight_map": where})
    (root / WEIGHTS).unlink(missing_ok=True)


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    write_durably(path, (json.dumps(values, indent=2) + "\n").encode())
