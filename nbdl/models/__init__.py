"""Models: the architectures of the field, made of `nbdl.nn`."""

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
from nbdl.models.gpt import GPT, GPTConfig
from nbdl.models.mlp import MLP
from nbdl.models.rnn import RecurrentClassifier, RecurrentForecaster, RecurrentLanguageModel, generate

__all__ = [
    "GPT",
    "MLP",
    "VGG",
    "BasicBlock",
    "Bottleneck",
    "GPTConfig",
    "LeNet5",
    "RecurrentClassifier",
    "RecurrentForecaster",
    "RecurrentLanguageModel",
    "ResNet",
    "generate",
    "resnet18",
    "resnet34",
    "resnet50",
    "vgg11",
    "vgg11_bn",
    "vgg16",
    "vgg16_bn",
]
