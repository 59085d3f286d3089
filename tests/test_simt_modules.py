"""Every module of nbdl.nn in the CUDA interpreter, forward and backward, at odd shapes.

Warps and lanes run in a shuffled order and every access goes into the race log. Outputs and gradients equal the CPU's.
"""

import numpy as np
import pytest

import nbdl
from nbdl import nn
from nbdl.autograd import Tensor
from nbdl.testing import simt

pytestmark = pytest.mark.simt


def floats(*shape):
    return np.random.default_rng(len(shape)).uniform(0.1, 0.9, shape).astype(np.float32)


def ids(*shape, below):
    return np.random.default_rng(1).integers(0, below, shape)


ROWS, IMAGE, VOLUME = floats(3, 5), floats(1, 3, 5, 7), floats(1, 2, 3, 5, 3)
LINE = floats(2, 3, 7)
SEQUENCE = floats(3, 2, 5)  # T, N, D

ACTIVATIONS = (
    nn.CELU, nn.ELU, nn.GELU, nn.Hardshrink, nn.Hardsigmoid, nn.Hardswish, nn.Hardtanh, nn.LeakyReLU, nn.LogSigmoid,
    nn.Mish, nn.ReLU, nn.ReLU6, nn.RReLU, nn.SELU, nn.SiLU, nn.Sigmoid, nn.Softplus, nn.Softshrink, nn.Softsign,
    nn.Tanh, nn.Tanhshrink, nn.Identity, nn.Flatten, nn.Dropout, nn.AlphaDropout,
)  # fmt: skip

LOSSES = (
    nn.BCELoss, nn.BCEWithLogitsLoss, nn.HuberLoss, nn.KLDivLoss, nn.L1Loss, nn.MSELoss, nn.PoissonNLLLoss,
    nn.SmoothL1Loss, nn.MultiLabelSoftMarginLoss,
)  # fmt: skip

MODULES = {
    **{module.__name__: (module, ROWS - 0.5) for module in ACTIVATIONS},
    **{module.__name__: (module, ROWS, floats(3, 5).round()) for module in LOSSES},
    **{f"{name}1d": (lambda name=name: getattr(nn, f"{name}1d")(2), LINE) for name in ("AvgPool", "MaxPool")},
    **{f"{name}2d": (lambda name=name: getattr(nn, f"{name}2d")(2), IMAGE) for name in ("AvgPool", "MaxPool")},
    **{
        f"Adaptive{kind}Pool1d": (lambda kind=kind: getattr(nn, f"Adaptive{kind}Pool1d")(3), LINE)
        for kind in ("Avg", "Max")
    },
    **{
        f"Adaptive{kind}Pool2d": (lambda kind=kind: getattr(nn, f"Adaptive{kind}Pool2d")(3), IMAGE)
        for kind in ("Avg", "Max")
    },
    **{
        f"{kind}Pad{count}d": (
            lambda kind=kind, count=count: getattr(nn, f"{kind}Pad{count}d")(
                *((1, 0.5) if kind == "Constant" else (1,))
            ),
            x,
        )
        for kind in ("Circular", "Constant", "Reflection", "Replication", "Zero")
        for count, x in ((1, LINE), (2, IMAGE), (3, VOLUME))
    },
    **{
        f"BatchNorm{count}d": (lambda count=count, c=x.shape[1]: getattr(nn, f"BatchNorm{count}d")(c), x)
        for count, x in ((1, LINE), (2, IMAGE), (3, VOLUME))
    },
    **{
        f"InstanceNorm{count}d": (
            lambda count=count, c=x.shape[1]: getattr(nn, f"InstanceNorm{count}d")(c, affine=True),
            x,
        )
        for count, x in ((1, LINE), (2, IMAGE), (3, VOLUME))
    },
    **{f"Dropout{count}d": (getattr(nn, f"Dropout{count}d"), x) for count, x in ((1, LINE), (2, IMAGE), (3, VOLUME))},
    "Bilinear": (lambda: nn.Bilinear(5, 3, 2), ROWS, floats(3, 3)),
    "CTCLoss": (nn.CTCLoss, np.log(floats(5, 2, 4)), ids(2, 2, below=3) + 1, np.array([5, 4]), np.array([2, 1])),
    "ChannelShuffle": (lambda: nn.ChannelShuffle(3), IMAGE),
    "Conv1d": (lambda: nn.Conv1d(3, 5, 3, padding=1), LINE),
    "Conv2d": (lambda: nn.Conv2d(3, 5, 3, stride=2, padding=1), IMAGE),
    "ConvTranspose1d": (lambda: nn.ConvTranspose1d(3, 2, 3, stride=2), LINE),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(3, 2, 3, stride=2), IMAGE),
    "CosineEmbeddingLoss": (nn.CosineEmbeddingLoss, ROWS, floats(3, 5), np.float32([1, -1, 1])),
    "CosineSimilarity": (nn.CosineSimilarity, ROWS, floats(3, 5)),
    "CrossEntropyLoss": (nn.CrossEntropyLoss, ROWS, ids(3, below=5)),
    "Embedding": (lambda: nn.Embedding(7, 3), ids(2, 5, below=7)),
    "EmbeddingBag": (lambda: nn.EmbeddingBag(7, 3), ids(2, 5, below=7)),
    "FeatureAlphaDropout": (nn.FeatureAlphaDropout, IMAGE),
    "Fold": (lambda: nn.Fold((3, 5), 2), floats(1, 8, 8)),
    "GLU": (nn.GLU, floats(3, 6)),
    "GRU": (lambda: nn.GRU(5, 3, bidirectional=True), SEQUENCE),
    "GRUCell": (lambda: nn.GRUCell(5, 3), ROWS),
    "GaussianNLLLoss": (nn.GaussianNLLLoss, ROWS, floats(3, 5), floats(3, 5) + 0.5),
    "GroupNorm": (lambda: nn.GroupNorm(3, 3), IMAGE),
    "HingeEmbeddingLoss": (nn.HingeEmbeddingLoss, ROWS, 2 * floats(3, 5).round() - 1),
    "LPPool1d": (lambda: nn.LPPool1d(2, 2), LINE),
    "LPPool2d": (lambda: nn.LPPool2d(2, 2), IMAGE),
    "LSTM": (lambda: nn.LSTM(5, 3, num_layers=2, proj_size=2), SEQUENCE),
    "LSTMCell": (lambda: nn.LSTMCell(5, 3), ROWS),
    "LayerNorm": (lambda: nn.LayerNorm(5), ROWS),
    "LearnedPositions": (lambda: nn.LearnedPositions(5, 9), floats(2, 3, 5)),
    "Linear": (lambda: nn.Linear(5, 7), ROWS),
    "LocalResponseNorm": (lambda: nn.LocalResponseNorm(2), IMAGE),
    "LogSoftmax": (lambda: nn.LogSoftmax(1), ROWS),
    "MarginRankingLoss": (nn.MarginRankingLoss, ROWS, floats(3, 5) + 0.1, 2 * floats(3, 5).round() - 1),
    "MultiLabelMarginLoss": (nn.MultiLabelMarginLoss, ROWS, np.array([[1, 2, -1, 0, 0]] * 3)),
    "MultiMarginLoss": (nn.MultiMarginLoss, ROWS, ids(3, below=5)),
    "MultiheadAttention": (lambda: nn.MultiheadAttention(6, 2), *[floats(3, 2, 6)] * 3),
    "NLLLoss": (nn.NLLLoss, np.log(ROWS), ids(3, below=5)),
    "PReLU": (lambda: nn.PReLU(3), IMAGE - 0.5),
    "PairwiseDistance": (nn.PairwiseDistance, ROWS, floats(3, 5) + 0.1),
    "PixelShuffle": (lambda: nn.PixelShuffle(2), floats(1, 4, 3, 5)),
    "PixelUnshuffle": (lambda: nn.PixelUnshuffle(2), floats(1, 3, 4, 6)),
    "RMSNorm": (lambda: nn.RMSNorm(5), ROWS),
    "RNN": (lambda: nn.RNN(5, 3), SEQUENCE),
    "RNNCell": (lambda: nn.RNNCell(5, 3), ROWS),
    "RotaryPositions": (lambda: nn.RotaryPositions(6), floats(2, 1, 3, 6)),
    "SinusoidalPositions": (lambda: nn.SinusoidalPositions(6, 9), floats(2, 3, 6)),
    "SoftMarginLoss": (nn.SoftMarginLoss, ROWS, 2 * floats(3, 5).round() - 1),
    "Softmax": (lambda: nn.Softmax(0), ROWS),
    "Softmax2d": (nn.Softmax2d, IMAGE),
    "Softmin": (lambda: nn.Softmin(1), ROWS),
    "SwiGLU": (lambda: nn.SwiGLU(5, 7), ROWS),
    "Threshold": (lambda: nn.Threshold(0.4, 0.1), ROWS),
    "TransformerEncoder": (
        lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(6, 2, 7, dropout=0), 1),
        floats(3, 1, 6),
    ),
    "Transformer": (lambda: nn.Transformer(6, 2, 1, 1, 7, dropout=0), floats(3, 1, 6), floats(2, 1, 6)),
    "TripletMarginLoss": (nn.TripletMarginLoss, ROWS, floats(3, 5) + 0.1, 0.3 * floats(3, 5)),
    "TripletMarginWithDistanceLoss": (nn.TripletMarginWithDistanceLoss, ROWS, floats(3, 5) + 0.1, 0.3 * floats(3, 5)),
    "Unflatten": (lambda: nn.Unflatten(1, (1, 5)), ROWS),
    "Unfold": (lambda: nn.Unfold(2), IMAGE),
    "Upsample": (lambda: nn.Upsample(scale_factor=2), IMAGE),
    "UpsamplingBilinear2d": (lambda: nn.UpsamplingBilinear2d(scale_factor=2), IMAGE),
    "UpsamplingNearest2d": (lambda: nn.UpsamplingNearest2d(scale_factor=2), IMAGE),
}
"""Each module: how it is made, and its inputs."""

ELSEWHERE = {
    "AveragedModel": "average_ in test_optim.py",
    "MaxUnpool1d": "ops.max_unpool in test_ops.py",
    "MaxUnpool2d": "ops.max_unpool in test_ops.py",
    "TransformerDecoder": "in Transformer",
    "TransformerDecoderLayer": "in Transformer",
    "TransformerEncoderLayer": "in TransformerEncoder",
}

NO_KERNELS = {
    "Module",
    "ModuleDict",
    "ModuleList",
    "ParameterDict",
    "ParameterList",
    "RNNBase",
    "RNNCellBase",
    "Sequential",
}


def test_no_module_is_forgotten():
    public = {
        name for name in dir(nn) if isinstance(getattr(nn, name), type) and issubclass(getattr(nn, name), nn.Module)
    }
    assert public == set(MODULES) | set(ELSEWHERE) | NO_KERNELS


def results(module, inputs):
    """Outputs and gradients of inputs and parameters, for a fixed cotangent."""
    nbdl.manual_seed(5)  # dropout draws the same masks
    tensors = [Tensor(x.copy()) for x in inputs]
    if tensors[0].dtype.kind == "f":
        tensors[0].requires_grad_()
    module.zero_grad()
    output = module(*tensors)
    while isinstance(output, (tuple, list)):
        output = output[0]
    cotangent = np.random.default_rng(2).standard_normal(output.shape).astype(np.float32)
    output.backward(Tensor(cotangent))
    named = {"output": output, "input": tensors[0].grad, **{name: p.grad for name, p in module.named_parameters()}}
    return {name: value.detach().numpy().copy() for name, value in named.items() if value is not None}


@pytest.mark.parametrize("name", MODULES)
def test_modules_in_the_interpreter(name):
    make, *inputs = MODULES[name]
    nbdl.manual_seed(1)
    module = make()
    wanted = results(module, inputs)
    with simt.target(seed=len(name)):
        got = results(module, inputs)
    assert got.keys() == wanted.keys()
    for key, value in wanted.items():
        np.testing.assert_allclose(got[key], value, rtol=2e-4, atol=2e-5, err_msg=key)
