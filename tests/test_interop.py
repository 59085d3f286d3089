"""Checkpoints of the Hugging Face Hub: what is read and written, and what is refused."""

import json
import os
import shutil

import numpy as np
import pytest

import nbdl
from nbdl import data, interop, models
from nbdl.interop.tensor_file import LENGTH_BYTES, TensorFile
from nbdl.runtime.errors import (
    ArgumentError,
    ArgumentTypeError,
    DTypeError,
    FileFormatError,
    ShapeError,
    StateError,
)

SMALL = {"vocabulary": 30, "context": 8, "width": 8, "layers": 2, "heads": 2}


def encoder(**changes):
    return models.BERT(models.BERTConfig(**{**SMALL, **changes}))


MODELS = {
    "encoder": encoder,
    "encoder without a pooler": lambda: encoder(pooler=False),
    "words": lambda: models.BERTForMaskedLM(encoder()),
    "words, not tied": lambda: models.BERTForMaskedLM(encoder(activation="relu", padding=None), tied=False),
    "classes": lambda: models.BERTForSequenceClassification(encoder(activation="gelu_tanh"), classes=5),
    "GPT-2": lambda: models.GPT(models.GPTConfig(**SMALL)),
    "GPT-2, not tied": lambda: models.GPT(models.GPTConfig(**SMALL, tied=False, hidden=12)),
}


@pytest.fixture(params=MODELS.values(), ids=MODELS)
def model(request):
    nbdl.manual_seed(0)
    model = request.param()
    for parameter in model.parameters():  # biases and norms too, so that nothing can be confused unseen
        nbdl.nn.init.normal_(parameter)
    return model.eval()


@pytest.fixture
def folder(tmp_path):
    """A checkpoint to damage."""
    nbdl.manual_seed(0)
    interop.to_huggingface(models.BERTForMaskedLM(encoder()), tmp_path)
    return tmp_path


def scores(model, ids):
    with nbdl.no_grad():
        return np.asarray(model(nbdl.from_numpy(ids)))


@pytest.mark.parametrize("shard", [None, 700, 1])
def test_a_saved_model_comes_back(model, shard, tmp_path):
    interop.to_huggingface(model, tmp_path, max_shard_size=shard)
    loaded = interop.from_huggingface(tmp_path)
    assert loaded.tokenizer is None and not loaded.model.training
    assert repr(loaded.model) == repr(model)
    assert loaded.model.state_dict().keys() == model.state_dict().keys()
    for name, value in model.state_dict().items():
        assert np.array_equal(np.asarray(loaded.model.state_dict()[name]), np.asarray(value)), name
    ids = np.random.default_rng(0).integers(0, 30, (2, 8))
    assert np.array_equal(scores(loaded.model, ids), scores(model, ids))


def test_every_parameter_has_a_place(model):
    architecture, _ = interop.huggingface.class_of(model)
    places = architecture.places(model)
    parameters = model.state_dict()
    assert {place.name for place in places} == set(parameters)
    assert all(tuple(parameters[place.name].shape) == place.shape for place in places)


def test_one_file_replaces_several_and_the_other_way_round(folder):
    model = interop.from_huggingface(folder).model
    interop.to_huggingface(model, folder, max_shard_size=500)
    assert not (folder / "model.safetensors").exists()
    interop.from_huggingface(folder)
    interop.to_huggingface(model, folder)
    assert not (folder / "model.safetensors.index.json").exists()
    interop.from_huggingface(folder)


def test_float64_is_saved_as_it_is(tmp_path):
    interop.to_huggingface(encoder().double(), tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == "float64"
    assert interop.from_huggingface(tmp_path).model.embeddings.words.weight.dtype == np.float32


# ---------------------------------------------------------------- config.json


def change(folder, file="config.json", **changes):
    """Changes settings; None removes one."""
    path = folder / file
    values = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in values.items() if value is not None}))


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"model_type": "llama"}, ArgumentError, "model_type.*bert, gpt2.*'llama'"),
        ({"model_type": None}, ArgumentError, "model_type.*nothing"),
        ({"model_type": ["bert"]}, ArgumentError, "model_type"),
        ({"architectures": ["BertForQuestionAnswering"]}, ArgumentError, "architectures.*BertForQuestionAnswering"),
        ({"architectures": None}, ArgumentError, "architectures.*None"),
        ({"architectures": []}, ArgumentError, "architectures"),
        ({"architectures": "BertModel"}, ArgumentError, "architectures"),
        ({"architectures": [["BertModel"]]}, ArgumentError, "architectures"),
        ({"hidden_act": "mish"}, ArgumentError, "hidden_act.*gelu.*'mish'"),
        ({"hidden_size": "8"}, ArgumentError, "hidden_size"),
        ({"hidden_size": True}, ArgumentError, "hidden_size"),
        ({"hidden_size": 0}, ArgumentError, "hidden_size"),
        ({"hidden_size": 8.0}, ArgumentError, "hidden_size"),
        ({"num_attention_heads": 3}, ArgumentError, "heads.*divisor"),
        ({"num_hidden_layers": 10**12}, ArgumentError, "num_hidden_layers"),
        ({"vocab_size": 10**9}, ShapeError, "word_embeddings"),
        ({"vocab_size": 10**30}, ArgumentError, "vocab_size"),
        ({"num_hidden_layers": 9999}, StateError, "missing.*more"),
        ({"num_hidden_layers": 1}, StateError, "left over.*encoder.layer.1"),
        ({"intermediate_size": 33}, ShapeError, "intermediate.dense.weight.*33, 8.*32, 8"),
        ({"pad_token_id": 30}, ArgumentError, "pad_token_id"),
        ({"pad_token_id": -1}, ArgumentError, "pad_token_id"),
        ({"layer_norm_eps": float("nan")}, ArgumentError, "layer_norm_eps"),
        ({"layer_norm_eps": -1}, ArgumentError, "layer_norm_eps"),
        ({"hidden_dropout_prob": 1.5}, ArgumentError, "dropout"),
        ({"is_decoder": True}, ArgumentError, "is_decoder"),
        ({"position_embedding_type": "relative_key"}, ArgumentError, "position_embedding_type.*absolute"),
        ({"tie_word_embeddings": "yes"}, ArgumentError, "tie_word_embeddings"),
        ({"tie_word_embeddings": False}, StateError, "missing.*decoder.weight"),
        ({"architectures": ["BertModel"]}, StateError, "left over.*cls"),
        ({"architectures": ["BertForSequenceClassification"]}, StateError, "missing.*classifier"),
    ],
)
def test_settings_that_are_refused(folder, changes, error, said):
    change(folder, **changes)
    with pytest.raises(error, match=said):
        interop.from_huggingface(folder)


def test_settings_that_are_left_out_are_the_published_defaults(tmp_path):
    interop.to_huggingface(models.BERT(models.BERTConfig(layers=1, context=512, vocabulary=7)), tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert", "num_hidden_layers": 1, "vocab_size": 7}')
    assert interop.from_huggingface(tmp_path).model.config.width == 768


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"a": 1, "a": 2}', "\x80", "[" * 100_000])
def test_a_damaged_configuration(folder, text):
    (folder / "config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(FileFormatError, match=r"config\.json"):
        interop.from_huggingface(folder)


def test_tensors_that_are_left_over_may_be_allowed(folder):
    change(folder, architectures=["BertModel"])
    loaded = interop.from_huggingface(folder, strict=False).model
    assert isinstance(loaded, models.BERT)
    change(folder, architectures=["BertForSequenceClassification"])
    with pytest.raises(StateError, match="missing"):
        interop.from_huggingface(folder, strict=False)


@pytest.mark.parametrize("key", ["scale_attn_weights", "scale_attn_by_inverse_layer_idx", "activation_function"])
def test_settings_of_gpt2_that_are_refused(key, tmp_path):
    interop.to_huggingface(MODELS["GPT-2"](), tmp_path)
    change(tmp_path, **{key: {"scale_attn_weights": False, "activation_function": "tanhexp"}.get(key, True)})
    with pytest.raises(ArgumentError, match=key):
        interop.from_huggingface(tmp_path)


# ---------------------------------------------------------------- files


def header(path):
    contents = path.read_bytes()
    length = int.from_bytes(contents[:LENGTH_BYTES], "little")
    return json.loads(contents[LENGTH_BYTES : LENGTH_BYTES + length]), contents[LENGTH_BYTES + length :]


def write(path, entries, payload):
    text = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    path.write_bytes(len(text).to_bytes(LENGTH_BYTES, "little") + text + payload)


def test_a_file_cut_anywhere(folder):
    path = folder / "model.safetensors"
    contents = path.read_bytes()
    for length in sorted({0, 1, 7, 8, 9, 100, len(contents) // 2, len(contents) - 1}):
        path.write_bytes(contents[:length])
        with pytest.raises(FileFormatError, match=r"model\.safetensors"):
            interop.from_huggingface(folder)


def test_a_file_with_bytes_after_its_end(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(FileFormatError, match="truncated or damaged"):
        interop.from_huggingface(folder)


NAME = "bert.embeddings.LayerNorm.bias"


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"dtype": "F32 "}, FileFormatError),
        ({"dtype": None}, FileFormatError),
        ({"dtype": "I32"}, DTypeError),
        ({"shape": [-8]}, FileFormatError),
        ({"shape": [8.0]}, FileFormatError),
        ({"shape": [True] * 3 + [8]}, FileFormatError),
        ({"shape": "8"}, FileFormatError),
        ({"shape": [2**62, 2**62, 2**62]}, FileFormatError),
        ({"shape": [1] * 40 + [8]}, FileFormatError),
        ({"shape": [4, 2]}, ShapeError),
        ({"data_offsets": [0, 2**70]}, FileFormatError),
        ({"data_offsets": [-32, 0]}, FileFormatError),
        ({"data_offsets": [0]}, FileFormatError),
        ({"data_offsets": None}, FileFormatError),
        ({"data_offsets": [0, 32]}, FileFormatError),  # those of another tensor
    ],
)
def test_entries_that_are_refused(folder, change, error):
    path = folder / "model.safetensors"
    entries, payload = header(path)
    entries[NAME] |= change
    write(path, entries, payload)
    with pytest.raises(error):
        interop.from_huggingface(folder)


@pytest.mark.parametrize("entries", [b"[]", b"{", b'{"a": 3}', b'{"a": {}, "a": {}}', b"\xff", b"[" * 100_000])
def test_headers_that_are_refused(folder, entries):
    write(folder / "model.safetensors", entries, b"")
    with pytest.raises(FileFormatError):
        interop.from_huggingface(folder)


def test_a_header_longer_than_the_file(tmp_path):
    (tmp_path / "x.safetensors").write_bytes((2**63 - 1).to_bytes(8, "little") + b"{}")
    with pytest.raises(FileFormatError, match="header"):
        TensorFile(tmp_path / "x.safetensors")


def test_a_file_without_tensors(tmp_path):
    write(tmp_path / "x.safetensors", {"empty": {"dtype": "F32", "shape": [0, 3], "data_offsets": [0, 0]}}, b"")
    assert TensorFile(tmp_path / "x.safetensors").view("empty").shape == (0, 3)


def test_missing_and_renamed_tensors(folder):
    path = folder / "model.safetensors"
    entries, payload = header(path)
    entries["bert.embeddings.LayerNorm.scale"] = entries.pop(NAME)
    write(path, entries, payload)
    with pytest.raises(StateError, match=r"missing: embeddings\.LayerNorm\.bias; left over: .*scale"):
        interop.from_huggingface(folder)


def test_a_tensor_under_two_names(folder):
    path = folder / "model.safetensors"
    entries, payload = header(path)
    begin = len(payload)
    entries[NAME.removeprefix("bert.")] = entries[NAME] | {"data_offsets": [begin, begin + 32]}
    write(path, entries, payload + bytes(32))
    with pytest.raises(StateError, match="once"):
        interop.from_huggingface(folder)


@pytest.mark.parametrize("other", [False, True])
def test_a_shared_tensor_that_stands_twice(folder, other):
    path = folder / "model.safetensors"
    entries, payload = header(path)
    table = entries["bert.embeddings.word_embeddings.weight"]
    first, last = table["data_offsets"]
    twin = bytearray(payload[first:last])
    twin[5] ^= other
    begin = len(payload)
    entries["cls.predictions.decoder.weight"] = table | {"data_offsets": [begin, begin + len(twin)]}
    write(path, entries, payload + twin)
    if other:
        with pytest.raises(StateError, match="tie_word_embeddings"):
            interop.from_huggingface(folder)
    else:
        interop.from_huggingface(folder)


def test_a_shared_tensor_under_its_other_name(folder):
    path = folder / "model.safetensors"
    before = interop.from_huggingface(folder).model
    entries, payload = header(path)
    entries["cls.predictions.decoder.weight"] = entries.pop("bert.embeddings.word_embeddings.weight")
    write(path, entries, payload)
    loaded = interop.from_huggingface(folder).model
    tables = [np.asarray(model.bert.embeddings.words.weight.detach()) for model in (before, loaded)]
    assert np.array_equal(*tables)


def test_the_head_for_sentences_in_a_row_is_left_out(folder):
    path = folder / "model.safetensors"
    entries, payload = header(path)
    begin = len(payload)
    entries["cls.seq_relationship.weight"] = {"dtype": "F32", "shape": [2, 8], "data_offsets": [begin, begin + 64]}
    write(path, entries, payload + bytes(64))
    interop.from_huggingface(folder)


# ---------------------------------------------------------------- several files


@pytest.fixture
def shards(folder):
    model = interop.from_huggingface(folder).model
    shutil.rmtree(folder)
    interop.to_huggingface(model, folder, max_shard_size=1500)
    return folder


INDEX = "model.safetensors.index.json"


@pytest.mark.parametrize(
    "file",
    ["../model-00001.safetensors", "/etc/passwd", "a/b.safetensors", "..", "", "model.bin", ".safetensors", 3, None,
     "..\\b.safetensors", "C:x.safetensors", "a\0.safetensors"],
)  # fmt: skip
def test_an_index_that_points_elsewhere(shards, file):
    where = json.loads((shards / INDEX).read_text())["weight_map"]
    change(shards, INDEX, weight_map={**where, next(iter(where)): file})
    with pytest.raises(FileFormatError, match="names of safetensors files"):
        interop.from_huggingface(shards)


def test_an_index_that_does_not_fit_its_files(shards):
    index = json.loads((shards / INDEX).read_text())
    where = index["weight_map"]
    first, last = next(iter(where)), list(where)[-1]
    swapped = {**where, first: where[last]}
    without = {name: file for name, file in where.items() if name != last}
    for wrong in (swapped, without, {**where, "more": where[last]}):
        change(shards, INDEX, weight_map=wrong)
        with pytest.raises(FileFormatError, match="expected the tensors"):
            interop.from_huggingface(shards)
    for wrong in ({}, [], "x", None):
        change(shards, INDEX, weight_map=wrong)
        with pytest.raises(FileFormatError, match="weight_map"):
            interop.from_huggingface(shards)
        (shards / INDEX).write_text(json.dumps(index))


def test_a_file_that_the_index_names_is_missing(shards):
    sorted(shards.glob("model-*.safetensors"))[1].unlink()
    with pytest.raises(FileFormatError, match="no such file"):
        interop.from_huggingface(shards)


def test_pickles_are_refused(folder):
    os.rename(folder / "model.safetensors", folder / "pytorch_model.bin")
    with pytest.raises(FileFormatError, match=r"pickle.*any code"):
        interop.from_huggingface(folder)
    os.remove(folder / "pytorch_model.bin")
    with pytest.raises(FileFormatError, match="neither"):
        interop.from_huggingface(folder)


def test_no_such_folder(tmp_path):
    with pytest.raises(FileFormatError, match="bert-base-uncased"):
        interop.from_huggingface("bert-base-uncased")
    with pytest.raises(FileFormatError, match=r"config\.json"):
        interop.from_huggingface(tmp_path)


# ---------------------------------------------------------------- the tokenizer


def test_the_tokenizer_comes_along(folder):
    tokenizer = data.BpeTokenizer.train("to be or not to be", 260, ["[PAD]", "[MASK]"])
    model = models.GPT(models.GPTConfig(**{**SMALL, "vocabulary": 260}))
    interop.to_huggingface(model, folder, tokenizer)
    loaded = interop.from_huggingface(folder)
    ids = loaded.tokenizer.encode("not to [MASK]")
    assert ids.tolist() == tokenizer.encode("not to [MASK]").tolist() and ids[-1] == tokenizer.id_of("[MASK]") == 1
    assert loaded.tokenizer.decode(ids) == "not to"


def test_a_tokenizer_with_ids_that_the_model_does_not_know(folder):
    tokenizer = data.BpeTokenizer.train("to be or not to be", 260)
    model = interop.from_huggingface(folder).model
    with pytest.raises(ArgumentError, match="tokenizer: expected at most the model's 30 ids"):
        interop.to_huggingface(model, folder, tokenizer)
    (folder / "tokenizer.json").write_text(tokenizer.to_json())
    with pytest.raises(ArgumentError, match=r"vocab_size.*at least the 260 ids"):
        interop.from_huggingface(folder)
    assert interop.from_huggingface(folder, tokenizer=False).tokenizer is None


@pytest.mark.parametrize("text", [b"", b"{}", b"\xff\xfe", b'{"version": "1.0"}'])
def test_a_damaged_tokenizer(folder, text):
    (folder / "tokenizer.json").write_bytes(text)
    with pytest.raises(FileFormatError, match=r"tokenizer\.json"):
        interop.from_huggingface(folder)


# ---------------------------------------------------------------- saving


def test_what_cannot_be_saved(tmp_path):
    with pytest.raises(ArgumentTypeError, match="Linear"):
        interop.to_huggingface(nbdl.nn.Linear(2, 3), tmp_path)
    with pytest.raises(ArgumentError, match="max_shard_size"):
        interop.to_huggingface(encoder(), tmp_path, max_shard_size=0)
    modern = models.GPT(models.GPTConfig.modern(vocabulary=30, context=8, width=8, layers=1, heads=2))
    with pytest.raises(ArgumentError, match="GPT-2's"):
        interop.to_huggingface(modern, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_the_old_file(folder, monkeypatch):
    before = (folder / "model.safetensors").read_bytes()
    model = interop.from_huggingface(folder).model

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        interop.to_huggingface(model, folder)
    assert (folder / "model.safetensors").read_bytes() == before
    assert not list(folder.glob("*.partial"))
