"""BERT checkpoints: encoder, masked-language-model head, classification head."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from nbdl import nn
from nbdl.interop.architecture import MOST_LAYERS, Architecture, Place, Plan, Settings
from nbdl.models.bert import BERT, BERTConfig, BERTForMaskedLM, BERTForSequenceClassification

ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
    "tanh": "tanh",
}
"""What config.json calls an activation, and what nbdl does."""

CLASSES: dict[str, type[nn.Module]] = {
    "BertModel": BERT,
    "BertForMaskedLM": BERTForMaskedLM,
    "BertForPreTraining": BERTForMaskedLM,
    "BertForSequenceClassification": BERTForSequenceClassification,
}

CLASSES_UNNAMED = 2  # where config.json names none
BIAS, BIAS_OF_DECODER = "cls.predictions.bias", "cls.predictions.decoder.bias"
TIED = {"cls.predictions.decoder.weight": "embeddings.word_embeddings.weight", BIAS_OF_DECODER: BIAS}


def _encoder_places(prefix: str, config: BERTConfig) -> Iterator[Place]:
    """The encoder's parameters; `prefix` stands before their names in the model."""
    width, hidden = config.width, config.hidden_width

    def layer(ours: str, theirs: str, *shape: int) -> Iterator[Place]:
        yield Place(f"{prefix}{ours}.weight", (f"{theirs}.weight",), shape)
        yield Place(f"{prefix}{ours}.bias", (f"{theirs}.bias",), shape[:1])

    tables = {"words": config.vocabulary, "positions": config.context, "token_types": config.token_types}
    for (ours, rows), theirs in zip(tables.items(), ("word", "position", "token_type"), strict=True):
        yield Place(f"{prefix}embeddings.{ours}.weight", (f"embeddings.{theirs}_embeddings.weight",), (rows, width))
    yield from layer("embeddings.norm", "embeddings.LayerNorm", width)
    for index in range(config.layers):
        ours, theirs = f"layers.{index}", f"encoder.layer.{index}"
        three = [f"{theirs}.attention.self.{name}" for name in ("query", "key", "value")]
        for kind, shape in (("weight", (3 * width, width)), ("bias", (3 * width,))):
            yield Place(f"{prefix}{ours}.in_proj.{kind}", tuple(f"{name}.{kind}" for name in three), shape)
        yield from layer(f"{ours}.out_proj", f"{theirs}.attention.output.dense", width, width)
        yield from layer(f"{ours}.norm1", f"{theirs}.attention.output.LayerNorm", width)
        yield from layer(f"{ours}.linear1", f"{theirs}.intermediate.dense", hidden, width)
        yield from layer(f"{ours}.linear2", f"{theirs}.output.dense", width, hidden)
        yield from layer(f"{ours}.norm2", f"{theirs}.output.LayerNorm", width)
    if config.pooler:
        yield from layer("pooler", "pooler.dense", width, width)


def _word_places(config: BERTConfig, tied: bool, biases: tuple[str, ...]) -> Iterator[Place]:
    """The parameters of the head that scores words; `biases` are the names that its bias goes by."""
    transform, width = "cls.predictions.transform", config.width
    yield Place("transform.weight", (f"{transform}.dense.weight",), (width, width))
    yield Place("transform.bias", (f"{transform}.dense.bias",), (width,))
    yield Place("norm.weight", (f"{transform}.LayerNorm.weight",), (width,))
    yield Place("norm.bias", (f"{transform}.LayerNorm.bias",), (width,))
    if not tied:
        yield Place("decoder.weight", ("cls.predictions.decoder.weight",), (config.vocabulary, width))
    for bias in biases:
        yield Place("bias", (bias,), (config.vocabulary,))


def _class_places(config: BERTConfig, classes: int) -> Iterator[Place]:
    """The parameters of the head that scores classes."""
    yield Place("classifier.weight", ("classifier.weight",), (classes, config.width))
    yield Place("classifier.bias", ("classifier.bias",), (classes,))


def _plan(settings: Settings, class_name: str, names: Collection[str]) -> Plan:
    for key in ("is_decoder", "add_cross_attention"):
        settings.must_be(key, False)
    settings.must_be("position_embedding_type", "absolute")
    kind = CLASSES[class_name]
    vocabulary = settings.whole("vocab_size", 30522)
    config = BERTConfig(
        vocabulary=vocabulary,
        context=settings.whole("max_position_embeddings", 512),
        width=settings.whole("hidden_size", 768),
        layers=settings.whole("num_hidden_layers", 12, high=MOST_LAYERS),
        heads=settings.whole("num_attention_heads", 12),
        hidden=settings.whole("intermediate_size", 3072),
        activation=settings.one_of("hidden_act", ACTIVATIONS, "gelu"),
        dropout=settings.number("hidden_dropout_prob", 0.1),
        attention_dropout=settings.number("attention_probs_dropout_prob", 0.1),
        token_types=settings.whole("type_vocab_size", 2),
        eps=settings.number("layer_norm_eps", 1e-12),
        padding=settings.whole_or_none("pad_token_id", 0, high=vocabulary - 1),
        pooler=kind is BERTForSequenceClassification or "pooler.dense.weight" in names,
        initial_deviation=settings.number("initializer_range", 0.02),
    )
    if kind is BERT:
        return Plan(lambda: BERT(config), tuple(_encoder_places("", config)))
    encoder = tuple(_encoder_places("bert.", config))
    if kind is BERTForSequenceClassification:
        classes = _classes(settings)
        dropout = settings.number_or_none("classifier_dropout")
        return Plan(
            lambda: BERTForSequenceClassification(BERT(config), classes, dropout),
            (*encoder, *_class_places(config, classes)),
        )
    tied = settings.flag("tie_word_embeddings", True)
    # Without ties a file may hold both biases; the model adds the decoder's.
    bias = BIAS_OF_DECODER if not tied and BIAS_OF_DECODER in names else BIAS
    return Plan(
        lambda: BERTForMaskedLM(BERT(config), tied),
        (*encoder, *_word_places(config, tied, (bias,))),
        twins=TIED if tied else {},
        unused=() if bias == BIAS else (BIAS,),
    )


def _classes(settings: Settings) -> int:
    """The number of classes: of names for them, where there are names."""
    names = settings.values.get("id2label")
    return len(names) if isinstance(names, dict) and names else settings.whole("num_labels", CLASSES_UNNAMED)


def _places(model: Any) -> tuple[Place, ...]:
    if isinstance(model, BERT):
        return tuple(_encoder_places("", model.config))
    config = model.bert.config
    if isinstance(model, BERTForSequenceClassification):
        head = _class_places(config, model.classifier.out_features)
    else:
        tied = model.decoder is None
        head = _word_places(config, tied, (BIAS,) if tied else (BIAS, BIAS_OF_DECODER))
    return (*_encoder_places("bert.", config), *head)


def _describe(model: Any) -> dict[str, Any]:
    config = model.config if isinstance(model, BERT) else model.bert.config
    settings = {
        "vocab_size": config.vocabulary,
        "hidden_size": config.width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "intermediate_size": config.hidden_width,
        "hidden_act": next(theirs for theirs, ours in ACTIVATIONS.items() if ours == config.activation),
        "hidden_dropout_prob": config.dropout,
        "attention_probs_dropout_prob": config.attention_dropout,
        "max_position_embeddings": config.context,
        "type_vocab_size": config.token_types,
        "initializer_range": config.initial_deviation,
        "layer_norm_eps": config.eps,
        "pad_token_id": config.padding,
        "tie_word_embeddings": not isinstance(model, BERTForMaskedLM) or model.decoder is None,
    }
    if isinstance(model, BERTForSequenceClassification):
        names = {index: f"LABEL_{index}" for index in range(model.classifier.out_features)}
        settings["classifier_dropout"] = model.dropout.p
        settings["id2label"] = {str(index): name for index, name in names.items()}
        settings["label2id"] = {name: index for index, name in names.items()}
    return settings


BERT_CHECKPOINTS = Architecture(
    kind="bert",
    classes=CLASSES,
    bare="BertModel",
    prefix="bert.",
    heads=("cls.", "classifier."),
    plan=_plan,
    describe=_describe,
    places=_places,
    old_names={"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"},
    unused=(r"embeddings\.position_ids", r"cls\.seq_relationship\.(weight|bias)"),
)
