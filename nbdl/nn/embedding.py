"""Embedding: a table of vectors, one for each id; and bags, in which several of them become one."""

from __future__ import annotations

from typing import Any

from nbdl import ops
from nbdl.autograd import Tensor
from nbdl.nn import init
from nbdl.nn.module import Module
from nbdl.nn.parameter import Parameter, new_parameter
from nbdl.runtime.checks import check_choice, check_int, check_rank, check_shape
from nbdl.runtime.errors import ArgumentError


class Embedding(Module):
    """Looks up vectors by id. Shape: [*] integers to [*, embedding_dim].

    The vectors begin normally distributed with mean 0 and variance 1; that of `padding_idx` begins at 0.

    Args:
        num_embeddings: Number of ids.
        embedding_dim: Size of a vector.
        padding_idx: An id whose vector gets no gradient.
        max_norm: Vectors longer than this are shortened to it when they are looked up.
        norm_type: The exponent of that norm.
        scale_grad_by_freq: Divide a vector's gradient by the number of times its id occurs.
        sparse: Not available: gradients are dense.
        device: Where the parameters live.
        dtype: float32 (the default) or float64.

    Attributes:
        weight: [num_embeddings, embedding_dim].

    Raises:
        ArgumentError: A size is negative, padding_idx is out of range, or sparse is True.

    Example:
        >>> table = nbdl.nn.Embedding(10, 3)
        >>> table(nbdl.tensor([[1, 2], [4, 3]])).shape
        (2, 2, 3)
    """

    weight: Parameter

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        _weight: Tensor | None = None,
        _freeze: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.num_embeddings = check_int("num_embeddings", num_embeddings, low=0)
        self.embedding_dim = check_int("embedding_dim", embedding_dim, low=0)
        if padding_idx is not None:
            padding_idx = check_int("padding_idx", padding_idx, -num_embeddings, num_embeddings - 1) % num_embeddings
        if sparse:
            raise ArgumentError("sparse: gradients of embeddings are dense; expected False")
        self.padding_idx = padding_idx
        self.max_norm = max_norm
        self.norm_type = norm_type
        self.scale_grad_by_freq = scale_grad_by_freq
        self.sparse = sparse
        if _weight is None:
            self.weight = new_parameter((num_embeddings, embedding_dim), device, dtype)
            self.weight.requires_grad_(not _freeze)
            self.reset_parameters()
        else:
            check_shape("_weight", _weight, (num_embeddings, embedding_dim))
            self.weight = Parameter(_weight, requires_grad=not _freeze)

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Tensor,
        freeze: bool = True,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
    ) -> Embedding:
        """An embedding on given vectors.

        Args:
            embeddings: [num_embeddings, embedding_dim].
            freeze: Whether they stay as they are in training.
            padding_idx: As above.
            max_norm: As above.
            norm_type: As above.
            scale_grad_by_freq: As above.
            sparse: As above.
        """
        rows, columns = check_rank("embeddings", embeddings, 2).shape
        return cls(
            rows,
            columns,
            padding_idx,
            max_norm,
            norm_type,
            scale_grad_by_freq,
            sparse,
            _weight=embeddings,
            _freeze=freeze,
        )

    def reset_parameters(self) -> None:
        """Draws the vectors anew."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            self.weight._array[self.padding_idx] = 0

    def forward(self, input: Tensor) -> Tensor:
        return ops.embedding(
            input, self.weight, self.padding_idx, self.max_norm, self.norm_type, self.scale_grad_by_freq, self.sparse
        )

    def extra_repr(self) -> str:
        text = f"{self.num_embeddings}, {self.embedding_dim}"
        if self.padding_idx is not None:
            text += f", padding_idx={self.padding_idx}"
        if self.max_norm is not None:
            text += f", max_norm={self.max_norm}"
        if self.norm_type != 2:
            text += f", norm_type={self.norm_type}"
        if self.scale_grad_by_freq:
            text += f", scale_grad_by_freq={self.scale_grad_by_freq}"
        return text


class EmbeddingBag(Module):
    """The sum, mean or maximum of the vectors of bags of ids. Shape: [B, K] integers, or [K] with offsets [B], to
    [B, embedding_dim].

    The vectors begin normally distributed with mean 0 and variance 1; that of `padding_idx` begins at 0.

    Args:
        num_embeddings: Number of ids.
        embedding_dim: Size of a vector.
        max_norm: Vectors longer than this are shortened to it when they are looked up.
        norm_type: The exponent of that norm.
        scale_grad_by_freq: Divide a vector's gradient by the number of times its id occurs; not for "max".
        mode: "sum", "mean" or "max".
        sparse: Not available: gradients are dense.
        include_last_offset: Whether offsets [B + 1] end with the end of the last bag.
        padding_idx: An id whose places do not count.
        device: Where the parameters live.
        dtype: float32 (the default) or float64.

    Attributes:
        weight: [num_embeddings, embedding_dim].

    Raises:
        ArgumentError: A size is negative, padding_idx is out of range, sparse is True, or an unknown mode.

    Example:
        >>> bags = nbdl.nn.EmbeddingBag(10, 3, mode="sum")
        >>> bags(nbdl.tensor([1, 2, 4, 5]), nbdl.tensor([0, 3])).shape
        (2, 3)
    """

    weight: Parameter

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        _weight: Tensor | None = None,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.num_embeddings = check_int("num_embeddings", num_embeddings, low=0)
        self.embedding_dim = check_int("embedding_dim", embedding_dim, low=0)
        if padding_idx is not None:
            padding_idx = check_int("padding_idx", padding_idx, -num_embeddings, num_embeddings - 1) % num_embeddings
        if sparse:
            raise ArgumentError("sparse: gradients of embeddings are dense; expected False")
        self.padding_idx = padding_idx
        self.max_norm = max_norm
        self.norm_type = norm_type
        self.scale_grad_by_freq = scale_grad_by_freq
        self.mode = check_choice("mode", mode, ("sum", "mean", "max"))
        self.sparse = sparse
        self.include_last_offset = include_last_offset
        if _weight is None:
            self.weight = new_parameter((num_embeddings, embedding_dim), device, dtype)
            self.reset_parameters()
        else:
            check_shape("_weight", _weight, (num_embeddings, embedding_dim))
            self.weight = Parameter(_weight)

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Tensor,
        freeze: bool = True,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
    ) -> EmbeddingBag:
        """Bags of given vectors.

        Args:
            embeddings: [num_embeddings, embedding_dim].
            freeze: Whether they stay as they are in training.
            max_norm: As above; so are the others.
            norm_type: As above.
            scale_grad_by_freq: As above.
            mode: As above.
            sparse: As above.
            include_last_offset: As above.
            padding_idx: As above.
        """
        rows, columns = check_rank("embeddings", embeddings, 2).shape
        bags = cls(
            rows,
            columns,
            max_norm,
            norm_type,
            scale_grad_by_freq,
            mode,
            sparse,
            embeddings,
            include_last_offset,
            padding_idx,
        )
        bags.weight.requires_grad_(not freeze)
        return bags

    def reset_parameters(self) -> None:
        """Draws the vectors anew."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            self.weight._array[self.padding_idx] = 0

    def forward(self, input: Tensor, offsets: Tensor | None = None, per_sample_weights: Tensor | None = None) -> Tensor:
        return ops.embedding_bag(
            input,
            self.weight,
            offsets,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
            self.mode,
            self.sparse,
            per_sample_weights,
            self.include_last_offset,
            self.padding_idx,
        )

    def extra_repr(self) -> str:
        text = f"{self.num_embeddings}, {self.embedding_dim}"
        if self.max_norm is not None:
            text += f", max_norm={self.max_norm}"
        if self.norm_type != 2:
            text += f", norm_type={self.norm_type}"
        if self.scale_grad_by_freq:
            text += f", scale_grad_by_freq={self.scale_grad_by_freq}"
        text += f", mode={self.mode!r}"
        if self.padding_idx is not None:
            text += f", padding_idx={self.padding_idx}"
        return text
