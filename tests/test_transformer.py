"""Attention in several heads, the Transformer's layers, positions, and the model that writes token by token."""

import copy

import numpy as np
import pytest

import nbdl
from nbdl import models, nn, ops
from nbdl.runtime.errors import (
    ArgumentError,
    ArgumentTypeError,
    DTypeError,
    GradientError,
    IndexRangeError,
    ShapeError,
)
from nbdl.testing import gradcheck


@pytest.fixture(autouse=True)
def one_thread():
    """Networks this small gain nothing from more, and lose much where other programs run."""
    threads = nbdl.get_num_threads()
    nbdl.set_num_threads(1)
    nbdl.manual_seed(0)
    yield
    nbdl.set_num_threads(threads)


def draw(*shape, seed=0):
    return nbdl.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def array(tensor):
    return np.asarray(tensor.detach())


CAUSAL = np.triu(np.ones((5, 5), bool), 1)

# ---------------------------------------------------------------- attention


def attention_reference(module, query, key, value, hidden):
    """The definition, head by head and batch first, with a boolean mask [L, S] of what is hidden."""
    size, heads = module.embed_dim, module.num_heads
    weight, bias = array(module.in_proj_weight), array(module.in_proj_bias)
    q, k, v = (
        x @ weight[i * size : (i + 1) * size].T + bias[i * size : (i + 1) * size]
        for i, x in enumerate((query, key, value))
    )
    results, weights = [], []
    for head in range(heads):
        part = slice(head * size // heads, (head + 1) * size // heads)
        scores = q[..., part] @ np.swapaxes(k[..., part], -1, -2) / np.sqrt(size / heads)
        scores = np.where(hidden, -np.inf, scores)
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        shares /= shares.sum(-1, keepdims=True)
        weights.append(shares)
        results.append(shares @ v[..., part])
    y = np.concatenate(results, -1) @ array(module.out_proj.weight).T + array(module.out_proj.bias)
    return y, np.mean(weights, 0)


@pytest.mark.parametrize("need_weights", [True, False])
def test_attention_is_its_definition(need_weights):
    module = nn.MultiheadAttention(6, 3, batch_first=True).double()
    nn.init.normal_(module.in_proj_bias)
    query, key, value = draw(2, 4, 6), draw(2, 5, 6, seed=1), draw(2, 5, 6, seed=2)
    hidden = np.zeros((4, 5), bool)
    hidden[1, 2:] = hidden[3, 0] = True
    y, weights = module(query, key, value, attn_mask=nbdl.from_numpy(hidden), need_weights=need_weights)
    wanted, shares = attention_reference(module, array(query), array(key), array(value), hidden)
    np.testing.assert_allclose(array(y), wanted, atol=1e-12)
    if need_weights:
        np.testing.assert_allclose(array(weights), shares, atol=1e-12)
    else:
        assert weights is None


@pytest.mark.parametrize("chosen", [{}, {"add_bias_kv": True, "add_zero_attn": True}, {"kdim": 3, "vdim": 2}])
@pytest.mark.parametrize("batch_first", [False, True])
def test_gradients_of_attention(chosen, batch_first):
    module = nn.MultiheadAttention(4, 2, batch_first=batch_first, **chosen).double()
    x, source, values = draw(3, 3, 4), draw(3, 3, chosen.get("kdim", 4), seed=1), draw(3, 3, chosen.get("vdim", 4))
    mask = nbdl.from_numpy(np.where(CAUSAL[:3, :3], -np.inf, 0.5))
    padding = nbdl.from_numpy(np.array([[False] * 3, [False, False, True], [False] * 3]))
    parameters = list(module.parameters())
    for need_weights in (True, False):
        gradcheck(
            lambda q, k, v, w=need_weights: module(q, k, v, padding, w, mask)[0],
            [x.clone().requires_grad_(), source.clone().requires_grad_(), values.clone().requires_grad_()],
            parameters=parameters,
        )
        if not chosen:
            gradcheck(lambda x, w=need_weights: module(x, x, x, padding, w)[0], [x.clone().requires_grad_()])


def test_both_ways_to_attend_agree_on_every_mask():
    module = nn.MultiheadAttention(8, 4, add_bias_kv=True, add_zero_attn=True).double()
    x = draw(5, 3, 8)
    padding = np.zeros((3, 5), bool)
    padding[0, 3:] = padding[2, 1] = True
    for mask in (None, CAUSAL, np.broadcast_to(CAUSAL, (12, 5, 5)).copy()):
        for own in (None, padding):
            results = []
            for as_numbers in (False, True):
                given = [
                    None if m is None else nbdl.from_numpy(np.where(m, -np.inf, 0.0) if as_numbers else m)
                    for m in (own, mask)
                ]
                for need_weights in (True, False):
                    results.append(array(module(x, x, x, given[0], need_weights, given[1])[0]))
            for result in results[1:]:
                np.testing.assert_allclose(result, results[0], atol=1e-12)


def test_added_keys_come_last_and_no_mask_hides_them():
    module = nn.MultiheadAttention(4, 1, add_bias_kv=True, add_zero_attn=True).double()
    x, hidden = draw(3, 2, 4), nbdl.ones(3, 3, dtype=nbdl.bool)
    y, weights = module(x, x, x, attn_mask=hidden)
    queries = array(x) @ array(module.in_proj_weight)[:4].T
    share = 1 / (1 + np.exp(-queries @ array(module.bias_k)[0, 0] / 2))  # of the learned key; the rest is of zeros
    wanted = np.stack([np.zeros_like(share)] * 3 + [share, 1 - share], -1).swapaxes(0, 1)
    np.testing.assert_allclose(array(weights), wanted, atol=1e-12)
    value = share[..., None] * array(module.bias_v)
    np.testing.assert_allclose(array(y), value @ array(module.out_proj.weight).T, atol=1e-12)


def test_a_hint_reads_no_mask_and_says_the_same():
    module = nn.MultiheadAttention(8, 2).double()
    x, mask = draw(5, 3, 8), nn.Transformer.generate_square_subsequent_mask(5, dtype=np.float64)
    hinted, _ = module(x, x, x, attn_mask=mask, need_weights=False, is_causal=True)
    np.testing.assert_allclose(array(hinted), array(module(x, x, x, attn_mask=mask)[0]), atol=1e-12)
    padding = nbdl.from_numpy(np.array([[False] * 5, [True] + [False] * 4, [False] * 4 + [True]]))
    padded, _ = module(x, x, x, padding, attn_mask=mask, need_weights=False, is_causal=True)
    np.testing.assert_allclose(array(padded)[1:], array(module(x, x, x, padding, attn_mask=mask)[0])[1:], atol=1e-12)
    wrong = nbdl.zeros(5, 5, dtype=np.float64)  # a hint that lies is believed, as in PyTorch
    assert np.array_equal(array(module(x, x, x, attn_mask=wrong, need_weights=False, is_causal=True)[0]), array(hinted))


def test_one_sequence_is_a_batch_of_one():
    for batch_first in (False, True):
        module = nn.MultiheadAttention(6, 2, batch_first=batch_first).double()
        x, source = draw(4, 6), draw(3, 6, seed=1)
        axis = 0 if batch_first else 1
        for need_weights in (True, False):
            alone, weights = module(x, source, source, need_weights=need_weights)
            together, all_weights = module(*(ops.unsqueeze(t, axis) for t in (x, source, source)), None, need_weights)
            assert alone.shape == (4, 6) and together.shape == ((1, 4, 6) if batch_first else (4, 1, 6))
            assert np.array_equal(array(alone), array(ops.squeeze(together, axis)))
            assert weights is None or np.array_equal(array(weights), array(all_weights)[0])


def test_how_attention_begins():
    module = nn.MultiheadAttention(64, 4, add_bias_kv=True)
    bound = np.sqrt(6 / (64 + 3 * 64))
    weight = array(module.in_proj_weight)
    assert 0.95 * bound < np.abs(weight).max() <= bound
    assert not array(module.in_proj_bias).any() and not array(module.out_proj.bias).any()
    assert np.abs(array(module.out_proj.weight)).max() <= 1 / 8
    assert array(module.bias_k).std() == pytest.approx(np.sqrt(2 / 128), rel=0.4)
    names = ["in_proj_weight", "in_proj_bias", "bias_k", "bias_v", "out_proj.weight", "out_proj.bias"]
    assert sorted(module.state_dict()) == sorted(names)
    apart = nn.MultiheadAttention(4, 2, bias=False, kdim=3)
    assert {name: tuple(value.shape) for name, value in apart.state_dict().items()} == {
        "q_proj_weight": (4, 4),
        "k_proj_weight": (4, 3),
        "v_proj_weight": (4, 4),
        "out_proj.weight": (4, 4),
    }


def test_attention_drops_weights_in_training_only():
    module = nn.MultiheadAttention(4, 2, dropout=1.0).double()
    x = draw(3, 2, 4)
    for need_weights in (True, False):
        y, weights = module.train()(x, x, x, need_weights=need_weights)
        assert not array(y).any()
        assert weights is None or not array(weights).any()
        assert array(module.eval()(x, x, x, need_weights=need_weights)[0]).all()


X = nbdl.zeros(3, 2, 4)
MASK = nbdl.zeros(3, 3, dtype=nbdl.bool)


@pytest.mark.parametrize(
    ("error", "said", "call"),
    [
        (ArgumentError, "num_heads", lambda: nn.MultiheadAttention(4, 3)),
        (ArgumentError, "num_heads", lambda: nn.MultiheadAttention(4, 0)),
        (ArgumentError, "embed_dim", lambda: nn.MultiheadAttention(0, 1)),
        (ArgumentError, "dropout", lambda: nn.MultiheadAttention(4, 2, dropout=1.5)),
        (ArgumentError, "kdim", lambda: nn.MultiheadAttention(4, 2, kdim=0)),
        (ShapeError, "query", lambda: nn.MultiheadAttention(4, 2)(X[0, 0], X, X)),
        (ShapeError, "query", lambda: nn.MultiheadAttention(6, 2)(X, X, X)),
        (ShapeError, "key", lambda: nn.MultiheadAttention(4, 2)(X, X[0], X)),
        (ShapeError, "key", lambda: nn.MultiheadAttention(4, 2)(X, X[:, :1], X[:, :1])),
        (ShapeError, "key", lambda: nn.MultiheadAttention(4, 2, kdim=3)(X, X, X)),
        (ShapeError, "value", lambda: nn.MultiheadAttention(4, 2)(X, X, X[:2])),
        (DTypeError, "query", lambda: nn.MultiheadAttention(4, 2)(X.double(), X, X)),
        (DTypeError, "value", lambda: nn.MultiheadAttention(4, 2)(X, X, X.double())),
        (DTypeError, "key", lambda: nn.MultiheadAttention(4, 2)(X, X.long(), X)),
        (ShapeError, "attn_mask", lambda: nn.MultiheadAttention(4, 2)(X, X, X, attn_mask=MASK[:2])),
        (ShapeError, "attn_mask", lambda: nn.MultiheadAttention(4, 2)(X, X, X, attn_mask=MASK[None])),
        (DTypeError, "attn_mask", lambda: nn.MultiheadAttention(4, 2)(X, X, X, attn_mask=MASK.long())),
        (DTypeError, "attn_mask", lambda: nn.MultiheadAttention(4, 2)(X, X, X, attn_mask=MASK.double())),
        (ArgumentTypeError, "attn_mask", lambda: nn.MultiheadAttention(4, 2)(X, X, X, attn_mask=CAUSAL)),
        (ShapeError, "key_padding_mask", lambda: nn.MultiheadAttention(4, 2)(X, X, X, MASK)),
        (DTypeError, "key_padding_mask", lambda: nn.MultiheadAttention(4, 2)(X, X, X, MASK[:2].int())),
        (ArgumentError, "attn_mask", lambda: nn.MultiheadAttention(4, 2)(X, X, X, is_causal=True)),
    ],
)
def test_what_attention_refuses(error, said, call):
    with pytest.raises(error, match=said):
        call()


# ---------------------------------------------------------------- layers and stacks


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_gradients_of_layers(norm_first, activation):
    chosen = {"dropout": 0.0, "activation": activation, "norm_first": norm_first, "batch_first": True}
    encoder = nn.TransformerEncoderLayer(4, 2, 3, **chosen).double()
    decoder = nn.TransformerDecoderLayer(4, 2, 3, **chosen).double()
    x, memory = draw(2, 3, 4), draw(2, 2, 4, seed=1)
    mask = nbdl.from_numpy(CAUSAL[:3, :3])
    gradcheck(
        lambda x: encoder(x, mask, is_causal=True), [x.clone().requires_grad_()], parameters=list(encoder.parameters())
    )
    gradcheck(
        lambda x, m: decoder(x, m, mask),
        [x.clone().requires_grad_(), memory.requires_grad_()],
        parameters=list(decoder.parameters()),
    )


@pytest.mark.parametrize("norm_first", [False, True])
def test_layers_are_their_parts(norm_first):
    """Attention to oneself, in the decoder to the memory, then two linear maps; each added, with its norm."""
    encoder = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, norm_first=norm_first).double()
    decoder = nn.TransformerDecoderLayer(8, 2, 16, dropout=0.0, norm_first=norm_first).double()
    source, memory = draw(5, 3, 8), draw(4, 3, 8, seed=1)
    for layer in (encoder, decoder):
        sublayers = [lambda x, layer=layer: layer.self_attn(x, x, x)[0]]
        if layer is decoder:
            sublayers.append(lambda x: decoder.multihead_attn(x, memory, memory)[0])
        sublayers.append(lambda x, layer=layer: layer.linear2(ops.relu(layer.linear1(x))))
        x = source
        for number, sublayer in enumerate(sublayers, 1):
            norm = getattr(layer, f"norm{number}")
            nn.init.normal_(norm.weight)
            x = x + sublayer(norm(x)) if norm_first else norm(x + sublayer(x))
        y = layer(source, memory) if layer is decoder else layer(source)
        np.testing.assert_allclose(array(y), array(x), atol=1e-12)


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_fusing_changes_nothing(activation):
    """A hook looks at what lies between the linear map and its activation: then they run apart."""
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, activation=activation).double()
    x = draw(5, 3, 8)
    together = array(layer(x))
    seen = []
    layer.linear1.register_forward_hook(lambda module, args, output: seen.append(output.shape))
    np.testing.assert_allclose(array(layer(x)), together, atol=1e-13)
    assert seen == [(5, 3, 16)]


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("as_numbers", [False, True])
def test_a_later_position_changes_nothing_before_it(norm_first, as_numbers):
    """To the bit, in the encoder with a causal mask, found out or said, and in the decoder."""
    layer = nn.TransformerEncoderLayer(8, 2, 16, 0.0, norm_first=norm_first, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 2, nn.LayerNorm(8))
    decoder = nn.TransformerDecoder(
        nn.TransformerDecoderLayer(8, 2, 16, 0.0, norm_first=norm_first, batch_first=True), 2
    )
    x, memory = draw(2, 5, 8).float(), draw(2, 4, 8, seed=1).float()
    changed = x.clone()
    changed[:, 3] = 7.0
    mask = nn.Transformer.generate_square_subsequent_mask(5) if as_numbers else nbdl.from_numpy(CAUSAL)
    for hint in (None, True, False):
        calls = (
            lambda t, hint=hint: encoder(t, mask, is_causal=hint),
            lambda t, hint=hint: decoder(t, memory, mask, tgt_is_causal=hint),
        )
        for call in calls:
            before, after = array(call(x)), array(call(changed))
            assert np.array_equal(before[:, :3], after[:, :3])
            assert not np.isclose(before[:, 3:], after[:, 3:]).all(-1).any()


def test_the_causal_mask():
    make_mask = nn.Transformer.generate_square_subsequent_mask
    for dtype in (np.float32, np.float64):
        mask = make_mask(5, dtype=dtype)
        assert mask.dtype == dtype and np.array_equal(array(mask), np.where(CAUSAL, -np.inf, 0))
    assert np.array_equal(array(make_mask(5, dtype=np.bool_)), CAUSAL) and make_mask(0).shape == (0, 0)


def test_padding_changes_nothing():
    model = nn.Transformer(8, 2, 2, 2, 16, 0.0, batch_first=True).double()
    source, target = draw(2, 5, 8), draw(2, 4, 8, seed=1)
    hidden = nbdl.from_numpy(np.array([[False] * 5, [False] * 3 + [True] * 2]))
    other = source.clone()
    other[1, 3:] = 9.0
    masks = {"src_key_padding_mask": hidden, "memory_key_padding_mask": hidden}
    assert np.array_equal(array(model(source, target, **masks)), array(model(other, target, **masks)))
    short = array(model(source[1:, :3], target[1:]))
    np.testing.assert_allclose(array(model(source, target, **masks))[1:], short, atol=1e-12)


def test_copies_begin_alike_and_learn_apart():
    layer = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0)
    stack = nn.TransformerEncoder(layer, 2)
    first, second = (dict(module.named_parameters()) for module in stack.layers)
    assert all(np.array_equal(array(first[name]), array(second[name])) for name in first)
    stack(nbdl.ones(3, 1, 4)).sum().backward()
    assert all(first[name] is not second[name] for name in first)
    assert layer.linear1.weight.grad is None
    assert str(stack).startswith(
        "TransformerEncoder(\n  (layers): ModuleList(\n    (0-1): 2 x TransformerEncoderLayer("
    )


def test_how_a_transformer_begins():
    model = nn.Transformer(16, 4, 1, 1, 32)
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1:
            rows, columns = parameter.shape
            assert np.abs(array(parameter)).max() <= np.sqrt(6 / (rows + columns)), name
    assert isinstance(model.encoder.norm, nn.LayerNorm) and isinstance(model.decoder.norm, nn.LayerNorm)
    custom = nn.Transformer(16, 4, custom_encoder=nn.Identity(), num_decoder_layers=1, dim_feedforward=8)
    assert isinstance(custom.encoder, nn.Identity)
    assert copy.deepcopy(model)(nbdl.ones(2, 1, 16), nbdl.ones(3, 1, 16)).shape == (3, 1, 16)


@pytest.mark.parametrize("activation", [ops.tanh, nn.Tanh(), nn.GELU("tanh"), lambda x: x * x])
def test_any_activation(activation):
    layer = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, activation=activation).double()
    x = draw(3, 2, 4)
    wide = activation(layer.linear1(x))
    np.testing.assert_allclose(array(layer._feed_forward(x)), array(layer.linear2(wide)), atol=1e-13)


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
def test_step_by_step_is_the_whole(norm_first, batch_first):
    layer = nn.TransformerDecoderLayer(8, 2, 16, norm_first=norm_first, batch_first=batch_first)
    decoder = nn.TransformerDecoder(layer, 2, nn.LayerNorm(8)).double().eval()
    x, memory = draw(3, 5, 8), draw(3, 4, 8, seed=1)
    hidden = nbdl.from_numpy(np.array([[False] * 4, [False, True, False, True], [True] + [False] * 3]))
    if not batch_first:
        x, memory = x.transpose(0, 1), memory.transpose(0, 1)
    with nbdl.no_grad():
        mask = nbdl.from_numpy(CAUSAL)
        whole = array(decoder(x, memory, mask, memory_key_padding_mask=hidden))
        states = decoder.start(memory, 5, hidden)
        axis = 1 if batch_first else 0
        steps = [array(decoder.step(x.narrow(axis, t, 1), states)) for t in range(5)]
        np.testing.assert_allclose(np.concatenate(steps, axis), whole, atol=1e-12)
        with pytest.raises(ArgumentError, match="at most 0 more"):
            decoder.step(x.narrow(axis, 0, 1), states)
    with pytest.raises(GradientError):
        decoder.step(x.narrow(axis, 0, 1), decoder.start(memory, 5))


@pytest.mark.parametrize(
    ("error", "said", "call"),
    [
        (ArgumentError, "num_heads", lambda: nn.TransformerEncoderLayer(4, 3)),
        (ArgumentError, "activation", lambda: nn.TransformerDecoderLayer(4, 2, activation="tanh")),
        (ArgumentTypeError, "activation", lambda: nn.TransformerDecoderLayer(4, 2, activation=3)),
        (ArgumentError, "num_layers", lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2), 0)),
        (ArgumentError, "num_layers", lambda: nn.Transformer(4, 2, 1, -1)),
        (ShapeError, "src", lambda: nn.Transformer(6, 2, 1, 1, 8)(X, X)),
        (ShapeError, "tgt", lambda: nn.Transformer(4, 2, 1, 1, 8)(X, X[:, :1])),
        (ShapeError, "tgt", lambda: nn.Transformer(4, 2, 1, 1, 8)(X, X[0])),
        (ShapeError, "attn_mask", lambda: nn.Transformer(4, 2, 1, 1, 8)(X, X, tgt_mask=MASK[:2])),
        (ArgumentError, "sz", lambda: nn.Transformer.generate_square_subsequent_mask(-1)),
    ],
)
def test_what_layers_refuse(error, said, call):
    with pytest.raises(error, match=said):
        call()


# ---------------------------------------------------------------- positions, SwiGLU


@pytest.mark.parametrize("size", [1, 6, 7])
def test_sinusoidal_positions(size):
    positions = nn.SinusoidalPositions(size, 9, base=100.0, dtype=np.float64)
    t, i = np.arange(9)[:, None], np.arange(size)
    angles = t / 100.0 ** ((i - i % 2) / size)
    np.testing.assert_allclose(array(positions.table), np.where(i % 2, np.cos(angles), np.sin(angles)), atol=1e-12)
    x = draw(2, 4, size)
    np.testing.assert_allclose(array(positions(x, start=3)), array(x) + array(positions.table)[3:7], atol=1e-12)
    assert not positions.state_dict() and str(positions) == f"SinusoidalPositions({size}, max_length=9)"


def test_learned_positions():
    positions = nn.LearnedPositions(4, 6).double()
    x = draw(2, 3, 4).requires_grad_()
    gradcheck(lambda x: positions(x, 2), [x], parameters=list(positions.parameters()))
    for start in (0, 2):
        wanted = array(x) + array(positions.weight)[start : start + 3]
        np.testing.assert_allclose(array(positions(x, start)), wanted, atol=1e-12)
    assert list(positions.state_dict()) == ["weight"]
    assert array(nn.LearnedPositions(100, 100, std=0.5).weight).std() == pytest.approx(0.5, rel=0.05)


@pytest.mark.parametrize("interleaved", [False, True])
def test_rotary_positions_see_distances_only(interleaved):
    rotate = nn.RotaryPositions(6, 100, interleaved=interleaved)
    query, key = draw(2, 3, 1, 6), draw(2, 3, 1, 6, seed=1)

    def score(s, t):
        return array((rotate(query, s) * rotate(key, t)).sum(-1))

    np.testing.assert_allclose(score(9, 4), score(75, 70), atol=1e-12)
    assert not np.allclose(score(9, 4), score(9, 5))
    np.testing.assert_allclose(array(rotate(query)), array(query), atol=1e-12)


@pytest.mark.parametrize("kind", [nn.SinusoidalPositions, nn.LearnedPositions, nn.RotaryPositions])
def test_what_positions_refuse(kind):
    positions = kind(4, 8)
    assert positions(nbdl.zeros(2, 8, 4)).shape == positions(nbdl.zeros(2, 3, 4), 5).shape[:1] + (8, 4)
    for x, start in ((nbdl.zeros(2, 9, 4), 0), (nbdl.zeros(2, 3, 4), 6), (nbdl.zeros(1, 4), 9)):
        with pytest.raises(ShapeError, match=r"x: expected at most \d+ positions from"):
            positions(x, start)
    with pytest.raises(ShapeError, match=r"\[\*, T, 4\]"):
        positions(nbdl.zeros(2, 3, 6))
    with pytest.raises(ArgumentError, match="start"):
        positions(nbdl.zeros(2, 3, 4), -1)
    with pytest.raises(ArgumentError, match="max_length"):
        kind(4, 0)
    with pytest.raises(ArgumentError, match="embedding_dim"):
        nn.RotaryPositions(5, 8)


@pytest.mark.parametrize("bias", [False, True])
def test_swiglu(bias):
    module = nn.SwiGLU(3, 4, bias).double()
    x = draw(2, 3)
    gate, up = array(module.gate(x)), array(module.up(x))
    wanted = array(module.down(nbdl.from_numpy(gate / (1 + np.exp(-gate)) * up)))
    np.testing.assert_allclose(array(module(x)), wanted, atol=1e-12)
    gradcheck(module, [x.requires_grad_()], parameters=list(module.parameters()))
    assert [name for name, _ in module.named_parameters()][:1] == ["gate.weight"]
    with pytest.raises(ArgumentError, match="hidden_features"):
        nn.SwiGLU(3, 0)


# ---------------------------------------------------------------- from tokens to tokens


def make(**chosen):
    return models.Seq2SeqTransformer(20, 12, 16, 4, 2, max_length=9, **chosen)


@pytest.mark.parametrize(
    "chosen", [{}, {"padding": 0, "positions": "learned", "tied": True, "norm_first": True, "activation": "gelu"}]
)
def test_what_is_written_is_the_likeliest(chosen):
    """The cached decoder against the whole forward pass, token by token."""
    model = make(**chosen, dropout=0.3)
    sources = np.random.default_rng(0).integers(1, 20, (6, 7))
    sources[2:, 4:] = 0
    if chosen:
        for layer in model.transformer.decoder.layers:  # the source, and its padding, shall matter more
            layer.multihead_attn.out_proj.weight._array *= 30
    written = model.write(nbdl.from_numpy(sources), begin=1, end=2)
    assert model.training and written.dtype == np.int64 and written.shape[1] <= 9
    model.eval()
    seen, done = np.ones((6, 1), np.int64), np.zeros(6, bool)
    for column in written.T:
        likeliest = array(model(nbdl.from_numpy(sources), nbdl.from_numpy(seen)))[:, -1].argmax(-1)
        assert np.array_equal(column, np.where(done, 2, likeliest))
        done |= column == 2
        seen = np.concatenate([seen, column[:, None]], 1)


def test_writing_ends():
    model = make()
    nn.init.zeros_(model.output.weight)
    model.output.bias._array[:] = 0
    model.output.bias._array[5] = 1
    source = nbdl.tensor([[3, 4], [5, 6]])
    assert model.write(source, begin=1, end=5).tolist() == [[5], [5]]
    assert model.write(source, begin=1, end=2, length=3).tolist() == [[5] * 3] * 2
    assert model.write(source[:0], begin=1, end=2).shape == (0, 0)


def test_scores_depend_on_the_past_alone():
    model = make().eval()
    source, target = nbdl.tensor([[3, 4, 5]]), nbdl.tensor([[1, 4, 5, 6]])
    scores = array(model(source, target))
    target[0, 2] = 9
    assert np.array_equal(array(model(source, target))[:, :2], scores[:, :2])
    assert not np.allclose(array(model(source, target))[:, 2], scores[:, 2])


def test_padding_of_a_source_is_not_looked_at():
    model = make(padding=0).eval().double()
    short, padded = nbdl.tensor([[3, 4, 5]]), nbdl.tensor([[3, 4, 5, 0, 0]])
    target = nbdl.tensor([[1, 4]])
    np.testing.assert_allclose(array(model(short, target)), array(model(padded, target)), atol=1e-12)


def test_a_model_says_what_it_is():
    model = make(tied=True)
    assert model.output.weight is model.target_embedding.weight
    count = sum(parameter.numel() for parameter in model.parameters())
    assert str(model) == f"Seq2SeqTransformer(20 to 12 tokens, 2 + 2 layers of 16, 4 heads, {count:,} parameters)"
    assert array(models.Seq2SeqTransformer(500, 5, 64).source_embedding.weight).std() == pytest.approx(1 / 8, rel=0.05)


SOURCE, TARGET = nbdl.tensor([[1, 2]]), nbdl.tensor([[1]])


@pytest.mark.parametrize(
    ("error", "said", "call"),
    [
        (ArgumentError, "source_vocabulary", lambda: models.Seq2SeqTransformer(0, 5)),
        (ArgumentError, "num_heads", lambda: models.Seq2SeqTransformer(5, 5, 10, 4)),
        (ArgumentError, "positions", lambda: make(positions="rotary")),
        (ArgumentError, "activation", lambda: make(activation="tanh")),
        (ArgumentError, "dropout", lambda: make(dropout=1.0)),
        (ArgumentError, "padding", lambda: make(padding=20)),
        (ShapeError, "positions", lambda: make()(nbdl.zeros(1, 10, dtype=np.int64), TARGET)),
        (ShapeError, "source", lambda: make()(SOURCE[0], TARGET)),
        (DTypeError, "target", lambda: make()(SOURCE, TARGET.float())),
        (IndexRangeError, "19", lambda: make()(SOURCE + 19, TARGET)),
        (ArgumentError, "begin", lambda: make().write(SOURCE, 12, 2)),
        (ArgumentError, "length", lambda: make().write(SOURCE, 1, 2, 10)),
    ],
)
def test_what_the_model_refuses(error, said, call):
    with pytest.raises(error, match=said):
        call()
