"""Models: the architectures of the field, made of `nbdl.nn`."""

from nbdl.models.bert import BERT, BERTConfig, BERTForMaskedLM, BERTForSequenceClassification
from nbdl.models.cnn import (
    VGG,
    BasicBlock,
    Bottleneck,
    LeNet5,
    ResNet,
    resnet18,
    resnet34,
    resnet50,
    vgg11,
    vgg11_bn,
    vgg16,
    vgg16_bn,
)
from nbdl.models.gan import (
    GAMES,
    GAN,
    DCGANDiscriminator,
    DCGANGenerator,
    Game,
    HingeGame,
    LeastSquaresGame,
    MinimaxGame,
    MLPDiscriminator,
    MLPGenerator,
    NonSaturatingGame,
    WassersteinGame,
)
from nbdl.models.gpt import GPT, GPTConfig
from nbdl.models.mlp import MLP
from nbdl.models.rnn import RecurrentClassifier, RecurrentForecaster, RecurrentLanguageModel, generate
from nbdl.models.sampling import Sampling
from nbdl.models.transformer import Seq2SeqTransformer

__all__ = [
    "BERT",
    "GAMES",
    "GAN",
    "GPT",
    "MLP",
    "VGG",
    "BERTConfig",
    "BERTForMaskedLM",
    "BERTForSequenceClassification",
    "BasicBlock",
    "Bottleneck",
    "DCGANDiscriminator",
    "DCGANGenerator",
    "GPTConfig",
    "Game",
    "HingeGame",
    "LeNet5",
    "LeastSquaresGame",
    "MLPDiscriminator",
    "MLPGenerator",
    "MinimaxGame",
    "NonSaturatingGame",
    "RecurrentClassifier",
    "RecurrentForecaster",
    "RecurrentLanguageModel",
    "ResNet",
    "Sampling",
    "Seq2SeqTransformer",
    "WassersteinGame",
    "generate",
    "resnet18",
    "resnet34",
    "resnet50",
    "vgg11",
    "vgg11_bn",
    "vgg16",
    "vgg16_bn",
]
