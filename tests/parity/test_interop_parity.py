"""Checkpoints of the transformers library in nbdl, and nbdl's in transformers: outputs, gradients, files."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import nbdl
from nbdl import data, interop, models

torch = pytest.importorskip("torch", reason="PyTorch is not installed: make parity installs it")
transformers = pytest.importorskip("transformers", reason="transformers is not installed: make parity installs it")

pytestmark = pytest.mark.parity

TOLERANCE = 1e-4  # float32, relative to the largest number
VOCABULARY, CONTEXT = 61, 24

transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()


def bert(class_name: str, rng: np.random.Generator, **changes: Any) -> Any:
    """A small BERT of the transformers library with random weights, biases and norms included."""
    heads = int(rng.integers(1, 5))
    config = transformers.BertConfig(
        **{
            "vocab_size": VOCABULARY,
            "hidden_size": heads * int(rng.integers(3, 9)),
            "num_hidden_layers": int(rng.integers(1, 4)),
            "num_attention_heads": heads,
            "intermediate_size": int(rng.integers(8, 50)),
            "hidden_act": ["gelu", "gelu_new", "relu", "silu", "gelu_pytorch_tanh"][rng.integers(5)],
            "max_position_embeddings": CONTEXT,
            "type_vocab_size": int(rng.integers(2, 4)),
            "layer_norm_eps": [1e-12, 1e-5][rng.integers(2)],
            "pad_token_id": [0, 3, None][rng.integers(3)],
            "num_labels": int(rng.integers(2, 6)),
            "tie_word_embeddings": bool(rng.integers(2)),
            **changes,
        }
    )
    return randomized(getattr(transformers, class_name)(config), rng)


def gpt2(class_name: str, rng: np.random.Generator, **changes: Any) -> Any:
    """A small GPT-2 of the transformers library with random weights."""
    heads = int(rng.integers(1, 5))
    config = transformers.GPT2Config(
        **{
            "vocab_size": VOCABULARY,
            "n_positions": CONTEXT,
            "n_embd": heads * int(rng.integers(3, 9)),
            "n_layer": int(rng.integers(1, 4)),
            "n_head": heads,
            "n_inner": [None, 20][rng.integers(2)],
            "activation_function": ["gelu_new", "gelu_pytorch_tanh"][rng.integers(2)],
            "tie_word_embeddings": bool(rng.integers(2)),
            "bos_token_id": None,
            "eos_token_id": None,
            **changes,
        }
    )
    return randomized(getattr(transformers, class_name)(config), rng)


def randomized(model: Any, rng: np.random.Generator) -> Any:
    """The model in evaluation mode, every parameter drawn anew."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.from_numpy(0.3 * rng.standard_normal(tuple(parameter.shape))))
    return model.eval()


def inputs(model: Any, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """A batch of texts of different lengths; in parts, for BERT."""
    shape = (int(rng.integers(1, 4)), int(rng.integers(1, CONTEXT + 1)))
    given = {"input_ids": rng.integers(0, VOCABULARY, shape)}
    if model.config.model_type == "bert":
        lengths = rng.integers(1, shape[1] + 1, shape[0])
        given["attention_mask"] = (np.arange(shape[1]) < lengths[:, None]).astype(np.int64)
        given["token_type_ids"] = rng.integers(0, model.config.type_vocab_size, shape)
    return given


def run_ours(model: Any, given: dict[str, np.ndarray]) -> Any:
    tensors = {name: nbdl.from_numpy(array) for name, array in given.items()}
    return model(**tensors) if "attention_mask" in given else model(tensors["input_ids"])


def close(ours: Any, theirs: Any, title: str) -> None:
    """Both agree to the tolerance."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert ours.shape == theirs.shape, title
    assert np.abs(ours - theirs).max(initial=0) <= TOLERANCE * max(1.0, np.abs(theirs).max(initial=0)), title


def compare(theirs: Any, ours: Any, rng: np.random.Generator) -> None:
    """Outputs of both models, and the gradients of all parameters."""
    given = inputs(theirs, rng)
    expected = theirs(**{name: torch.from_numpy(array) for name, array in given.items()})[0]
    got = run_ours(ours, given)
    close(got.detach(), expected.detach(), "output")
    cotangent = rng.standard_normal(tuple(expected.shape)).astype(np.float32)
    expected.backward(torch.from_numpy(cotangent))
    got.backward(nbdl.from_numpy(cotangent))
    architecture, _ = interop.huggingface.class_of(ours)
    gradients = dict(theirs.named_parameters())
    parameters = dict(ours.named_parameters())
    compared = 0
    for place in architecture.places(ours):
        gradient = parameters[place.name].grad
        rows = place.shape[0] // len(place.published)
        for number, name in enumerate(place.published):
            known = gradients.get(architecture.published_name(name, type(theirs).__name__))
            if known is None or known.grad is None:  # a pooler that no output comes from
                continue
            part = np.asarray(gradient)[number * rows : (number + 1) * rows]
            close(part.T if place.transposed else part, known.grad, f"gradient of {name}")
            compared += 1
    with_gradient = sum(parameter.grad is not None for parameter in theirs.parameters())
    assert compared >= with_gradient


CASES = [
    (make, name, case)
    for make, names in (
        (bert, ("BertModel", "BertForMaskedLM", "BertForPreTraining", "BertForSequenceClassification")),
        (gpt2, ("GPT2LMHeadModel",)),
    )
    for name in names
    for case in range(8 if make is gpt2 else 5)
]


@pytest.mark.parametrize(("make", "name", "case"), CASES)
def test_their_checkpoints_here(make, name, case, tmp_path):
    rng = np.random.default_rng([case, len(name)])
    theirs = make(name, rng)
    theirs.save_pretrained(tmp_path, max_shard_size=["5GB", "3KB"][case % 2])
    assert (tmp_path / "model.safetensors.index.json").exists() == bool(case % 2)
    compare(theirs, interop.from_huggingface(tmp_path).model, rng)


@pytest.mark.parametrize(("make", "name", "case"), [case for case in CASES if case[1] != "BertForPreTraining"])
def test_our_checkpoints_there(make, name, case, tmp_path):
    rng = np.random.default_rng([case, len(name), 1])
    make(name, rng).save_pretrained(tmp_path / "theirs")
    ours = interop.from_huggingface(tmp_path / "theirs").model
    interop.to_huggingface(ours, tmp_path / "ours", max_shard_size=[None, 5000][case % 2])
    loaded, told = getattr(transformers, name).from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not any(told.values()), told
    compare(loaded.eval(), ours, rng)


def test_a_decoder_without_its_head(tmp_path):
    rng = np.random.default_rng(0)
    theirs = gpt2("GPT2Model", rng)
    theirs.save_pretrained(tmp_path)
    ours = interop.from_huggingface(tmp_path).model
    ids = inputs(theirs, rng)["input_ids"]
    close(ours.features(nbdl.from_numpy(ids)).detach(), theirs(torch.from_numpy(ids))[0].detach(), "features")


def test_an_encoder_without_a_pooler(tmp_path):
    rng = np.random.default_rng(0)
    with_pooler = bert("BertModel", rng)
    theirs = transformers.BertModel(with_pooler.config, add_pooling_layer=False)
    randomized(theirs, rng).save_pretrained(tmp_path)
    ours = interop.from_huggingface(tmp_path).model
    assert ours.pooler is None
    compare(theirs, ours, rng)


def test_the_pooled_vector(tmp_path):
    rng = np.random.default_rng(0)
    theirs = bert("BertModel", rng)
    theirs.save_pretrained(tmp_path)
    ours = interop.from_huggingface(tmp_path).model
    given = inputs(theirs, rng)
    expected = theirs(**{name: torch.from_numpy(array) for name, array in given.items()}).pooler_output
    close(ours.pool(run_ours(ours, given)).detach(), expected.detach(), "pooled")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_other_floating_point_numbers(dtype, tmp_path):
    rng = np.random.default_rng(0)
    theirs = bert("BertForMaskedLM", rng).to(getattr(torch, dtype))
    theirs.save_pretrained(tmp_path)
    ours = interop.from_huggingface(tmp_path).model
    assert all(parameter.dtype == np.float32 for parameter in ours.parameters())
    given = inputs(theirs, rng)
    expected = theirs.float()(**{name: torch.from_numpy(array) for name, array in given.items()})[0]
    close(run_ours(ours, given).detach(), expected.detach(), "output")


def test_names_of_old_and_other_files(tmp_path):
    """With and without the prefix, gamma and beta for norms, buffers that are no weights: as published once."""
    rng = np.random.default_rng(0)
    given = None
    for make, name, prefix, extra in (
        (bert, "BertForMaskedLM", "bert.", {"bert.embeddings.position_ids": np.arange(CONTEXT)[None]}),
        (gpt2, "GPT2LMHeadModel", "transformer.", {"h.0.attn.bias": np.tri(CONTEXT, dtype=bool)[None, None]}),
    ):
        theirs = make(name, rng, tie_word_embeddings=True)
        theirs.save_pretrained(tmp_path)
        from safetensors.numpy import load_file, save_file

        tensors = load_file(tmp_path / "model.safetensors")
        old = {
            key.removeprefix(prefix).replace("LayerNorm.weight", "LayerNorm.gamma").replace("Norm.bias", "Norm.beta"): x
            for key, x in tensors.items()
        }
        save_file(old | extra, tmp_path / "model.safetensors")
        ours = interop.from_huggingface(tmp_path).model
        given = inputs(theirs, rng)
        expected = theirs(**{name: torch.from_numpy(array) for name, array in given.items()})[0]
        close(run_ours(ours, given).detach(), expected.detach(), name)


def test_a_published_tokenizer(tmp_path):
    from tokenizers import Tokenizer, pre_tokenizers, processors
    from tokenizers import models as kinds

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "sat", "##s"]
    tokenizer = Tokenizer(kinds.WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    rng = np.random.default_rng(0)
    theirs = bert("BertForMaskedLM", rng)
    theirs.save_pretrained(tmp_path)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    loaded = interop.from_huggingface(tmp_path)
    assert loaded.tokenizer.encode("the cats sat").tolist() == [2, 5, 6, 8, 7, 3]
    interop.to_huggingface(loaded.model, tmp_path / "again", loaded.tokenizer)
    again = interop.from_huggingface(tmp_path / "again")
    assert again.tokenizer.encode("the cats sat").tolist() == [2, 5, 6, 8, 7, 3]
    there = transformers.PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "again" / "tokenizer.json"))
    assert there("the cats sat")["input_ids"] == [2, 5, 6, 8, 7, 3]


def test_our_own_model_there(tmp_path):
    nbdl.manual_seed(0)
    config = models.BERTConfig(vocabulary=40, context=12, width=16, layers=2, heads=2, activation="gelu_tanh")
    ours = models.BERTForSequenceClassification(models.BERT(config), classes=3).eval()
    interop.to_huggingface(ours, tmp_path, config={"id2label": {"0": "a", "1": "b", "2": "c"}})
    loaded = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert loaded.config.id2label == {0: "a", 1: "b", 2: "c"}
    ids = np.random.default_rng(0).integers(0, 40, (2, 12))
    close(ours(nbdl.from_numpy(ids)).detach(), loaded(torch.from_numpy(ids))[0].detach(), "scores")
    assert json.loads((tmp_path / "config.json").read_text())["hidden_act"] == "gelu_new"


def test_a_pytorch_state_dict_needs_no_conversion():
    theirs = torch.nn.TransformerEncoderLayer(8, 2, 16)
    ours = nbdl.nn.TransformerEncoderLayer(8, 2, 16)
    ours.load_state_dict(theirs.state_dict())
    for name, value in theirs.state_dict().items():
        assert np.array_equal(np.asarray(ours.state_dict()[name]), value.numpy())
    assert isinstance(data.JsonTokenizer, type)
