"""The recipe of a BERT: it fills in masked tokens of source code, then learns to tell which package code is from."""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from nbdl import data, models, nn, ops, optim
from nbdl.autograd import Tensor, no_grad
from nbdl.runtime.philox import manual_seed
from nbdl.train.checkpoint import CheckpointFolder
from nbdl.train.curve import draw_curve
from nbdl.train.errors import CheckpointError
from nbdl.train.loop import Trainer, accuracy
from nbdl.train.recipes.registry import (
    Option,
    Task,
    descent_options,
    describe_descent,
    number,
    recipe,
    text,
    whole,
)
from nbdl.train.windows import WindowTrainer

MASK_TOKEN = "[MASK]"
SPECIAL = ("[PAD]", "[CLS]", "[SEP]", MASK_TOKEN)
PADDING, FIRST, BETWEEN, MASK = range(len(SPECIAL))

EVALUATION_BATCH = 64
JUDGED_SHARE = 0.15  # of the tokens is hidden for a test
VALIDATION_SEED, TEST_SEED = 1, 2  # choose what is hidden
REACHES = (0, 1, 2)  # of the cloze models, on both sides
FINE_TUNING_BATCH, FINE_TUNING_RATE = 16, 1e-3
INITIAL_DEVIATION = 0.05
PLACES, SLOWEST_WAVE = 0.1, 100.0  # size and base of the waves that places begin as
SHARPNESS = 1.5  # queries and keys begin so much larger
ADAM_BETAS = (0.9, 0.98)
WARM_UP = 0.1  # of all steps
WEIGHT_DECAY = 0.01


def bert_model(options: dict[str, Any], vocabulary: int) -> models.BERTForMaskedLM:
    """The network that the options describe, for so many tokens."""
    config = models.BERTConfig(
        vocabulary=vocabulary,
        context=options["context"],
        width=options["width"],
        layers=options["layers"],
        heads=options["heads"],
        dropout=options["dropout"],
        attention_dropout=options["dropout"],
        token_types=1,
        padding=PADDING,
        initial_deviation=INITIAL_DEVIATION,
    )
    return models.BERTForMaskedLM(models.BERT(config))


def _begin(model: models.BERTForMaskedLM, tokens: np.ndarray) -> None:
    """Gives a model what it would else spend its first thousand steps on: to look at near tokens, and to count.

    Places begin as waves, so that near places have similar vectors; keys begin as the queries are, so that tokens look
    at what is similar, which is what is near; and the bias begins at the logarithms of the tokens' shares.
    """
    width, size = model.bert.config.width, model.bert.config.vocabulary
    places = nn.SinusoidalPositions(width, model.bert.config.context, base=SLOWEST_WAVE).table
    shares = np.bincount(tokens.reshape(-1), minlength=size) + 1.0
    begins = {
        "bert.embeddings.positions.weight": places * PLACES,
        "bias": np.log(shares / shares.sum()),
    }
    for name, weight in model.state_dict().items():
        if name.endswith("in_proj.weight"):
            queries = weight[:width] * SHARPNESS
            begins[name] = ops.cat([queries, queries, weight[2 * width :]])
    model.load_state_dict(begins, strict=False)


class MaskedTrainer(WindowTrainer):
    """A trainer for models that fill in masked tokens, on batches of a `MaskingLoader`."""

    def batch_loss(self, batch: Any) -> tuple[Tensor, int]:
        """The mean loss of the hidden tokens, and their number."""
        tokens, places, targets = self.tensors(batch)
        return self.loss(self.model(tokens, places=places), targets), len(batch[2])


def fill_masks(folder: str | Path, prompt: str) -> str:
    """A text with its [MASK]s filled in by the model of a run of `bert-mlm`, each with the likeliest token.

    Raises:
        CheckpointError: There is no checkpoint of such a run in the folder.
        TokenError: There is nothing to fill in, or the text is longer than the model's context.
    """
    state, _ = CheckpointFolder(folder).load()
    if state["settings"].get("recipe") != "bert-mlm":
        raise CheckpointError(f"{folder}: expected a run of 'bert-mlm', got one of {state['settings'].get('recipe')!r}")
    tokenizer = data.tokenizer_from(state["tokenizer"])
    model = bert_model(state["settings"], tokenizer.size)
    model.load_state_dict(state["model"])
    ids = np.concatenate([[FIRST], tokenizer.encode(prompt)])
    places = np.flatnonzero(ids == MASK)
    context = model.bert.config.context
    if not len(places) or len(ids) > context:
        got = f"{len(places)} in {len(ids) - 1} tokens"
        raise data.TokenError("prompt", f"a text of at most {context - 1} tokens with [MASK] in it", got)
    with no_grad():
        scores = np.asarray(model.eval()(Tensor(ids[None]), places=Tensor(places)))
    ids[places] = scores[:, len(SPECIAL) :].argmax(1) + len(SPECIAL)
    return tokenizer.decode(ids)


# ---------------------------------------------------------------- which package?


class Question:
    """Pieces of code and the package that each is from, in three parts that share no file.

    Args:
        parts: The files of each part.
        names: The packages; their places are the classes.
        tokenizer: Makes tokens of the pieces.
        lines: Lines of a piece.
        context: Tokens of a piece at most; what is beyond is cut off.
    """

    def __init__(
        self,
        parts: dict[str, list[data.SourceFile]],
        names: list[str],
        tokenizer: data.JsonTokenizer,
        lines: int,
        context: int,
    ) -> None:
        self.names, self.texts, self.sets = names, {}, {}
        for part, files in parts.items():
            pieces = [
                (piece, names.index(file.package))
                for file in files
                if file.package in names
                for piece in data.snippets(file.text, lines)
            ]
            if not pieces:
                raise data.EmptyDataError(part, f"pieces of {lines} lines", "none")
            encoded = [ids[: context - 2] for ids in tokenizer.encode_batch([piece for piece, _ in pieces])]
            framed = [np.concatenate([[FIRST], ids, [BETWEEN]]) for ids in encoded]
            tokens = np.full((len(framed), context), PADDING, np.int64)
            for row, ids in zip(tokens, framed, strict=True):
                row[: len(ids)] = ids
            self.sets[part] = data.ArrayDataset(tokens, tokens != PADDING, np.array([label for _, label in pieces]))
            self.texts[part] = [tokenizer.decode(ids) for ids in encoded]

    def labels(self, part: str) -> np.ndarray:
        """The classes of the pieces of a part."""
        return np.asarray(self.sets[part].arrays[2])

    def some(self, share: float) -> np.ndarray:
        """The places of a share of the training pieces, of each class alike."""
        everything = np.arange(len(self.sets["train"]))
        return everything if share == 1 else data.stratified_split(self.labels("train"), share, seed=0)[1]

    def by_counting(self, chosen: np.ndarray) -> float:
        """The share of the test pieces that logistic regression on weighted word counts (TF-IDF) gets right."""
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline

        words = TfidfVectorizer(token_pattern=r"\w+|[^\w\s]", lowercase=False, ngram_range=(1, 2), sublinear_tf=True)
        model = make_pipeline(words, LogisticRegression(C=10, max_iter=200))
        model.fit([self.texts["train"][row] for row in chosen], self.labels("train")[chosen])
        return float(model.score(self.texts["test"], self.labels("test")))


def _descent(parameters: Any, rate: float, steps: int) -> tuple[Any, Any]:
    """An optimizer, and a schedule that raises its rate and lets it fall to 0."""
    optimizer = optim.AdamW(parameters, lr=rate, betas=ADAM_BETAS, weight_decay=WEIGHT_DECAY)
    schedule = optim.lr_scheduler.OneCycleLR(
        optimizer, rate, total_steps=steps, pct_start=WARM_UP, cycle_momentum=False
    )
    return optimizer, schedule


def _fine_tune(
    trainer: Trainer, question: Question, chosen: np.ndarray, epochs: int, pretrained: bool
) -> list[dict[str, Any]]:
    """Trains a classifier on the chosen pieces, from what masked tokens taught or from nothing.

    Returns:
        One record an epoch, and at the end one of the test.
    """
    manual_seed(trainer.settings["seed"])
    taught: Any = trainer.model
    encoder = models.BERT(taught.bert.config)
    if pretrained:
        encoder.load_state_dict(taught.bert.state_dict())
    model = models.BERTForSequenceClassification(encoder, len(question.names)).to(device=trainer.device)
    train = data.Subset(question.sets["train"], chosen)
    loader = data.DataLoader(train, FINE_TUNING_BATCH, shuffle=True, seed=trainer.settings["seed"])
    optimizer, schedule = _descent(model.parameters(), FINE_TUNING_RATE, epochs * len(loader))
    tuner = Trainer(
        model,
        loader,
        optimizer,
        nn.CrossEntropyLoss(),
        validation=data.DataLoader(question.sets["validation"], EVALUATION_BATCH),
        metrics={"accuracy": accuracy},
        schedule=schedule,
        schedule_each="batch",
        clip_norm=trainer.clip_norm,
        device=trainer.device,
    )
    history = tuner.run(epochs)
    return [*history, tuner.evaluate(data.DataLoader(question.sets["test"], EVALUATION_BATCH))]


# ---------------------------------------------------------------- the recipe


@recipe(
    "bert-mlm",
    "a BERT learns Python by filling in masked tokens of its library, then to tell which package code is from",
    "test_nats_per_masked_token",
    (
        Option("root", text, None, "folder of the library's source; default: that of the running Python", "FOLDER"),
        Option("vocabulary", whole(300), 4096, "tokens that byte-pair encoding learns", "N"),
        Option("layers", whole(1), 2, "layers, one on top of the other", "N"),
        Option("heads", whole(1), 4, "attention heads; they divide the width", "N"),
        Option("width", whole(1), 128, "features of a token", "N"),
        Option("context", whole(8), 64, "tokens that it reads at once", "N"),
        Option("masked", number(0, 1, open_low=True), 0.2, "share of the tokens hidden in training", "P"),
        Option("dropout", number(0, 1), 0.0, "share of vectors and of attention zeroed in training", "P"),
        Option("clip_norm", number(0, open_low=True), 1.0, "largest norm of a gradient", "X"),
        Option("lines", whole(1), 6, "lines of a piece of code whose package is asked for", "N"),
        Option("few", number(0, 1, open_low=True), 0.1, "share of the labels in the harder half of the question", "P"),
        Option("tuning_epochs", whole(1), 2, "passes over all labelled pieces; over few of them, so many steps", "N"),
        *descent_options(epochs=3, batch=16, optimizer=None, rate=0.002),
    ),
)
def bert_mlm(options: dict[str, Any]) -> Task:
    """Learns from the files for training, watches those for validation, and tests once on those for the test: first by
    filling in masked tokens, then, fine-tuned on all and on a few labels, by telling packages apart.
    """
    files = data.standard_library(options["root"])
    names = data.library_packages(files)
    parts = data.split_by_file(data.without_package_names(files, names))
    tokenizer = data.BpeTokenizer.train("".join(file.text for file in parts["train"]), options["vocabulary"], SPECIAL)
    windows = {
        part: data.framed_windows(
            tokenizer.encode_batch([file.text for file in chosen]), options["context"], FIRST, BETWEEN
        )
        for part, chosen in parts.items()
    }
    question = Question(parts, names, tokenizer, options["lines"], options["context"])
    hiding: dict[str, Any] = {"mask": MASK, "size": tokenizer.size, "special": len(SPECIAL)}
    judged = {
        part: data.MaskingLoader(windows[part], EVALUATION_BATCH, JUDGED_SHARE, seed=seed, always=True, **hiding)
        for part, seed in (("validation", VALIDATION_SEED), ("test", TEST_SEED))
    }
    model = bert_model(options, tokenizer.size)
    _begin(model, windows["train"])
    batch = len(windows["train"]) if options["batch_size"] == "full" else options["batch_size"]
    loader = data.MaskingLoader(windows["train"], batch, options["masked"], seed=options["seed"], **hiding)
    optimizer, schedule = _descent(model.parameters(), options["learning_rate"], options["epochs"] * len(loader))
    curves: dict[str, str] = {}

    def evaluate(trainer: Trainer) -> dict[str, float]:
        filled = {"test_nats_per_masked_token": trainer.evaluate(judged["test"])["loss"]}
        for reach in REACHES:
            name = "unigram" if reach == 0 else f"cloze_{2 * reach + 1}gram"
            filled[f"{name}_nats_per_masked_token"] = _counted_loss(windows["train"], judged["test"], reach)
        for name, nats in filled.items():
            trainer.note(f"{name} {nats:.4f}")
        return filled | _tell_packages(trainer, question, options, curves)

    characters = {part: sum(len(file.text) for file in chosen) for part, chosen in parts.items()}
    shares = ", ".join(f"{characters[part]:,} characters in {len(parts[part])} files ({part})" for part in parts)
    pieces = ", ".join(f"{len(question.sets[part]):,} ({part})" for part in parts)
    return Task(
        model=model,
        loss=nn.CrossEntropyLoss(),
        optimizer=optimizer,
        schedule=schedule,
        schedule_each="batch",
        loader=loader,
        validation=judged["validation"],
        test=evaluate,
        pictures=lambda trainer: curves,
        clip_norm=options["clip_norm"],
        trainer=lambda *parts, **others: MaskedTrainer(*parts, tokenizer=tokenizer.description(), **others),
        fingerprint=hashlib.sha256("".join(file.path + file.text for file in files).encode()).hexdigest(),
        summary={
            "data": f"Python's library: {shares}; {tokenizer.size:,} tokens",
            "packages": ", ".join(names),
            "pieces": f"of {options['lines']} lines: {pieces}; imports left out, packages' names made one word",
            "model": repr(model),
            "descent": describe_descent(options | {"optimizer": "adamw"}, ", rising and falling to 0"),
            "masking": f"{options['masked']:.0%} of the tokens in training, {JUDGED_SHARE:.0%} in tests",
        },
    )


def _counted_loss(windows: np.ndarray, judged: data.MaskingLoader, reach: int) -> float:
    """The loss of a cloze model on hidden tokens, in nats a token."""
    model = data.ClozeModel(windows, judged.size, reach)
    likely = [model.probabilities(*batch, mask=MASK) for batch in judged]
    return float(-np.log(np.concatenate(likely)).mean())


def _tell_packages(
    trainer: Trainer, question: Question, options: dict[str, Any], curves: dict[str, str]
) -> dict[str, float]:
    """Fine-tunes, and trains from scratch, on all labels and on few of them; draws a curve of each amount."""
    metrics: dict[str, float] = {}
    for share in (1.0, options["few"]):
        chosen = question.some(share)
        percent = f"{share:.0%}".replace("%", "_percent")
        epochs = max(1, round(options["tuning_epochs"] * min(1 / share, 1 + 1 / share**0.5)))
        trainer.note(f"which package? {len(chosen):,} labelled pieces, {epochs} epochs")
        runs = {
            "fine_tuned": _fine_tune(trainer, question, chosen, epochs, pretrained=True),
            "from_scratch": _fine_tune(trainer, question, chosen, epochs, pretrained=False),
        }
        for name, history in runs.items():
            metrics[f"{name}_accuracy_{percent}"] = history.pop()["accuracy"]
        if find_spec("sklearn") is None:
            trainer.note("TF-IDF is left out: pip install 'nbdl[examples]'")
        else:
            metrics[f"tf_idf_accuracy_{percent}"] = question.by_counting(chosen)
        for name in ("fine_tuned", "from_scratch", "tf_idf"):
            if f"{name}_accuracy_{percent}" in metrics:
                trainer.note(f"{name:<14} {metrics[f'{name}_accuracy_{percent}']:.4f}")
        curves[f"packages-{percent}.svg"] = draw_curve(_side_by_side(runs), f"which package? {share:.0%} of the labels")
    return metrics


def _side_by_side(runs: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """One record an epoch with the validation accuracy of each run."""
    count = len(next(iter(runs.values())))
    return [
        {"epoch": epoch + 1, **{name: history[epoch]["validation_accuracy"] for name, history in runs.items()}}
        for epoch in range(count)
    ]
