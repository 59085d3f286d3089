"""Sequences of several lengths in one tensor: padded to one length, or packed step by step without padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from nbdl import ops
from nbdl.autograd import Tensor
from nbdl.runtime.checks import check_choice, check_int, check_same_dtype
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, DTypeError, ShapeError


class PackedSequence(NamedTuple):
    """Sequences of several lengths, packed; `pack_padded_sequence` and `pack_sequence` make them.

    Sorted from long to short, the first elements of all sequences come first, then the second ones of all that have
    two, and so on.

    Attributes:
        data: [R, *], R elements in all.
        batch_sizes: [T], int64: the number of sequences that have a t-th element.
        sorted_indices: [N], int64: which sequence of the batch is the longest, the second longest ...; None if they
            came in this order.
        unsorted_indices: [N], int64: the place of each sequence of the batch in that order; None likewise.
    """

    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None = None
    unsorted_indices: Tensor | None = None

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """The same sequences with their elements converted, as `Tensor.to`."""
        return self._replace(data=self.data.to(*args, **kwargs))

    def cpu(self) -> PackedSequence:
        """The same sequences with their elements on the CPU."""
        return self.to("cpu")

    def cuda(self) -> PackedSequence:
        """The same sequences with their elements on the GPU."""
        return self.to("cuda")

    @property
    def is_cuda(self) -> bool:
        """Whether the elements are on a GPU."""
        return self.data.device.type == "cuda"

    def double(self) -> PackedSequence:
        """The same sequences in float64."""
        return self._replace(data=self.data.double())

    def float(self) -> PackedSequence:
        """The same sequences in float32."""
        return self._replace(data=self.data.float())


# ---------------------------------------------------------------- lengths and places


def _check_lengths(lengths: Any, batch: int, longest: int) -> np.ndarray:
    """The lengths as [N] int64, each between 1 and the padded length."""
    values = lengths._array if isinstance(lengths, Tensor) else np.asarray(lengths)
    if values.dtype.kind not in "iu":
        raise DTypeError(f"lengths: expected integers, got {values.dtype}")
    if values.shape != (batch,):
        raise ShapeError(f"lengths: expected shape [{batch}], one for each sequence, got {list(values.shape)}")
    if values.min() < 1 or values.max() > longest:
        wrong = int(values.min()) if values.min() < 1 else int(values.max())
        raise ArgumentError(f"lengths: expected lengths between 1 and the padded length {longest}, got {wrong}")
    return values.astype(np.int64)


def _places(lengths: np.ndarray, order: np.ndarray | None, steps: int, batch_first: bool) -> np.ndarray:
    """For each packed element, step by step, its row in a padded batch of `steps` steps, as [T N] or [N T]."""
    batch = lengths.size
    ordered = lengths if order is None else lengths[order]
    step, place = np.nonzero(np.arange(int(ordered[0]))[:, None] < ordered)
    sequence = place if order is None else order[place]
    return sequence * steps + step if batch_first else step * batch + sequence


def _lengths(batch_sizes: Tensor) -> np.ndarray:
    """The lengths of packed sequences, from long to short."""
    sizes = batch_sizes._array
    return np.searchsorted(-sizes, -np.arange(sizes[0]), side="left")


def _spread(data: Tensor, places: np.ndarray, rows: int, value: float) -> Tensor:
    """[rows, *] with the rows of data at their places and a value everywhere else."""
    padding = data.new_full((rows, *data.shape[1:]), value)
    return ops.index_copy(padding, 0, Tensor(places), data)


# ---------------------------------------------------------------- packed


def pack_padded_sequence(
    input: Tensor, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Packs a padded batch of sequences: what lies beyond their lengths is left out.

    Args:
        input: [T, N, *], or [N, T, *] with batch_first.
        lengths: Length of each sequence, a tensor [N] of integers or a list.
        batch_first: Whether the batch is the first dimension.
        enforce_sorted: Whether the sequences must come from long to short; if not, they are sorted here.

    Raises:
        ShapeError: The input has less than two dimensions or no sequence, or there is not one length for each.
        ArgumentError: A length is less than 1 or greater than T, or they are not sorted although they must be.
        DTypeError: The lengths are not integers.

    Gradient:
        For the input: that of the packed elements, zero in the padding.

    Example:
        >>> packed = nbdl.nn.utils.rnn.pack_padded_sequence(nbdl.tensor([[1, 4], [2, 5], [3, 0]]), [3, 2])
        >>> packed.data, packed.batch_sizes
        (tensor([1, 4, 2, 5, 3]), tensor([2, 2, 1]))
    """
    if input.ndim < 2 or 0 in input.shape[:2]:
        raise ShapeError(f"input: expected at least one sequence of at least one element, got {list(input.shape)}")
    batch, steps = input.shape[:2] if batch_first else input.shape[1::-1]
    listed = _check_lengths(lengths, batch, steps)
    order = None
    if not enforce_sorted:
        order = np.argsort(-listed, kind="stable")
    elif np.any(listed[1:] > listed[:-1]):
        raise ArgumentError(
            f"lengths: expected lengths from long to short, got {listed.tolist()[:10]}; enforce_sorted=False sorts them"
        )
    places = _places(listed, order, steps, batch_first)
    data = ops.index_select(ops.reshape(input, (batch * steps, *input.shape[2:])), 0, Tensor(places))
    sizes = np.count_nonzero(np.arange(int(listed.max()))[:, None] < listed, axis=1)
    if order is None:
        return PackedSequence(data, Tensor(sizes))
    return PackedSequence(data, Tensor(sizes), Tensor(order), Tensor(np.argsort(order, kind="stable")))


def pad_packed_sequence(
    sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0, total_length: int | None = None
) -> tuple[Tensor, Tensor]:
    """Undoes `pack_padded_sequence`.

    Args:
        sequence: What was packed.
        batch_first: Whether the batch shall be the first dimension.
        padding_value: What stands beyond the end of a sequence.
        total_length: The padded length T; that of the longest sequence when None.

    Returns:
        The padded batch [T, N, *], or [N, T, *] with batch_first, and the lengths [N], int64.

    Raises:
        ArgumentTypeError: It is no PackedSequence.
        ArgumentError: total_length is less than the longest sequence.

    Gradient:
        For the packed elements.

    Example:
        >>> sequences = [nbdl.tensor([1.0]), nbdl.tensor([2.0, 3.0])]
        >>> packed = nbdl.nn.utils.rnn.pack_sequence(sequences, enforce_sorted=False)
        >>> nbdl.nn.utils.rnn.pad_packed_sequence(packed, batch_first=True)
        (tensor([[1., 0.],
                [2., 3.]]), tensor([1, 2]))
    """
    if not isinstance(sequence, PackedSequence):
        raise ArgumentTypeError(f"sequence: expected a PackedSequence, got {type(sequence).__name__}")
    data, batch_sizes, order, places_in_order = sequence
    lengths = _lengths(batch_sizes)
    batch, longest = lengths.size, int(lengths[0])
    steps = longest if total_length is None else check_int("total_length", total_length, low=longest)
    if places_in_order is not None:
        lengths = lengths[places_in_order._array]
    places = _places(lengths, None if order is None else order._array, steps, batch_first)
    shape = (batch, steps) if batch_first else (steps, batch)
    padded = _spread(data, places, batch * steps, padding_value)
    return ops.reshape(padded, (*shape, *data.shape[1:])), Tensor(np.array(lengths))


def pack_sequence(sequences: Sequence[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Packs sequences of several lengths.

    Args:
        sequences: Tensors [T, *], equal but for T.
        enforce_sorted: Whether they must come from long to short; if not, they are sorted here.

    Raises:
        ShapeError: There is no sequence, or two differ in more than their lengths.
        ArgumentError: A sequence is empty, or they are not sorted although they must be.

    Gradient:
        For every sequence.

    Example:
        >>> sequences = [nbdl.tensor([1.0, 2.0, 3.0]), nbdl.tensor([4.0, 5.0])]
        >>> nbdl.nn.utils.rnn.pack_sequence(sequences).data
        tensor([1., 4., 2., 5., 3.])
    """
    listed = _check_sequences(sequences)
    lengths = [x.shape[0] for x in listed]
    return pack_padded_sequence(pad_sequence(listed), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """The sequences of a packed batch, in their order.

    Gradient:
        For the packed elements.

    Example:
        >>> packed = nbdl.nn.utils.rnn.pack_sequence([nbdl.tensor([1.0, 2.0]), nbdl.tensor([3.0])])
        >>> nbdl.nn.utils.rnn.unpack_sequence(packed)
        [tensor([1., 2.]), tensor([3.])]
    """
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)


# ---------------------------------------------------------------- padded


def pad_sequence(
    sequences: Tensor | Sequence[Tensor],
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: str = "right",
) -> Tensor:
    """Sequences of several lengths as one tensor, the shorter ones padded.

    Args:
        sequences: Tensors [T, *], equal but for T.
        batch_first: Whether the batch shall be the first dimension.
        padding_value: What stands beyond the end of a sequence.
        padding_side: "right", or "left" to pad before the beginning.

    Returns:
        [T, N, *], or [N, T, *] with batch_first, T the greatest length.

    Raises:
        ShapeError: There is no sequence, or two differ in more than their lengths.
        ArgumentError: Another padding_side.

    Gradient:
        For every sequence.

    Example:
        >>> nbdl.nn.utils.rnn.pad_sequence([nbdl.tensor([1, 2, 3]), nbdl.tensor([4])], batch_first=True)
        tensor([[1, 2, 3],
                [4, 0, 0]])
    """
    check_choice("padding_side", padding_side, ("right", "left"))
    listed = _check_sequences(sequences)
    lengths = np.array([x.shape[0] for x in listed])
    batch, steps = lengths.size, int(lengths.max())
    sequence = np.repeat(np.arange(batch), lengths)
    step = np.concatenate([np.arange(n) + (steps - n if padding_side == "left" else 0) for n in lengths])
    places = sequence * steps + step if batch_first else step * batch + sequence
    padded = _spread(ops.cat(listed), places, batch * steps, padding_value)
    return ops.reshape(padded, (*((batch, steps) if batch_first else (steps, batch)), *listed[0].shape[1:]))


def _check_sequences(sequences: Any) -> list[Tensor]:
    listed = list(ops.unbind(sequences)) if isinstance(sequences, Tensor) else list(sequences)
    if not listed:
        raise ShapeError("sequences: expected at least one sequence, got none")
    for number, x in enumerate(listed):
        if not isinstance(x, Tensor):
            raise ArgumentTypeError(f"sequences[{number}]: expected a Tensor, got {type(x).__name__}")
        if x.ndim < 1 or x.shape[1:] != listed[0].shape[1:]:
            raise ShapeError(
                f"sequences[{number}]: expected shape [*, {list(listed[0].shape[1:])}], got {list(x.shape)}"
            )
        check_same_dtype(f"sequences[{number}]", x, "sequences[0]", listed[0])
    return listed


def unpad_sequence(padded_sequences: Tensor, lengths: Any, batch_first: bool = False) -> list[Tensor]:
    """The sequences of a padded batch, each in its own length.

    Args:
        padded_sequences: [T, N, *], or [N, T, *] with batch_first.
        lengths: Length of each sequence, a tensor [N] of integers or a list.
        batch_first: Whether the batch is the first dimension.

    Raises:
        ShapeError: The input has less than two dimensions, or there is not one length for each sequence.
        ArgumentError: A length is less than 1 or greater than T.

    Gradient:
        For the padded sequences.

    Example:
        >>> nbdl.nn.utils.rnn.unpad_sequence(nbdl.tensor([[1, 4], [2, 5], [3, 0]]), [3, 2])
        [tensor([1, 2, 3]), tensor([4, 5])]
    """
    if padded_sequences.ndim < 2:
        raise ShapeError(f"padded_sequences: expected at least 2 dimensions, got {list(padded_sequences.shape)}")
    dim = 0 if batch_first else 1
    steps, batch = padded_sequences.shape[1 - dim], padded_sequences.shape[dim]
    listed = _check_lengths(lengths, batch, steps)
    return [x[: int(n)] for x, n in zip(ops.unbind(padded_sequences, dim), listed, strict=True)]


def invert_permutation(permutation: Tensor | None) -> Tensor | None:
    """The permutation that undoes one, [N] int64; None of None.

    Example:
        >>> nbdl.nn.utils.rnn.invert_permutation(nbdl.tensor([2, 0, 1]))
        tensor([1, 2, 0])
    """
    return None if permutation is None else Tensor(np.argsort(permutation._array, kind="stable"))
