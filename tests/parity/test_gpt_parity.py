"""GPT beside the transformers library: the modern architecture is Llama's; sampling and greedy writing agree."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nbdl
from nbdl import models, ops
from nbdl.models.sampling import Sampling

torch = pytest.importorskip("torch", reason="PyTorch is not installed: make parity installs it")
transformers = pytest.importorskip("transformers", reason="transformers is not installed: make parity installs it")

pytestmark = pytest.mark.parity

CASES = 200
VOCABULARY, CONTEXT = 41, 24
ANGLES = 1e-5  # transformers makes its angles in float32, whatever the dtype
SINGLE = 1e-4

transformers.utils.logging.set_verbosity_error()


@pytest.fixture(autouse=True)
def one_thread():
    """These models are too small for more."""
    threads, theirs = nbdl.get_num_threads(), torch.get_num_threads()
    nbdl.set_num_threads(1)
    torch.set_num_threads(1)
    yield
    nbdl.set_num_threads(threads)
    torch.set_num_threads(theirs)


def randomized(model: Any, rng: np.random.Generator) -> Any:
    """The model in float64 with weights large enough that each part of it matters."""
    for name, parameter in model.double().named_parameters():
        centre = 1.0 if parameter.ndim == 1 and not name.endswith("bias") else 0.0
        parameter.data = torch.from_numpy(rng.normal(centre, 0.3, tuple(parameter.shape)))
    return model.eval()


def llama(rng: np.random.Generator) -> Any:
    """A small Llama with random weights."""
    groups, share = int(rng.integers(1, 4)), int(rng.integers(1, 4))
    heads = groups * share
    config = transformers.LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=heads * 2 * int(rng.integers(1, 5)),
        intermediate_size=int(rng.integers(5, 40)),
        num_hidden_layers=int(rng.integers(1, 4)),
        num_attention_heads=heads,
        num_key_value_heads=groups,
        max_position_embeddings=CONTEXT,
        rms_norm_eps=[1e-5, 1e-6][rng.integers(2)],
        rope_parameters={"rope_type": "default", "rope_theta": [10000.0, 500.0][rng.integers(2)]},
        tie_word_embeddings=bool(rng.integers(2)),
        attn_implementation="eager",
    )
    return randomized(transformers.LlamaForCausalLM(config), rng)


def as_gpt(theirs: Any) -> tuple[models.GPT, dict[str, list[str]]]:
    """The same model in nbdl, and of each of its parameters the names of those it is made of, row below row."""
    config = theirs.config
    ours = models.GPT(
        models.GPTConfig.modern(
            vocabulary=VOCABULARY,
            context=CONTEXT,
            width=config.hidden_size,
            layers=config.num_hidden_layers,
            heads=config.num_attention_heads,
            key_value_heads=config.num_key_value_heads,
            hidden=config.intermediate_size,
            tied=config.tie_word_embeddings,
            eps=config.rms_norm_eps,
            rotary_base=config.rope_parameters["rope_theta"],
        )
    )
    places = {"token_embedding.weight": ["model.embed_tokens.weight"], "norm.weight": ["model.norm.weight"]}
    if not config.tie_word_embeddings:
        places["head.weight"] = ["lm_head.weight"]
    for index in range(config.num_hidden_layers):
        for name, parts in {
            "attention_norm": ["input_layernorm"],
            "attention.qkv": ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
            "attention.projection": ["self_attn.o_proj"],
            "feed_forward_norm": ["post_attention_layernorm"],
            "feed_forward.gate": ["mlp.gate_proj"],
            "feed_forward.expand": ["mlp.up_proj"],
            "feed_forward.contract": ["mlp.down_proj"],
        }.items():
            places[f"blocks.{index}.{name}.weight"] = [f"model.layers.{index}.{part}.weight" for part in parts]
    state = {name: value.detach().numpy() for name, value in theirs.named_parameters()}
    ours.load_state_dict({name: np.concatenate([state[part] for part in parts]) for name, parts in places.items()})
    return ours.eval(), places


@pytest.mark.parametrize("seed", range(CASES))
def test_the_modern_architecture_is_that_of_llama(seed: int) -> None:
    rng = np.random.default_rng(seed)
    theirs = llama(rng)
    ours, places = as_gpt(theirs)
    text = rng.integers(0, VOCABULARY, (int(rng.integers(1, 4)), int(rng.integers(1, CONTEXT + 1))))
    reference = theirs(torch.from_numpy(text)).logits
    cotangent = rng.standard_normal(tuple(reference.shape))
    reference.backward(torch.from_numpy(cotangent))
    slopes = {name: value.grad.numpy() for name, value in theirs.named_parameters()}
    for dtype, bound in ((np.float64, ANGLES), (np.float32, SINGLE)):
        ours = ours.to(dtype=dtype)
        ours.zero_grad()
        scores = ours(nbdl.from_numpy(text))
        scores.backward(nbdl.from_numpy(cotangent.astype(dtype)))
        compared = {"scores": (scores.detach().numpy(), reference.detach().numpy())}
        for name, parts in places.items():
            wanted = np.concatenate([slopes[part] for part in parts])
            compared[name] = (dict(ours.named_parameters())[name].grad.numpy(), wanted)
        for name, (got, wanted) in compared.items():
            assert np.abs(got - wanted).max() <= bound * max(1, np.abs(wanted).max()), (name, dtype)


@pytest.mark.parametrize("seed", range(4))
def test_the_likeliest_text_is_that_of_transformers(seed: int) -> None:
    rng = np.random.default_rng(seed)
    heads = int(rng.integers(1, 4))
    config = transformers.GPT2Config(
        vocab_size=VOCABULARY, n_positions=CONTEXT, n_embd=8 * heads, n_layer=2, n_head=heads,
        bos_token_id=None, eos_token_id=None, pad_token_id=0,
    )  # fmt: skip
    theirs = randomized(transformers.GPT2LMHeadModel(config), rng)
    ours = models.GPT(models.GPTConfig(VOCABULARY, CONTEXT, 8 * heads, 2, heads), dtype=nbdl.float64)
    state = {}
    for name, value in theirs.transformer.named_parameters():
        for old, new in (
            ("h.", "blocks."), ("wte", "token_embedding"), ("wpe", "position_embedding"), ("ln_f", "norm"),
            ("ln_1", "attention_norm"), ("ln_2", "feed_forward_norm"), ("attn.c_attn", "attention.qkv"),
            ("attn.c_proj", "attention.projection"), ("mlp.c_fc", "feed_forward.expand"),
            ("mlp.c_proj", "feed_forward.contract"),
        ):  # fmt: skip
            name = name.replace(old, new)
        matrix = value.ndim == 2 and not name.endswith("embedding.weight")
        state[name] = (value.T if matrix else value).detach().numpy()
    ours.load_state_dict(state)
    prompt = rng.integers(0, VOCABULARY, (2, 5))
    ids = torch.from_numpy(prompt)
    written = theirs.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=19, do_sample=False)
    assert (ours.generate(prompt, 19, temperature=0).numpy() == written.numpy()).all()


def test_what_is_left_to_choose_from_is_that_of_transformers() -> None:
    rng = np.random.default_rng(0)
    for case in range(200):
        size = int(rng.integers(2, 40))
        scores = rng.normal(0, 3, (int(rng.integers(1, 4)), size))
        if case % 2:
            scores = np.round(scores)  # ties
        temperature = float(rng.choice([0.3, 1.0, 1.7]))
        top_k = int(rng.integers(1, size + 5)) if rng.integers(2) else None
        top_p = float(rng.uniform(0.05, 1)) if case % 2 == 0 and rng.integers(2) else None
        warpers = [transformers.TemperatureLogitsWarper(temperature)]
        if top_k is not None:
            warpers.append(transformers.TopKLogitsWarper(top_k))
        if top_p is not None:
            warpers.append(transformers.TopPLogitsWarper(top_p))
        wanted = torch.from_numpy(scores)
        for warp in warpers:
            wanted = warp(None, wanted)
        got = Sampling(temperature, top_k, top_p).filtered(nbdl.from_numpy(scores)).numpy()
        np.testing.assert_allclose(got, wanted.numpy(), rtol=1e-12)
        chances = ops.softmax(nbdl.from_numpy(got), -1).numpy()
        np.testing.assert_allclose(chances.sum(1), 1)
