"""Recurrent models and their recipes, CTC by its definition, bags in training."""

import itertools
import json
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

import nbdl
from nbdl import data, models, nn, ops, train
from nbdl.cli import main
from nbdl.runtime.errors import ArgumentError, ShapeError
from nbdl.train.recipes.writers import load_language_model
from nbdl.train.stream import StreamTrainer
from tests.test_sequence_data import recordings  # noqa: F401 (a fixture)


@pytest.fixture(autouse=True)
def one_thread():
    """Networks this small gain nothing from more, and lose much where other programs run."""
    threads = nbdl.get_num_threads()
    nbdl.set_num_threads(1)
    yield
    nbdl.set_num_threads(threads)


# ---------------------------------------------------------------- models


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn"])
def test_memory_goes_on_from_window_to_window(kind):
    nbdl.manual_seed(0)
    model = models.RecurrentLanguageModel(7, 5, 6, layers=2, kind=kind).double().eval()
    tokens = nbdl.from_numpy(np.random.default_rng(0).integers(0, 7, (3, 12)))
    with nbdl.no_grad():
        whole, last = model(tokens)
        first, state = model(tokens[:, :5])
        second, state = model(tokens[:, 5:], state)
    np.testing.assert_allclose(np.asarray(ops.cat([first, second], 1)), np.asarray(whole), atol=1e-12)
    pairs = zip(last, state, strict=True) if kind == "lstm" else [(last, state)]
    for one, other in pairs:
        np.testing.assert_allclose(np.asarray(one), np.asarray(other), atol=1e-12)


def test_generated_tokens():
    nbdl.manual_seed(0)
    model = models.RecurrentLanguageModel(7, 5, 6)
    drawn = list(models.generate(model, [1, 2], 30, seed=5))
    assert drawn == list(models.generate(model, [1, 2], 30, seed=5)) != list(models.generate(model, [1, 2], 30, seed=6))
    assert set(drawn) <= set(range(7)) and model.training
    greedy = list(models.generate(model, [1, 2], 10, temperature=0))
    assert greedy == list(models.generate(model, [1, 2], 10, top_k=1, seed=9))
    scores, _ = model.eval()(nbdl.tensor([[1, 2]]))
    assert greedy[0] == np.asarray(scores.detach())[0, -1].argmax()


@pytest.mark.parametrize(
    "options",
    [{"prompt": []}, {"length": -1}, {"temperature": -0.5}, {"temperature": np.nan}, {"top_k": 0}, {"seed": -1}],
)
def test_what_generating_refuses(options):
    with pytest.raises(ArgumentError, match=next(iter(options))):
        models.generate(models.RecurrentLanguageModel(3), **({"prompt": [1], "length": 1} | options))


def test_padding_does_not_change_what_a_classifier_says():
    nbdl.manual_seed(0)
    model = models.RecurrentClassifier(3, 4, 5, layers=2).double().eval()
    rng = np.random.default_rng(0)
    sequences = [rng.standard_normal((length, 3)) for length in (4, 9, 1)]
    padded, lengths = data.pad(sequences, value=99.0)
    together = np.asarray(model(nbdl.from_numpy(padded), nbdl.from_numpy(lengths)).detach())
    for sequence, scores in zip(sequences, together, strict=True):
        alone = model(nbdl.from_numpy(sequence[None]), nbdl.tensor([len(sequence)]))
        np.testing.assert_allclose(np.asarray(alone.detach())[0], scores, atol=1e-12)


def test_a_forecaster_begins_with_the_forecast_it_corrects():
    model = models.RecurrentForecaster(2, 4, corrects=True)
    forecast = nbdl.tensor([[1.0, 2.0]])
    assert model(nbdl.zeros(1, 9), forecast).tolist() == [[1.0, 2.0]]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: models.RecurrentLanguageModel(0), "vocabulary"),
        (lambda: models.RecurrentLanguageModel(3, kind="elman"), "kind"),
        (lambda: models.RecurrentClassifier(3, 4, 5, dropout=1.0), "dropout"),
        (lambda: models.RecurrentForecaster(0), "future"),
        (lambda: models.RecurrentForecaster(3, hidden_size=0), "hidden_size"),
    ],
)
def test_what_models_refuse(make, said):
    with pytest.raises(ArgumentError, match=said):
        make()
    with pytest.raises(ShapeError, match="sequences"):
        models.RecurrentClassifier(3, 4, 5)(nbdl.zeros(2, 3), nbdl.tensor([3, 3]))


# ---------------------------------------------------------------- training on a stream


def test_a_stream_is_judged_the_same_in_any_windows():
    nbdl.manual_seed(0)
    model = models.RecurrentLanguageModel(5, 4, 6).double()
    trainer = StreamTrainer(model, None, None, nn.CrossEntropyLoss())
    tokens = np.random.default_rng(0).integers(0, 5, 60)
    losses = [trainer.evaluate(data.StreamLoader(tokens, 2, steps))["loss"] for steps in (1, 7, 60)]
    assert losses == pytest.approx([losses[0]] * 3, abs=1e-12)
    assert trainer.memory is None


# ---------------------------------------------------------------- recipe: text

SMALL = {"hidden": 8, "embedding": 4, "batch_size": 4, "steps": 8, "epochs": 2}


@pytest.fixture
def book(tmp_path):
    path = tmp_path / "book.txt"
    path.write_text("the cat sat on the mat; the dog sat on the log. " * 30)
    return path


class Stop(train.Callback):
    def __init__(self, step):
        self.step = step

    def on_batch_end(self, trainer, loss):
        if trainer.step == self.step:
            trainer.save()
            raise KeyboardInterrupt


@pytest.mark.parametrize(("cells", "stop"), [("lstm", 20), ("gru", 57)])
def test_a_resumed_text_run_equals_an_uninterrupted_one(book, tmp_path, cells, stop):
    options = {"name": "lstm-text", "data": str(book), "cells": cells, **SMALL}
    whole = train.run_recipe(**options, out=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train.run_recipe(**options, out=tmp_path / "part", callbacks=[Stop(stop)])
    resumed = train.run_recipe("lstm-text", out=tmp_path / "part", resume=True)
    assert resumed.metrics == whole.metrics
    weights = [(tmp_path / folder / "model.safetensors").read_bytes() for folder in ("whole", "part")]
    assert weights[0] == weights[1]
    assert (tmp_path / "whole" / "sample.txt").read_text() == (tmp_path / "part" / "sample.txt").read_text()


@pytest.mark.parametrize("tokens", ["characters", "bytes"])
def test_text_run_and_sample(book, tmp_path, capsys, tokens):
    out = str(tmp_path / "run")
    options = [f"--{name.replace('_', '-')}={value}" for name, value in SMALL.items()]
    assert main(["train", "lstm-text", "--data", str(book), "--tokens", tokens, "--out", out, *options]) == 0
    lines = capsys.readouterr().out.strip().splitlines()
    assert lines[-1].startswith("test_nats_per_character=")
    assert [line.partition("_")[0] for line in lines[-4:-1]] == ["bigram", "trigram", "5gram"]
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert 0 < result["trigram_nats_per_character"] < result["test_nats_per_character"] < 4

    sample = ["sample", out, "--prompt", "the ", "--length", "40", "--seed", "3"]
    written = []
    for _ in range(2):
        assert main(sample) == 0
        written.append(capsys.readouterr().out)
    assert written[0] == written[1] and written[0].startswith("the ")
    assert len(written[0]) == 4 + 40 + 1 or tokens == "bytes"  # bytes that are no UTF-8 may share a sign
    assert main([*sample, "--temperature", "0"]) == 0
    model, tokenizer = load_language_model(out)
    assert tokenizer.size == model.vocabulary and not model.training


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["{run}", "--prompt", "Ω"], 1, "text: expected characters among"),
        (["{run}", "--prompt", ""], 2, "--prompt"),
        (["{run}", "--temperature", "-1"], 2, "--temperature"),
        (["{run}", "--top-k", "0"], 2, "--top-k"),
        (["{nothing}"], 1, "no such folder; `nbdl train gpt-text` makes one"),
        (["{other}"], 1, "expected a run of lstm-text, gpt-text, bert-mlm, seq2seq-jamo, got one of lstm-forecast"),
    ],
)
def test_what_sample_refuses(book, tmp_path, capsys, arguments, code, said):
    train.run_recipe("lstm-text", data=str(book), out=tmp_path / "run", **(SMALL | {"epochs": 1}))
    if arguments[0] == "{other}":
        train.run_recipe("lstm-forecast", epochs=1, out=tmp_path / "other")
    words = [word.format(**{name: tmp_path / name for name in ("run", "nothing", "other")}) for word in arguments]
    capsys.readouterr()
    assert main(["sample", *words]) == code
    assert said in capsys.readouterr().err


def test_texts_too_short_or_missing(tmp_path, capsys):
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "short.txt").write_text("abc")
    for name, said in (("empty.txt", "empty file"), ("short.txt", "tokens"), ("none.txt", "no such file")):
        out = str(tmp_path / "out")
        assert main(["train", "lstm-text", "--data", str(tmp_path / name), "--out", out]) == 1
        error = capsys.readouterr().err
        assert said in error and error.count("\n") == 1


# ---------------------------------------------------------------- recipes: speech, forecast


def test_speech_run_with_every_speaker_left_out(recordings, tmp_path, capsys):  # noqa: F811
    arguments = ["--root", str(recordings), "--hidden", "4", "--bands", "8", "--epochs", "1", "--batch-size", "4"]
    assert main(["train", "gru-speech", *arguments, "--out", str(tmp_path / "run")]) == 0
    output = capsys.readouterr().out
    assert output.strip().splitlines()[-1].startswith("test_accuracy=")
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    shares = [result[f"accuracy_without_{speaker}"] for speaker in ("ann", "bob")]
    assert result["left_out_speaker_accuracy"] == pytest.approx(np.mean(shares))
    assert "without each speaker" in output
    assert main(["train", "gru-speech", *arguments, "--left-out", "eve", "--out", str(tmp_path / "run")]) == 1
    assert "ann, bob" in capsys.readouterr().err


def test_forecast_beats_both_baselines(tmp_path):
    result = train.run_recipe("lstm-forecast", out=tmp_path)
    assert result.metrics["test_rmse"] < result.metrics["autoregression_rmse"] < result.metrics["seasonal_naive_rmse"]
    drawing = ElementTree.fromstring((tmp_path / "forecast.svg").read_text())
    texts = {"".join(element.itertext()) for element in drawing.iter("{http://www.w3.org/2000/svg}text")}
    assert {"LSTM", "autoregression", "seasonal naive", "what came", "1990"} <= texts
    validated = train.run_recipe("lstm-forecast", out=tmp_path / "validation", held_out="validation")
    assert validated.metrics["validation_rmse"] < validated.metrics["autoregression_rmse"]


# ---------------------------------------------------------------- CTC


def spelled(path, blank):
    """What a path spells: repetitions dropped, then blanks."""
    return tuple(label for label, _ in itertools.groupby(path) if label != blank)


@pytest.mark.parametrize("blank", [0, 2])
@pytest.mark.parametrize("steps", [1, 3, 5])
def test_ctc_is_the_sum_over_all_paths(blank, steps):
    rng = np.random.default_rng(steps)
    probabilities = rng.dirichlet(np.ones(3), steps)
    log_probs = nbdl.from_numpy(np.log(probabilities))
    others = [c for c in range(3) if c != blank]
    for size in range(steps + 2):
        for target in itertools.product(others, repeat=size):
            paths = (p for p in itertools.product(range(3), repeat=steps) if spelled(p, blank) == target)
            total = sum(np.prod(probabilities[np.arange(steps), path]) for path in paths)
            loss = ops.ctc_loss(
                log_probs, nbdl.from_numpy(np.array(target, np.int64)), (steps,), (size,), blank, reduction="sum"
            )
            with np.errstate(divide="ignore"):
                assert loss.item() == pytest.approx(-np.log(total), abs=1e-9)


@pytest.mark.parametrize("zero_infinity", [False, True])
def test_targets_longer_than_their_sequence(zero_infinity):
    scores = nbdl.zeros(3, 2, 4, dtype=nbdl.float64, requires_grad=True)
    loss = nn.CTCLoss(reduction="none", zero_infinity=zero_infinity)(
        ops.log_softmax(scores, 2), nbdl.tensor([[1, 2, 3], [1, 1, 0]]), (2, 3), (3, 2)
    )
    assert loss[0].item() == (0 if zero_infinity else np.inf) and 0 < loss[1].item() < np.inf
    loss.sum().backward()
    gradient = scores.grad.numpy()
    assert np.isfinite(gradient[:, 1]).all() and not gradient[2, 0].any()
    assert (gradient[:2, 0] == 0).all() if zero_infinity else np.isnan(gradient[:2, 0]).all()


# ---------------------------------------------------------------- bags


def test_gradients_of_frequent_ids_are_divided_by_their_number():
    weight = nbdl.ones(3, 2, requires_grad=True)
    ops.embedding_bag(nbdl.tensor([[0, 0], [0, 2]]), weight, mode="sum", scale_grad_by_freq=True).sum().backward()
    assert weight.grad.tolist() == [[1, 1], [0, 0], [1, 1]]


def test_bags_learn_and_shorten_their_vectors():
    nbdl.manual_seed(0)
    bags = nn.EmbeddingBag(4, 3, max_norm=0.5, padding_idx=-1)
    assert bags.weight[3].tolist() == [0, 0, 0] and "padding_idx=3" in repr(bags)
    bags(nbdl.tensor([0, 1, 3]), nbdl.tensor([0, 1, 1])).sum().backward()
    norms = np.linalg.norm(np.asarray(bags.weight.detach()), axis=1)
    assert norms[:2] == pytest.approx([0.5, 0.5], rel=1e-5)
    assert not bags.weight.grad[3].any() and nn.EmbeddingBag.from_pretrained(bags.weight).weight.requires_grad is False
