r"""ResNet: blocks that add to their input what they compute from it, so that a hundred layers can be trained.

A block learns the residual $F$ in $y = \mathrm{ReLU}(x + F(x))$. Where the ReLU lets it pass, the gradient
$dx = dy + F'(x)^\top dy$ reaches the layers below undiminished by the weights in between.

Source: He, Zhang, Ren and Sun (2016), "Deep Residual Learning for Image Recognition". The layout of parameters is that
of torchvision, whose Bottleneck strides in the 3 x 3 convolution and not in the first 1 x 1 ("ResNet v1.5").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from nbdl import nn, ops
from nbdl.autograd import Tensor
from nbdl.models.description import count_parameters
from nbdl.nn import init
from nbdl.runtime.checks import check_int
from nbdl.runtime.errors import ArgumentError

NormLayer = Callable[[int], nn.Module]


def conv3x3(in_planes: int, out_planes: int, stride: int = 1, groups: int = 1, dilation: int = 1) -> nn.Conv2d:
    """A 3 x 3 convolution that keeps the size of the image where stride is 1; the norm after it brings the bias."""
    return nn.Conv2d(in_planes, out_planes, 3, stride, dilation, dilation, groups, bias=False)


def conv1x1(in_planes: int, out_planes: int, stride: int = 1) -> nn.Conv2d:
    """A 1 x 1 convolution without bias."""
    return nn.Conv2d(in_planes, out_planes, 1, stride, bias=False)


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut; the block of the 18 and 34 layers deep networks.

    Args:
        inplanes: Channels of the input.
        planes: Channels of both convolutions.
        stride: Of the first convolution.
        downsample: Brings the input to the shape of the output where they differ; None for the identity.
        groups: 1.
        base_width: 64.
        dilation: 1.
        norm_layer: Makes a normalization from a number of channels; `nn.BatchNorm2d` when None.

    Raises:
        ArgumentError: groups, base_width or dilation differ from the only values that this block takes.
    """

    expansion = 1

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        downsample: nn.Module | None = None,
        groups: int = 1,
        base_width: int = 64,
        dilation: int = 1,
        norm_layer: NormLayer | None = None,
    ) -> None:
        super().__init__()
        for name, value, only in (("groups", groups, 1), ("base_width", base_width, 64), ("dilation", dilation, 1)):
            if value != only:
                raise ArgumentError(f"{name}: expected {only} in a BasicBlock, got {value!r}")
        make_norm = norm_layer or nn.BatchNorm2d
        self.conv1 = conv3x3(inplanes, planes, stride)
        self.bn1 = make_norm(planes)
        self.relu = nn.ReLU()
        self.conv2 = conv3x3(planes, planes)
        self.bn2 = make_norm(planes)
        self.downsample = downsample
        self.stride = stride

    def forward(self, input: Tensor) -> Tensor:
        """[N, inplanes, H, W] -> [N, planes, H / stride, W / stride]."""
        shortcut = input if self.downsample is None else self.downsample(input)
        hidden = self.relu(self.bn1(self.conv1(input)))
        return self.relu(self.bn2(self.conv2(hidden)) + shortcut)


class Bottleneck(nn.Module):
    """A 3 x 3 convolution between two of 1 x 1, which narrow and widen again; the block of 50 layers and more.

    Args:
        inplanes: Channels of the input.
        planes: Channels in the middle where base_width is 64; the output has 4 times as many.
        stride: Of the 3 x 3 convolution.
        downsample: Brings the input to the shape of the output where they differ; None for the identity.
        groups: Groups of the 3 x 3 convolution (ResNeXt).
        base_width: Channels a group for 64 planes (wide ResNet: 128).
        dilation: Of the 3 x 3 convolution.
        norm_layer: Makes a normalization from a number of channels; `nn.BatchNorm2d` when None.
    """

    expansion = 4

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        downsample: nn.Module | None = None,
        groups: int = 1,
        base_width: int = 64,
        dilation: int = 1,
        norm_layer: NormLayer | None = None,
    ) -> None:
        super().__init__()
        make_norm = norm_layer or nn.BatchNorm2d
        width = planes * base_width // 64 * groups
        self.conv1 = conv1x1(inplanes, width)
        self.bn1 = make_norm(width)
        self.conv2 = conv3x3(width, width, stride, groups, dilation)
        self.bn2 = make_norm(width)
        self.conv3 = conv1x1(width, planes * self.expansion)
        self.bn3 = make_norm(planes * self.expansion)
        self.relu = nn.ReLU()
        self.downsample = downsample
        self.stride = stride

    def forward(self, input: Tensor) -> Tensor:
        """[N, inplanes, H, W] -> [N, 4 planes, H / stride, W / stride]."""
        shortcut = input if self.downsample is None else self.downsample(input)
        hidden = self.relu(self.bn1(self.conv1(input)))
        hidden = self.relu(self.bn2(self.conv2(hidden)))
        return self.relu(self.bn3(self.conv3(hidden)) + shortcut)


class ResNet(nn.Module):
    """A residual network: a stem, four stages of blocks, the average over the image, one linear layer.

    Names, shapes and order of the state dict are torchvision's, so that its weights load unchanged.

    Args:
        block: `BasicBlock` or `Bottleneck`.
        layers: Blocks in each of the four stages.
        num_classes: Outputs a sample.
        zero_init_residual: Begin with blocks that pass their input unchanged: the last norm of each has weight 0.
        groups: Groups of the 3 x 3 convolutions of a Bottleneck.
        width_per_group: Channels a group for 64 planes.
        replace_stride_with_dilation: For the stages 2 to 4: keep the size of the image and spread the kernels.
        norm_layer: Makes a normalization from a number of channels; `nn.BatchNorm2d` when None.
        in_channels: Channels of the images.
        small_input: For images of about 32 pixels: a 3 x 3 convolution of stride 1 in place of 7 x 7 of stride 2, and
            no pooling after it.

    Raises:
        ArgumentError: Not four stages, a size under 1, or an option that the block does not take.

    Example:
        >>> ResNet(BasicBlock, [1, 1, 1, 1], num_classes=10, small_input=True)
        ResNet(BasicBlock 1-1-1-1, small input, 10 classes, 4,903,242 parameters)
    """

    def __init__(
        self,
        block: type[BasicBlock | Bottleneck],
        layers: Sequence[int],
        num_classes: int = 1000,
        zero_init_residual: bool = False,
        groups: int = 1,
        width_per_group: int = 64,
        replace_stride_with_dilation: Sequence[bool] | None = None,
        norm_layer: NormLayer | None = None,
        in_channels: int = 3,
        small_input: bool = False,
    ) -> None:
        super().__init__()
        check_int("num_classes", num_classes, 1)
        check_int("in_channels", in_channels, 1)
        if len(layers) != 4:
            raise ArgumentError(f"layers: expected the blocks of 4 stages, got {list(layers)}")
        dilate = [False] * 3 if replace_stride_with_dilation is None else list(replace_stride_with_dilation)
        if len(dilate) != 3:
            expected = "None or 3 booleans"
            raise ArgumentError(
                f"replace_stride_with_dilation: expected {expected}, got {replace_stride_with_dilation}"
            )
        self._make_norm: NormLayer = norm_layer or nn.BatchNorm2d
        self.block, self.layers = block, tuple(check_int("layers", count, 1) for count in layers)
        self.num_classes, self.small_input = num_classes, small_input
        self.inplanes, self.dilation = 64, 1
        self.groups, self.base_width = groups, width_per_group

        if small_input:
            self.conv1 = nn.Conv2d(in_channels, 64, 3, 1, 1, bias=False)
        else:
            self.conv1 = nn.Conv2d(in_channels, 64, 7, 2, 3, bias=False)
        self.bn1 = self._make_norm(64)
        self.relu = nn.ReLU()
        self.maxpool = nn.Identity() if small_input else nn.MaxPool2d(3, 2, 1)
        self.layer1 = self._make_stage(64, layers[0])
        self.layer2 = self._make_stage(128, layers[1], 2, dilate[0])
        self.layer3 = self._make_stage(256, layers[2], 2, dilate[1])
        self.layer4 = self._make_stage(512, layers[3], 2, dilate[2])
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(512 * block.expansion, num_classes)
        self.reset_parameters(zero_init_residual)

    def _make_stage(self, planes: int, count: int, stride: int = 1, dilate: bool = False) -> nn.Sequential:
        """Blocks in a row, of which the first strides and changes the channels."""
        previous = self.dilation
        if dilate:
            self.dilation *= stride
            stride = 1
        outputs = planes * self.block.expansion
        downsample = None
        if stride != 1 or self.inplanes != outputs:
            downsample = nn.Sequential(conv1x1(self.inplanes, outputs, stride), self._make_norm(outputs))
        options = self.groups, self.base_width
        blocks = [self.block(self.inplanes, planes, stride, downsample, *options, previous, self._make_norm)]
        self.inplanes = outputs
        for _ in range(1, count):
            blocks.append(self.block(outputs, planes, 1, None, *options, self.dilation, self._make_norm))
        return nn.Sequential(*blocks)

    def reset_parameters(self, zero_init_residual: bool = False) -> None:
        """Draws the convolutions by Kaiming's scheme. Norms begin with weight 1 and bias 0, as they are made."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif zero_init_residual and isinstance(module, BasicBlock | Bottleneck):
                last = module.bn3 if isinstance(module, Bottleneck) else module.bn2
                weight = getattr(last, "weight", None)
                if weight is not None:
                    init.zeros_(weight)

    def forward(self, input: Tensor) -> Tensor:
        """[N, in_channels, H, W] -> scores [N, num_classes]."""
        hidden = self.maxpool(self.relu(self.bn1(self.conv1(input))))
        hidden = self.layer4(self.layer3(self.layer2(self.layer1(hidden))))
        return self.fc(ops.flatten(self.avgpool(hidden), 1))

    def __repr__(self) -> str:
        stages = "-".join(map(str, self.layers)) + (", small input" if self.small_input else "")
        return f"ResNet({self.block.__name__} {stages}, {self.num_classes} classes, {count_parameters(self)})"


def resnet18(**options: Any) -> ResNet:
    """ResNet with 18 layers; options as for `ResNet`.

    Example:
        >>> resnet18(num_classes=10, small_input=True)
        ResNet(BasicBlock 2-2-2-2, small input, 10 classes, 11,173,962 parameters)
    """
    return ResNet(BasicBlock, (2, 2, 2, 2), **options)


def resnet34(**options: Any) -> ResNet:
    """ResNet with 34 layers; options as for `ResNet`."""
    return ResNet(BasicBlock, (3, 4, 6, 3), **options)


def resnet50(**options: Any) -> ResNet:
    """ResNet with 50 layers, in Bottleneck blocks; options as for `ResNet`."""
    return ResNet(Bottleneck, (3, 4, 6, 3), **options)
