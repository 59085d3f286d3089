"""GPT: its architecture, its cache of keys and values, how it writes, and the recipe that trains it."""

import json

import numpy as np
import pytest

import nbdl
from nbdl import data, models, nn, ops, train
from nbdl.cli import main
from nbdl.models.gpt import decoding
from nbdl.models.sampling import Sampling, Stop
from nbdl.runtime.errors import (
    ArgumentError,
    ArgumentTypeError,
    DTypeError,
    GradientError,
    IndexRangeError,
    NbdlError,
    ShapeError,
)
from nbdl.runtime.philox import Generator
from nbdl.train.recipes.writers import continuation, load_language_model

VOCABULARY, CONTEXT = 23, 16
CONFIGS = {
    "gpt2": models.GPTConfig(VOCABULARY, CONTEXT, 24, 2, 3),
    "modern": models.GPTConfig.modern(
        vocabulary=VOCABULARY, context=CONTEXT, width=24, layers=2, heads=4, key_value_heads=2
    ),
    "mixed": models.GPTConfig(
        VOCABULARY, CONTEXT, 24, 2, 4, key_value_heads=1, hidden=20, norm="rms_norm", feed_forward="swiglu"
    ),
}
configs = pytest.mark.parametrize("kind", CONFIGS)


@pytest.fixture(autouse=True)
def one_thread():
    """Networks this small gain nothing from more."""
    threads = nbdl.get_num_threads()
    nbdl.set_num_threads(1)
    yield
    nbdl.set_num_threads(threads)


def lively(kind, dtype=None):
    """A model whose weights are large enough that each part of it matters."""
    nbdl.manual_seed(0)
    model = models.GPT(CONFIGS[kind], dtype=dtype).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, 1.0 if parameter.ndim == 1 else 0.0, 0.3)
    return model


def tokens(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, VOCABULARY, shape)


# ---------------------------------------------------------------- the model


@configs
def test_a_future_token_changes_no_earlier_score(kind):
    model = lively(kind)
    text = tokens(3, CONTEXT)
    scores = model(nbdl.from_numpy(text)).detach().numpy()
    for place in (1, 7, CONTEXT - 1):
        changed = text.copy()
        changed[:, place] = (changed[:, place] + 1) % VOCABULARY
        others = model(nbdl.from_numpy(changed)).detach().numpy()
        assert scores[:, :place].tobytes() == others[:, :place].tobytes()
        assert (scores[:, place] != others[:, place]).any()


def by_definition(model, text):
    """The scores of GPT-2 [B, T, V] in NumPy, from the equations."""
    weights = {name: value.detach().numpy() for name, value in model.named_parameters()}
    config = model.config

    def norm(x, name):
        centred = x - x.mean(-1, keepdims=True)
        return (
            centred / np.sqrt((centred**2).mean(-1, keepdims=True) + config.eps) * weights[f"{name}.weight"]
            + weights[f"{name}.bias"]
        )

    def linear(x, name):
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    x = weights["token_embedding.weight"][text] + weights["position_embedding.weight"][: text.shape[1]]
    for layer in range(config.layers):
        block = f"blocks.{layer}"
        q, k, v = (
            part.reshape(*text.shape, config.heads, -1)
            for part in np.split(linear(norm(x, f"{block}.attention_norm"), f"{block}.attention.qkv"), 3, -1)
        )
        scores = np.einsum("bthd,bshd->bhts", q, k) / np.sqrt(config.head_width)
        scores = np.where(np.tri(text.shape[1], dtype=bool), scores, -np.inf)
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        shares /= shares.sum(-1, keepdims=True)
        answer = np.einsum("bhts,bshd->bthd", shares, v).reshape(x.shape)
        x = x + linear(answer, f"{block}.attention.projection")
        wide = linear(norm(x, f"{block}.feed_forward_norm"), f"{block}.feed_forward.expand")
        wide = 0.5 * wide * (1 + np.tanh(np.sqrt(2 / np.pi) * (wide + 0.044715 * wide**3)))
        x = x + linear(wide, f"{block}.feed_forward.contract")
    return norm(x, "norm") @ weights["token_embedding.weight"].T


def test_the_model_is_its_definition():
    model = lively("gpt2", nbdl.float64)
    text = tokens(2, 9)
    np.testing.assert_allclose(model(nbdl.from_numpy(text)).detach().numpy(), by_definition(model, text), atol=1e-10)


@configs
def test_the_gradient_is_the_slope_of_the_loss(kind):
    model = lively(kind, nbdl.float64)
    text = nbdl.from_numpy(tokens(2, 7))
    targets = nbdl.from_numpy(tokens(14, seed=1))

    def loss():
        return ops.cross_entropy(model(text).reshape(-1, VOCABULARY), targets)

    loss().backward()
    rng = np.random.default_rng(2)
    for name, parameter in model.named_parameters():
        direction = rng.standard_normal(parameter.shape)
        slope = float((parameter.grad.numpy() * direction).sum())
        start, step = parameter.detach().numpy().copy(), 1e-5
        sides = []
        for sign in (1, -1):
            parameter.detach().numpy()[...] = start + sign * step * direction
            sides.append(loss().item())
        parameter.detach().numpy()[...] = start
        assert slope == pytest.approx((sides[0] - sides[1]) / (2 * step), rel=1e-6, abs=1e-8), name


def test_weights_begin_as_in_gpt2():
    nbdl.manual_seed(0)
    model = models.GPT(models.GPTConfig.preset("tiny"))
    block = model.blocks[0]
    for parameter, deviation in (
        (model.token_embedding.weight, 0.02),
        (model.position_embedding.weight, 0.02),
        (block.attention.qkv.weight, 0.02),
        (block.feed_forward.expand.weight, 0.02),
        (block.attention.projection.weight, 0.02 / 8**0.5),
        (block.feed_forward.contract.weight, 0.02 / 8**0.5),
    ):
        assert parameter.detach().numpy().std() == pytest.approx(deviation, rel=0.05)
    assert not block.attention.qkv.bias.any() and (block.attention_norm.weight == 1).all()
    width, hidden = 128, 512
    one = 4 * width + (width + 1) * 3 * width + (width + 1) * width + (width + 1) * hidden + (hidden + 1) * width
    count = 256 * width + 128 * width + 4 * one + 2 * width
    assert sum(parameter.numel() for parameter in model.parameters()) == count
    assert repr(model) == f"GPT(256 tokens, context 128, 4 layers of 4 heads, 128 wide, {count:,} parameters)"
    assert "2 groups" in repr(models.GPT(CONFIGS["modern"])) and "swiglu" in repr(models.GPT(CONFIGS["modern"]))


def test_queries_keys_and_values_are_views():
    model = lively("modern")
    x = nbdl.randn(2, 5, 24)
    with nbdl.no_grad():
        q, k, v = model.blocks[0].attention.heads(x)
    assert q.shape == (2, 4, 5, 6) and k.shape == v.shape == (2, 2, 5, 6)
    root = q.numpy().base
    assert all(np.shares_memory(part.numpy(), root) for part in (q, k, v))


def test_dropout_is_for_training_only():
    model = models.GPT(CONFIGS["gpt2"].with_changes(dropout=0.5, attention_dropout=0.5))
    text = nbdl.from_numpy(tokens(1, 5))
    assert (model(text) != model(text)).any()
    model.eval()
    assert (model(text) == model(text)).all()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"heads": 5}, "heads: expected a divisor of width, 24, got 5"),
        ({"key_value_heads": 2}, "key_value_heads: expected a divisor of heads, 3, got 2"),
        ({"width": 0}, "width"),
        ({"layers": -1}, "layers"),
        ({"vocabulary": 0}, "vocabulary"),
        ({"dropout": 1.0}, "dropout"),
        ({"positions": "sinusoidal"}, "positions"),
        ({"norm": "batch_norm"}, "norm"),
        ({"feed_forward": "relu"}, "feed_forward"),
        ({"hidden": 0}, "hidden"),
        ({"width": 27, "heads": 3, "positions": "rotary"}, "even"),
    ],
)
def test_configurations_that_are_refused(changes, said):
    with pytest.raises(ArgumentError, match=said):
        CONFIGS["gpt2"].with_changes(**changes)
    with pytest.raises(ArgumentError, match="name"):
        models.GPTConfig.preset("gpt5")
    with pytest.raises(ArgumentTypeError, match="config"):
        models.GPT({"width": 3})


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        (np.zeros((1, CONTEXT + 1), np.int64), ShapeError, "at most 16 places"),
        (np.zeros(3, np.int64), ShapeError, "tokens"),
        (np.zeros((1, 3), np.float32), DTypeError, "tokens"),
        (np.full((1, 3), VOCABULARY), IndexRangeError, str(VOCABULARY)),
        (np.full((1, 3), -1), IndexRangeError, "-1"),
    ],
)
def test_tokens_that_are_refused(text, error, said):
    with pytest.raises(error, match=said):
        models.GPT(CONFIGS["gpt2"])(nbdl.from_numpy(text))


# ---------------------------------------------------------------- the cache


@configs
@pytest.mark.parametrize("pieces", [[16], [5, 11], [1] * 16, [4, 1, 1, 7, 3]])
def test_the_cache_gives_what_the_whole_text_gives(kind, pieces):
    model = lively(kind)
    text = nbdl.from_numpy(tokens(2, CONTEXT))
    with nbdl.no_grad():
        whole = model(text).numpy()
        caches = model.new_caches(2)
        parts = [model(part, caches).numpy() for part in text.split(pieces, 1)]
    np.testing.assert_allclose(np.concatenate(parts, 1), whole, atol=1e-5)
    assert caches[0].position == CONTEXT
    with nbdl.no_grad(), pytest.raises(ShapeError, match="at most 16"):
        model(text[:, :1], caches)


@configs
def test_one_launch_a_block_gives_what_the_whole_text_gives(kind):
    model = lively(kind)
    text = nbdl.from_numpy(tokens(3, CONTEXT))
    with nbdl.no_grad():
        whole = model(text).numpy()
        caches = model.new_caches(3)
        model(text[:, :4], caches)
        decoder = decoding.TokenDecoder(model, caches)
        parts = [model.scores(decoder.features(text[:, place])).numpy() for place in range(4, CONTEXT)]
    np.testing.assert_allclose(np.stack(parts, 1), whole[:, 4:], atol=1e-5)


def test_a_cache_returns_views_of_its_buffers():
    cache = nn.KVCache(2, 3, 8, 4)
    keys, values = nbdl.randn(2, 3, 5, 4), nbdl.randn(2, 3, 5, 4)
    kept = cache.append(keys.transpose(2, 3).contiguous().transpose(2, 3), values)
    assert kept[0].numpy().tobytes() == keys.numpy().tobytes()
    assert np.shares_memory(kept[1].numpy(), cache.values.numpy())
    more = cache.append(keys[:, :, :3], values[:, :, :3])
    assert more[0].shape == (2, 3, 8, 4) and (more[1][:, :, 5:] == values[:, :, :3]).all()
    with pytest.raises(ArgumentError, match="at most 0 more"):
        cache.append(keys, values)
    cache.reset()
    assert repr(cache) == "KVCache(0 of 8 positions, 3 heads of 4, batch 2)"
    for wrong, error in (
        (nbdl.randn(2, 3, 1, 5), ShapeError),
        (nbdl.randn(2, 3, 2, 4), ShapeError),
        (nbdl.randn(2, 3, 1, 4, dtype=nbdl.float64), DTypeError),
    ):
        with pytest.raises(error, match="values"):
            cache.append(keys[:, :, :1], wrong)
    with pytest.raises(GradientError, match="no_grad"):
        cache.append(keys.requires_grad_(), values)
    assert cache.position == 0
    with pytest.raises(ArgumentError, match="length"):
        nn.KVCache(1, 1, 0, 4)


# ---------------------------------------------------------------- choosing


def test_what_is_left_to_choose_from():
    scores = nbdl.tensor([[2.0, 1.0, 1.0, -1.0, 0.0], [0.0, 0.0, 0.0, 5.0, 1.0]])

    def left(**options):
        return [np.flatnonzero(row > -np.inf).tolist() for row in Sampling(**options).filtered(scores).numpy()]

    assert left() == [[0, 1, 2, 3, 4]] * 2
    assert left(top_k=2) == [[0, 1, 2], [3, 4]]  # what is as likely as the last stays too
    assert left(top_k=9) == [[0, 1, 2, 3, 4]] * 2
    assert left(top_p=0.5) == [[0], [3]]
    assert left(top_p=1.0) == [[0, 1, 2, 3, 4]] * 2
    chances = np.exp(scores.numpy()[0]) / np.exp(scores.numpy()[0]).sum()
    assert left(top_p=float(chances[0]) + 0.01)[0] == [0, 2]  # of equal ones, the last in a stable order
    np.testing.assert_allclose(Sampling(temperature=0.5).filtered(scores).numpy(), 2 * scores.numpy())


def test_tokens_come_as_often_as_their_chances_say():
    scores = nbdl.tensor([[1.0, 0.0, -1.0, 2.0]])
    generator = Generator(3)
    sampling = Sampling(temperature=0.8, top_k=3)
    counts = np.bincount([sampling.choose(scores, generator)[0] for _ in range(3000)], minlength=4)
    chances = np.exp(np.array([1.0, 0.0, -np.inf, 2.0]) / 0.8)
    assert counts[2] == 0
    np.testing.assert_allclose(counts / 3000, chances / chances.sum(), atol=0.03)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"temperature": -1}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_k": 0}, "top_k"),
        ({"top_k": 1.5}, "top_k"),
        ({"top_p": 0}, "top_p"),
        ({"top_p": 1.1}, "top_p"),
        ({"seed": -1}, "seed"),
        ({"max_new_tokens": -1}, "max_new_tokens"),
        ({"max_new_tokens": 14}, "max_new_tokens: expected at most 13"),
        ({"prompt": []}, "prompt: expected at least one token"),
        ({"prompt": [[], []]}, "prompt: expected at least one token"),
        ({"prompt": [1] * 17}, "prompt: expected at most 16 tokens"),
        ({"prompt": [[1], [1, 2]]}, "prompt: expected texts of one length"),
        ({"prompt": [0.5]}, "prompt: expected whole numbers"),
        ({"prompt": [VOCABULARY]}, "prompt"),
        ({"stop": "end"}, "tokenizer"),
        ({"stop": 1.5}, "stop"),
        ({"stop": ""}, "stop"),
    ],
)
def test_what_generating_refuses(options, said):
    with pytest.raises(NbdlError, match=said):
        models.GPT(CONFIGS["gpt2"]).generate(**({"prompt": [1, 2, 3], "max_new_tokens": 2} | options))


# ---------------------------------------------------------------- writing


@configs
@pytest.mark.parametrize("options", [{"temperature": 0}, {"top_k": 5}, {"top_p": 0.8, "temperature": 1.3, "seed": 4}])
def test_writing_with_and_without_a_cache(kind, options, monkeypatch):
    options = dict(options)
    model = lively(kind, nbdl.float64).train()
    prompt = tokens(3, 4)
    written = model.generate(prompt, 12, **options).numpy()
    assert written.shape == (3, 16) and (written[:, :4] == prompt).all() and model.training
    assert (written == model.generate(nbdl.from_numpy(prompt), 12, use_cache=False, **options).numpy()).all()
    monkeypatch.setattr(decoding.TokenDecoder, "pays", lambda self: False)
    assert (written == model.generate(prompt, 12, **options).numpy()).all()
    seed = {"seed": options.pop("seed")} if "seed" in options else {}
    assert [row.tolist() for row in model.stream(prompt, 12, Sampling(**options), **seed)] == written[:, 4:].T.tolist()
    if seed:
        assert (written != model.generate(prompt, 12, **options, seed=5).numpy()).any()


def test_the_likeliest_token_is_taken():
    model = lively("gpt2")
    written = model.generate([3, 1], 5, temperature=0).numpy()[0]
    for end in range(2, 7):
        scores = model(nbdl.from_numpy(written[None, :end])).detach().numpy()[0, -1]
        assert written[end] == scores.argmax()
    assert (model.generate([3, 1], 5, top_k=1, seed=8).numpy()[0] == written).all()


def test_writing_ends_at_a_token_or_a_string():
    model = lively("gpt2")
    prompt = tokens(3, 2)
    whole = model.generate(prompt, 14, temperature=0).numpy()
    for place in (4, 9):
        ending = int(whole[1, place])
        first = int(np.flatnonzero(whole[1, 2:] == ending)[0]) + 2
        written = model.generate(prompt, 14, temperature=0, stop=[ending, VOCABULARY + 1]).numpy()
        length = written.shape[1]
        assert (written[1, : min(first + 1, length)] == whole[1, : first + 1]).all()
        assert (written[1, first:] == ending).all()
        alone = model.generate(prompt[1], 14, temperature=0, stop=ending).numpy()
        assert alone.shape == (1, first + 1)
    tokenizer = data.CharacterTokenizer("abcdefghijklmnopqrstuvw")
    text = tokenizer.decode(whole[0])
    written = model.generate(prompt[0], 14, temperature=0, stop=text[7:9], tokenizer=tokenizer)
    end = text.index(text[7:9], 2) + 2
    assert tokenizer.decode(written.numpy()[0]) == text[:end]
    assert not Stop() and Stop(3).ends([1, 3]) and not Stop([3, 4]).ends([4, 1])


def test_a_text_outgrows_the_context():
    model = lively("modern", nbdl.float64)
    prompt = tokens(1, CONTEXT)
    written = model.generate(prompt, 30, temperature=0, slide=True).numpy()
    assert written.shape == (1, CONTEXT + 30)
    assert (written == model.generate(prompt, 30, temperature=0, slide=True, use_cache=False).numpy()).all()
    scores = model(nbdl.from_numpy(written[:, 9 : CONTEXT + 1])).detach().numpy()[0, -1]
    assert written[0, CONTEXT + 1] == scores.argmax()  # the older half was forgotten
    assert model.generate(prompt, 0, slide=True).shape == (1, CONTEXT)


# ---------------------------------------------------------------- windows of a text


def test_windows_of_a_text():
    text = np.arange(50)
    windows = data.TokenWindows(text, 8, 3)
    inputs, targets = windows.take(np.arange(len(windows)))
    assert len(windows) == 14 and inputs[-1, 0] == 39 and targets[-1, -1] == 47
    assert (targets == inputs + 1).all() and (inputs[:, 0] == 3 * np.arange(14)).all()
    assert (windows[4][0] == inputs[4]).all()
    with pytest.raises(data.EmptyDataError, match="tokens"):
        data.TokenWindows(text, 50, 1)
    with pytest.raises(data.DataArgumentError, match="stride"):
        data.judging_windows(text, 5, 4, 5)
    with pytest.raises(data.EmptyDataError, match="tokens"):
        data.judging_windows(text, 50, 4, 2)


@pytest.mark.parametrize(
    ("count", "first", "length", "stride"), [(50, 1, 8, 3), (50, 20, 8, 8), (6, 2, 9, 4), (9, 8, 3, 1)]
)
def test_each_token_is_judged_once_from_what_is_before_it(count, first, length, stride):
    inputs, targets = data.judging_windows(np.arange(count), first, length, stride).arrays
    judged = targets[targets >= 0]
    assert sorted(judged) == list(range(first, count))
    assert (targets[targets >= 0] == inputs[targets >= 0] + 1).all()
    seen = np.broadcast_to(np.arange(inputs.shape[1]) + 1, inputs.shape)[targets >= 0]
    assert (seen >= np.minimum(judged, min(length, count - 1) - stride + 1)).all()


# ---------------------------------------------------------------- the recipe

SMALL = {"width": 8, "heads": 2, "layers": 1, "context": 8, "batch_size": 8, "epochs": 2}


@pytest.fixture
def book(tmp_path):
    path = tmp_path / "book.txt"
    path.write_text("the cat sat on the mat; the dog sat on the log. " * 20)
    return path


class StopAfter(train.Callback):
    def __init__(self, step):
        self.step = step

    def on_batch_end(self, trainer, loss):
        if trainer.step == self.step:
            trainer.save()
            raise KeyboardInterrupt


@pytest.mark.parametrize("architecture", ["gpt2", "modern"])
def test_a_resumed_run_equals_an_uninterrupted_one(book, tmp_path, architecture):
    options = {"name": "gpt-text", "data": str(book), "architecture": architecture, **SMALL}
    whole = train.run_recipe(**options, out=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train.run_recipe(**options, out=tmp_path / "part", callbacks=[StopAfter(20)])
    resumed = train.run_recipe("gpt-text", out=tmp_path / "part", resume=True)
    assert resumed.metrics == whole.metrics
    weights = [(tmp_path / folder / "model.safetensors").read_bytes() for folder in ("whole", "part")]
    assert weights[0] == weights[1]
    assert (tmp_path / "whole" / "sample.txt").read_text() == (tmp_path / "part" / "sample.txt").read_text()


def test_a_run_on_a_text_and_its_samples(book, tmp_path, capsys):
    out = str(tmp_path / "run")
    options = [f"--{name.replace('_', '-')}={value}" for name, value in (SMALL | {"epochs": 6}).items()]
    assert main(["train", "gpt-text", "--data", str(book), "--out", out, "--learning-rate", "0.02", *options]) == 0
    shown = capsys.readouterr().out
    lines = shown.strip().splitlines()
    assert lines[-1].startswith("test_nats_per_character=")
    assert [line.partition("_")[0] for line in lines[-4:-1]] == ["bigram", "trigram", "5gram"]
    assert "under the bigram" in shown
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["test_nats_per_character"] < 1.5

    sample = ["sample", out, "--prompt", "the ", "--length", "40", "--seed", "3", "--top-p", "0.9"]
    written = []
    for _ in range(2):
        assert main(sample) == 0
        written.append(capsys.readouterr().out)
    assert written[0] == written[1] and written[0].startswith("the ") and len(written[0]) == 4 + 40 + 1
    first = written[0][4:].strip("\n")
    assert main([*sample, "--stop", first[5:8]]) == 0
    stopped = capsys.readouterr().out
    assert stopped == "the " + first[: first.index(first[5:8]) + 3] + "\n"
    model, tokenizer = load_language_model(out)
    assert isinstance(model, models.GPT) and not model.training
    pieces = "".join(continuation(model, tokenizer, "the ", 40, 0.7, top_p=0.9, seed=3))
    assert pieces == first
    for wrong, code, said in ((["--top-p", "0"], 2, "--top-p"), (["--prompt", "Ω"], 1, "characters among")):
        assert main([*sample, *wrong]) == code
        assert said in capsys.readouterr().err
    assert main(["train", "gpt-text", "--data", str(book), "--heads", "3", "--out", out]) == 1
    assert "heads: expected a divisor of width" in capsys.readouterr().err
