"""GPT-2 checkpoints: matrices stand transposed in the file; queries, keys and values are one, as in nbdl."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from nbdl.interop.architecture import MOST_LAYERS, Architecture, Place, Plan, Settings
from nbdl.models.gpt import GPT, GPTConfig
from nbdl.runtime.errors import ArgumentError

ACTIVATIONS = {"gelu_new": "gelu", "gelu_pytorch_tanh": "gelu"}
"""What config.json calls an activation, and what nbdl does."""

HEAD, TOKENS = "lm_head.weight", "wte.weight"


def _parameters(config: GPTConfig) -> Iterator[Place]:
    """Where the parameters are."""
    width, hidden = config.width, config.hidden_width

    def norm(ours: str, theirs: str) -> Iterator[Place]:
        for kind in ("weight", "bias"):
            yield Place(f"{ours}.{kind}", (f"{theirs}.{kind}",), (width,))

    def linear(ours: str, theirs: str, outputs: int, inputs: int) -> Iterator[Place]:
        yield Place(f"{ours}.weight", (f"{theirs}.weight",), (outputs, inputs), transposed=True)
        yield Place(f"{ours}.bias", (f"{theirs}.bias",), (outputs,))

    yield Place("token_embedding.weight", (TOKENS,), (config.vocabulary, width))
    yield Place("position_embedding.weight", ("wpe.weight",), (config.context, width))
    for index in range(config.layers):
        ours, theirs = f"blocks.{index}", f"h.{index}"
        yield from norm(f"{ours}.attention_norm", f"{theirs}.ln_1")
        yield from linear(f"{ours}.attention.qkv", f"{theirs}.attn.c_attn", 3 * width, width)
        yield from linear(f"{ours}.attention.projection", f"{theirs}.attn.c_proj", width, width)
        yield from norm(f"{ours}.feed_forward_norm", f"{theirs}.ln_2")
        yield from linear(f"{ours}.feed_forward.expand", f"{theirs}.mlp.c_fc", hidden, width)
        yield from linear(f"{ours}.feed_forward.contract", f"{theirs}.mlp.c_proj", width, hidden)
    yield from norm("norm", "ln_f")
    if not config.tied:
        yield Place("head.weight", (HEAD,), (config.vocabulary, width))


def _plan(settings: Settings, class_name: str, names: Collection[str]) -> Plan:
    settings.must_be("scale_attn_weights", True)
    for key in ("scale_attn_by_inverse_layer_idx", "add_cross_attention"):
        settings.must_be(key, False)
    config = GPTConfig(
        vocabulary=settings.whole("vocab_size", 50257),
        context=settings.whole("n_positions", 1024),
        width=settings.whole("n_embd", 768),
        layers=settings.whole("n_layer", 12, high=MOST_LAYERS),
        heads=settings.whole("n_head", 12),
        hidden=settings.whole_or_none("n_inner", None, low=1),
        dropout=settings.number("resid_pdrop", 0.1),
        attention_dropout=settings.number("attn_pdrop", 0.1),
        feed_forward=settings.one_of("activation_function", ACTIVATIONS, "gelu_new"),
        tied=class_name == "GPT2Model" or settings.flag("tie_word_embeddings", True),
        eps=settings.number("layer_norm_epsilon", 1e-5),
    )
    return Plan(lambda: GPT(config), tuple(_parameters(config)), twins={HEAD: TOKENS} if config.tied else {})


def _describe(model: GPT) -> dict[str, Any]:
    config = model.config
    for name, wanted in (("positions", "learned"), ("norm", "layer_norm"), ("bias", True), ("groups", config.heads)):
        if getattr(config, name) != wanted:
            raise ArgumentError(f"model: expected GPT-2's {name}, {wanted!r}, got {getattr(config, name)!r}")
    if config.feed_forward not in ACTIVATIONS.values():
        raise ArgumentError(f"model: expected a feed-forward layer of GPT-2, got {config.feed_forward!r}")
    return {
        "vocab_size": config.vocabulary,
        "n_positions": config.context,
        "n_embd": config.width,
        "n_layer": config.layers,
        "n_head": config.heads,
        "n_inner": config.hidden,
        "activation_function": next(theirs for theirs, ours in ACTIVATIONS.items() if ours == config.feed_forward),
        "resid_pdrop": config.dropout,
        "embd_pdrop": config.dropout,
        "attn_pdrop": config.attention_dropout,
        "layer_norm_epsilon": config.eps,
        "bos_token_id": None,
        "eos_token_id": None,
        "tie_word_embeddings": config.tied,
    }


def _places(model: GPT) -> tuple[Place, ...]:
    return tuple(_parameters(model.config))


GPT2_CHECKPOINTS = Architecture(
    kind="gpt2",
    classes={"GPT2LMHeadModel": GPT, "GPT2Model": GPT},
    bare="GPT2Model",
    prefix="transformer.",
    heads=("lm_head.",),
    plan=_plan,
    describe=_describe,
    places=_places,
    unused=(r"h\.\d+\.attn\.(bias|masked_bias)",),  # the causal mask, in old files
)
