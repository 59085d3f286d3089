"""Convolutional networks: LeNet-5, VGG and ResNet."""

from nbdl.models.cnn.lenet import LeNet5
from nbdl.models.cnn.resnet import BasicBlock, Bottleneck, ResNet, resnet18, resnet34, resnet50
from nbdl.models.cnn.vgg import VGG, vgg11, vgg11_bn, vgg16, vgg16_bn

__all__ = [
    "VGG",
    "BasicBlock",
    "Bottleneck",
    "LeNet5",
    "ResNet",
    "resnet18",
    "resnet34",
    "resnet50",
    "vgg11",
    "vgg11_bn",
    "vgg16",
    "vgg16_bn",
]
