"""BERT: what it computes, what it does not look at, what it refuses; its recipe."""

import copy
import json
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

import nbdl
from nbdl import data, models, nn, ops, optim, train
from nbdl.cli import main
from nbdl.models.bert import ACTIVATIONS
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, DTypeError, IndexRangeError, ShapeError
from nbdl.testing import gradcheck
from nbdl.train.recipes.bert import SPECIAL, fill_masks

CONFIG = models.BERTConfig(vocabulary=20, context=9, width=8, layers=2, heads=2, dropout=0.0, attention_dropout=0.0)


@pytest.fixture(autouse=True)
def one_thread():
    """Networks this small gain nothing from more, and lose much where other programs run."""
    threads = nbdl.get_num_threads()
    nbdl.set_num_threads(1)
    yield
    nbdl.set_num_threads(threads)


def random_bert(seed=0, **changes):
    """A BERT in float64 with all parameters at random, biases and norms included."""
    nbdl.manual_seed(seed)
    model = models.BERT(CONFIG.with_changes(**changes)).double()
    for parameter in model.parameters():
        nn.init.normal_(parameter, 0.0, 0.4)
    return model


def tokens(*shape, seed=0):
    return nbdl.from_numpy(np.random.default_rng(seed).integers(1, 20, shape))


def array(tensor):
    return np.asarray(tensor.detach())


# ---------------------------------------------------------------- what it computes


def reference(model, ids, mask, types):
    """The encoder in NumPy, one head and one text at a time."""
    p = {name: array(value) for name, value in model.state_dict().items()}

    def norm(x, name):
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + model.config.eps)
        return scaled * p[f"{name}.weight"] + p[f"{name}.bias"]

    def linear(x, name):
        return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]

    bend = {
        "gelu": lambda x: 0.5 * x * (1 + np.vectorize(__import__("math").erf)(x / np.sqrt(2))),
        "gelu_tanh": lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
        "relu": lambda x: np.maximum(x, 0),
        "silu": lambda x: x / (1 + np.exp(-x)),
        "tanh": np.tanh,
    }[model.config.activation]
    results = []
    for row, allowed, parts in zip(ids, mask, types, strict=True):
        embedded = p["embeddings.words.weight"][row] + p["embeddings.token_types.weight"][parts]
        x = norm(embedded + p["embeddings.positions.weight"][: len(row)], "embeddings.norm")
        for index in range(model.config.layers):
            layer = f"layers.{index}"
            q, k, v = np.split(linear(x, f"{layer}.in_proj"), 3, axis=1)
            size = model.config.width // model.config.heads
            heads = []
            for head in range(model.config.heads):
                part = slice(head * size, (head + 1) * size)
                scores = q[:, part] @ k[:, part].T / np.sqrt(size)
                scores[:, ~allowed] = -np.inf
                weights = np.exp(scores - scores.max(1, keepdims=True))
                heads.append(weights / weights.sum(1, keepdims=True) @ v[:, part])
            x = norm(x + linear(np.concatenate(heads, 1), f"{layer}.out_proj"), f"{layer}.norm1")
            x = norm(x + linear(bend(linear(x, f"{layer}.linear1")), f"{layer}.linear2"), f"{layer}.norm2")
        results.append(x)
    return np.stack(results)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_encoder_by_its_definition(activation):
    model = random_bert(activation=activation, eps=1e-5).eval()
    ids, types = tokens(3, 7), nbdl.from_numpy(np.random.default_rng(1).integers(0, 2, (3, 7)))
    mask = np.arange(7) < np.array([[7], [3], [1]])
    got = array(model(ids, nbdl.from_numpy(mask), types))
    np.testing.assert_allclose(got, reference(model, array(ids), mask, array(types)), atol=1e-10)
    as_numbers = model(ids, nbdl.from_numpy(mask.astype(np.int32)), types)
    assert np.array_equal(array(as_numbers), got)


def test_padding_changes_nothing():
    model = random_bert().eval()
    ids = tokens(1, 5)
    alone = array(model(ids))
    padded = ops.cat([ids, nbdl.zeros(1, 4, dtype=ids.dtype)], 1)
    mask = nbdl.tensor([[1] * 5 + [0] * 4])
    np.testing.assert_allclose(array(model(padded, mask))[:, :5], alone, atol=1e-12)
    other = ops.cat([ids, tokens(1, 4, seed=3)], 1)
    assert np.array_equal(array(model(other, mask))[:, :5], array(model(padded, mask))[:, :5])


def test_every_token_looks_at_every_other():
    model = random_bert().eval()
    changed = array(tokens(1, 6)).copy()
    before = array(model(nbdl.from_numpy(changed)))
    changed[0, 5] += 1
    after = array(model(nbdl.from_numpy(changed)))
    assert (np.abs(after - before).max(axis=-1) > 1e-6).all()


def test_scores_at_some_places_are_those_of_all():
    model = models.BERTForMaskedLM(random_bert()).double().eval()
    everywhere = array(model(tokens(2, 5))).reshape(10, 20)
    places = [7, 0, 3, 3]
    np.testing.assert_allclose(array(model(tokens(2, 5), places=nbdl.tensor(places))), everywhere[places], atol=1e-12)
    assert model(tokens(2, 5), places=nbdl.from_numpy(np.zeros(0, np.int64))).shape == (0, 20)


def test_the_table_of_words_scores_words():
    tied, apart = (models.BERTForMaskedLM(random_bert(), tied=tied) for tied in (True, False))
    assert len(list(apart.parameters())) == len(list(tied.parameters())) + 1
    assert "decoder.weight" in apart.state_dict() and "decoder.weight" not in tied.state_dict()
    model = tied.double().eval()
    guess = model.norm(ops.gelu(model.transform(model.bert(tokens(1, 3)))))
    expected = array(guess) @ array(model.bert.embeddings.words.weight).T + array(model.bias)
    np.testing.assert_allclose(array(model(tokens(1, 3))), expected, atol=1e-12)


def test_the_class_comes_from_the_first_token():
    model = models.BERTForSequenceClassification(random_bert(), classes=4).double().eval()
    vectors = array(model.bert(tokens(3, 5)))[:, 0]
    pooled = np.tanh(vectors @ array(model.bert.pooler.weight).T + array(model.bert.pooler.bias))
    expected = pooled @ array(model.classifier.weight).T + array(model.classifier.bias)
    np.testing.assert_allclose(array(model(tokens(3, 5))), expected, atol=1e-12)


@pytest.mark.parametrize("kind", ["words", "classes"])
def test_gradients(kind):
    bert = random_bert(width=4, layers=1, heads=2, vocabulary=7, context=3, hidden=5)
    head = models.BERTForMaskedLM(bert) if kind == "words" else models.BERTForSequenceClassification(bert, 3)
    model = head.double().eval()
    ids, mask = nbdl.tensor([[1, 6, 3], [2, 2, 0]]), nbdl.tensor([[1, 1, 1], [1, 1, 0]])
    parameters = [parameter for parameter in model.parameters() if parameter is not bert.embeddings.words.weight]

    def scores(*values):
        del values  # the parameters themselves
        return model(ids, mask)

    gradcheck(scores, parameters)


def test_the_padding_word_gets_no_gradient_from_its_lookup():
    model = models.BERTForSequenceClassification(random_bert(padding=3), 2).double()
    model(nbdl.tensor([[1, 3, 2]])).sum().backward()
    gradient = array(model.bert.embeddings.words.weight.grad)
    assert np.flatnonzero(np.abs(gradient).sum(1)).tolist() == [1, 2]


def test_dropout_in_training_only():
    model = models.BERT(CONFIG.with_changes(dropout=0.5, attention_dropout=0.5))
    assert not np.array_equal(array(model(tokens(1, 5))), array(model(tokens(1, 5))))
    model.eval()
    assert np.array_equal(array(model(tokens(1, 5))), array(model(tokens(1, 5))))


def test_initial_weights():
    nbdl.manual_seed(0)
    config = models.BERTConfig(vocabulary=500, width=64, layers=1, heads=2, padding=7, initial_deviation=0.1)
    model = models.BERTForMaskedLM(models.BERT(config), tied=False)
    for name, parameter in model.named_parameters():
        values = array(parameter)
        if name.endswith("bias"):
            assert not values.any(), name
        elif values.ndim == 1:
            assert (values == 1).all(), name
        else:
            assert np.abs(values).max() <= 0.2, name
            if values.size > 1000:
                assert values.std() == pytest.approx(0.088, rel=0.05), name  # of what is left within two deviations
    words = array(model.bert.embeddings.words.weight)
    assert not words[7].any() and words[6].any()


def test_models_say_what_they_are():
    assert repr(models.BERT(CONFIG)) == "BERT(20 tokens, context 9, 2 layers of 2 heads, 8 wide, 2,080 parameters)"
    tied = models.BERTForMaskedLM(models.BERT(CONFIG))
    assert "not tied" not in repr(tied) and "not tied" in repr(models.BERTForMaskedLM(models.BERT(CONFIG), tied=False))
    assert "3 classes" in repr(models.BERTForSequenceClassification(models.BERT(CONFIG), 3))


def size(config):
    """The number of parameters, by the formula."""
    width, hidden = config.width, config.hidden_width
    embeddings = (config.vocabulary + config.context + config.token_types + 2) * width
    layer = 4 * (width + 1) * width + (width + 1) * hidden + (hidden + 1) * width + 4 * width
    return embeddings + config.layers * layer + (width + 1) * width


def test_the_published_size():
    assert size(CONFIG) == sum(parameter.numel() for parameter in models.BERT(CONFIG).parameters())
    assert size(models.BERTConfig()) == 109_482_240  # BERT-base


def test_a_copy_keeps_the_tie():
    model = copy.deepcopy(models.BERTForMaskedLM(models.BERT(CONFIG)))
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    before = array(model.bert.embeddings.words.weight).copy()
    ops.cross_entropy(model(tokens(2, 4)).reshape(-1, 20), tokens(8)).backward()
    optimizer.step()
    assert not np.array_equal(array(model.bert.embeddings.words.weight), before)


def test_empty_batches():
    model = models.BERTForMaskedLM(models.BERT(CONFIG))
    assert model(nbdl.from_numpy(np.zeros((0, 4), np.int64))).shape == (0, 4, 20)
    assert model(nbdl.from_numpy(np.zeros((2, 0), np.int64))).shape == (2, 0, 20)


# ---------------------------------------------------------------- what it refuses


@pytest.mark.parametrize(
    "changes",
    [
        {"vocabulary": 0},
        {"context": 0},
        {"layers": 0},
        {"heads": 3},
        {"hidden": 0},
        {"activation": "mish"},
        {"dropout": 1.0},
        {"attention_dropout": -0.1},
        {"eps": float("nan")},
        {"padding": 20},
        {"token_types": 0},
        {"initial_deviation": 0},
    ],
)
def test_configurations_that_are_refused(changes):
    with pytest.raises(ArgumentError, match=next(iter(changes))):
        CONFIG.with_changes(**changes)


def test_arguments_that_are_refused():
    model = models.BERT(CONFIG)
    ids = tokens(2, 5)
    for error, said, arguments in (
        (ShapeError, "input_ids", (tokens(5),)),
        (ShapeError, "input_ids.*9 places.*10", (tokens(2, 10),)),
        (DTypeError, "input_ids", (nbdl.zeros(2, 5),)),
        (IndexRangeError, r"\[0, 19\], got 2", (ids * 0 + 20,)),
        (IndexRangeError, "got -1", (ids * 0 - 1,)),
        (ShapeError, "attention_mask", (ids, nbdl.ones(2, 4, dtype=nbdl.bool))),
        (DTypeError, "attention_mask", (ids, nbdl.ones(2, 5))),
        (ShapeError, "token_type_ids", (ids, None, tokens(5))),
        (DTypeError, "token_type_ids", (ids, None, nbdl.zeros(2, 5))),
        (IndexRangeError, r"\[0, 1\], got 2", (ids, None, ids * 0 + 2)),
    ):
        with pytest.raises(error, match=said):
            model(*arguments)
    with pytest.raises(IndexRangeError):
        models.BERTForMaskedLM(model)(ids, places=nbdl.tensor([10]))
    with pytest.raises(ShapeError, match="token"):
        model.pool(nbdl.zeros(2, 0, 8))


def test_heads_that_are_refused():
    without = models.BERT(CONFIG.with_changes(pooler=False))
    with pytest.raises(ArgumentError, match="pooler"):
        models.BERTForSequenceClassification(without, 3)
    with pytest.raises(ArgumentError, match="pooler"):
        without.pool(nbdl.zeros(1, 2, 8))
    with pytest.raises(ArgumentError, match="classes"):
        models.BERTForSequenceClassification(models.BERT(CONFIG), 0)
    with pytest.raises(ArgumentTypeError, match="BERTConfig"):
        models.BERT({"vocabulary": 3})
    for head in (models.BERTForMaskedLM, lambda bert: models.BERTForSequenceClassification(bert, 2)):
        with pytest.raises(ArgumentTypeError, match="bert"):
            head(nn.Linear(2, 3))


# ---------------------------------------------------------------- the recipe


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """Two packages whose code differs in a word."""
    root = tmp_path_factory.mktemp("library")
    for package, word in (("alpha", "left"), ("beta", "right")):
        (root / package).mkdir()
        for number in range(5):
            lines = [f"def {word}_{n % 7}(value):\n    return value + {n % 3}  # {word}\n" for n in range(180)]
            (root / package / f"file{number}.py").write_text("import os\n" + "".join(lines) * 1)
    return root


SMALL = {"vocabulary": 320, "layers": 1, "heads": 2, "width": 16, "context": 24, "batch_size": 16, "lines": 4}


@pytest.fixture(scope="module")
def run(library, tmp_path_factory):
    pytest.importorskip("sklearn")
    folder = tmp_path_factory.mktemp("run")
    result = train.run_recipe("bert-mlm", out=folder, root=str(library), epochs=2, tuning_epochs=1, few=0.5, **SMALL)
    return folder, result


def test_the_recipe_tells_what_it_promises(run):
    folder, result = run
    assert next(iter(result.metrics)) == "test_nats_per_masked_token"
    cloze = ["unigram", "cloze_3gram", "cloze_5gram"]
    names = [
        f"{kind}_accuracy_{share}_percent" for share in (100, 50) for kind in ("fine_tuned", "from_scratch", "tf_idf")
    ]
    assert list(result.metrics)[1:] == [f"{name}_nats_per_masked_token" for name in cloze] + names
    assert result.metrics["cloze_3gram_nats_per_masked_token"] < result.metrics["unigram_nats_per_masked_token"]
    assert result.metrics["tf_idf_accuracy_100_percent"] == 1
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == 2
    for name in ("curve.svg", "packages-100_percent.svg", "packages-50_percent.svg"):
        ElementTree.fromstring((folder / name).read_text())
    assert json.loads((folder / "result.json").read_text())["settings"]["recipe"] == "bert-mlm"


def test_a_stopped_run_goes_on_to_the_same_end(run, library, tmp_path):
    class Stop(train.Callback):
        def on_batch_end(self, trainer, loss):
            if trainer.step == 70:
                trainer.save()
                raise KeyboardInterrupt

    folder, whole = run
    options = {"root": str(library), "epochs": 2, "tuning_epochs": 1, "few": 0.5, **SMALL}
    with pytest.raises(KeyboardInterrupt):
        train.run_recipe("bert-mlm", out=tmp_path, callbacks=[Stop()], **options)
    assert train.run_recipe("bert-mlm", out=tmp_path, resume=True).metrics == whole.metrics
    assert (folder / "model.safetensors").read_bytes() == (tmp_path / "model.safetensors").read_bytes()


def test_masks_are_filled_in(run, capsys):
    folder, _ = run
    filled = fill_masks(folder, "def left_0([MASK]):")
    assert filled.startswith("def left_0(") and not any(token in filled for token in SPECIAL)
    assert main(["sample", str(folder), "--prompt", "def left_0([MASK]):"]) == 0
    assert capsys.readouterr().out == filled + "\n"
    with pytest.raises(data.TokenError, match="MASK"):
        fill_masks(folder, "nothing to fill in")
    with pytest.raises(data.TokenError, match="at most 23"):
        fill_masks(folder, "[MASK] " + "value " * 100)
