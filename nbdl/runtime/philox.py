r"""Random numbers by counting: Philox4x32-10, the same on the CPU, on a GPU and in the interpreter.

A counter-based generator is a function, not a machine with a state: it turns a key and a counter into four random
32-bit words, as a block cipher turns a key and a plain text into noise. One round multiplies two of the counter's
words and mixes the halves of the products with the others and the key; ten rounds pass every statistical test known.

    key      (seed's low word, seed's high word)
    counter  (group's low word, group's high word, offset's low word, offset's high word)

A group is four float32 or two float64 or int64 elements; the offset counts the fills that a `Generator` has made. So
an element depends on (seed, offset, its index) alone: not on the number of threads, the size of the array, or which
device filled it. To repeat a dropout mask it is enough to remember two numbers.

Source: Salmon, Moraes, Dror and Shaw (2011), "Parallel random numbers: as easy as 1, 2, 3". Normal numbers by Box and
Muller (1958): with $u, v$ uniform, $\sqrt{-2 \ln u}\,\cos 2\pi v$ and $\sqrt{-2 \ln u}\,\sin 2\pi v$ are two of them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nbdl.runtime import memory
from nbdl.runtime.checks import check_int, check_number
from nbdl.runtime.errors import ArgumentError, DTypeError
from nbdl.runtime.jit import BLOCK, Kernel, cpu_kernel, cuda, cuda_kernel, scalar
from nbdl.runtime.vecmath import cos_turn, fma, log, sin_turn

_ROUNDS = 10
_WORD = np.uint64(32)
_LOW_WORD = 0xFFFFFFFF
_MULTIPLIER_0, _MULTIPLIER_1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_WEYL_0, _WEYL_1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)  # golden ratio and sqrt(3) - 1: the keys of the rounds

_UNIT_24, _UNIT_32, _UNIT_33 = np.float32(2.0**-24), np.float32(2.0**-32), np.float32(2.0**-33)
_UNIT_53, _UNIT_54, _UNIT_64 = np.float64(2.0**-53), np.float64(2.0**-54), np.float64(2.0**-64)
_MINUS_TWO_32, _MINUS_TWO_64 = np.float32(-2), np.float64(-2)

# ---------------------------------------------------------------- words and numbers


@scalar
def philox4x32(counter0, counter1, counter2, counter3, key0, key1):
    """Four random 32-bit words from a counter of four words and a key of two."""
    for _ in range(_ROUNDS):
        product0 = np.uint64(counter0) * _MULTIPLIER_0
        product1 = np.uint64(counter2) * _MULTIPLIER_1
        counter0 = np.uint32(product1 >> _WORD) ^ counter1 ^ key0
        counter2 = np.uint32(product0 >> _WORD) ^ counter3 ^ key1
        counter0, counter2 = np.uint32(counter0), np.uint32(counter2)
        counter1, counter3 = np.uint32(product1), np.uint32(product0)
        key0, key1 = np.uint32(np.uint64(key0) + _WEYL_0), np.uint32(np.uint64(key1) + _WEYL_1)
    return counter0, counter1, counter2, counter3


@scalar
def random_group(group, key0, key1, offset0, offset1):
    """The four words of a group of elements."""
    return philox4x32(np.uint32(group & _LOW_WORD), np.uint32(group >> 32 & _LOW_WORD), offset0, offset1, key0, key1)


@scalar
def join(high, low):
    """One 64-bit word of two."""
    return np.uint64(high) << _WORD | np.uint64(low)


@scalar
def uniform_float32(word):
    """A float32 in [0, 1): a multiple of 2^-24."""
    return np.float32(np.int32(word >> np.uint32(8))) * _UNIT_24


@scalar
def uniform_float64(high, low):
    """A float64 in [0, 1): a multiple of 2^-53."""
    return np.float64(np.int64(join(high, low) >> np.uint64(11))) * _UNIT_53


@scalar
def normal_pair_float32(word_u, word_v):
    """Two independent standard normal numbers, at most 6.8 in size."""
    u = fma(np.float32(word_u), _UNIT_32, _UNIT_33)  # in (0, 1]
    v = np.float32(np.int32(word_v)) * _UNIT_32  # a turn from -1/2 to 1/2
    radius = np.float32(math.sqrt(_MINUS_TWO_32 * log(u)))
    return radius * cos_turn(v), radius * sin_turn(v)


@scalar
def normal_pair_float64(word_0, word_1, word_2, word_3):
    """Two independent standard normal numbers, at most 8.7 in size."""
    u = fma(np.float64(np.int64(join(word_0, word_1) >> np.uint64(11))), _UNIT_53, _UNIT_54)
    v = np.float64(np.int64(join(word_2, word_3))) * _UNIT_64
    radius = math.sqrt(_MINUS_TWO_64 * log(u))
    return radius * cos_turn(v), radius * sin_turn(v)


@scalar
def below(high, low, span):
    """An integer in [0, span): the upper half of the product of 64 random bits and the span.

    Each value comes up floor or ceil of 2^64 / span times in 2^64: the bias is at most span / 2^64.
    """
    span_high, span_low = span >> _WORD, span & np.uint64(_LOW_WORD)
    high, low = np.uint64(high), np.uint64(low)
    carry = (
        (low * span_low >> _WORD) + (low * span_high & np.uint64(_LOW_WORD)) + (high * span_low & np.uint64(_LOW_WORD))
    )
    return high * span_high + (low * span_high >> _WORD) + (high * span_low >> _WORD) + (carry >> _WORD)


# ---------------------------------------------------------------- uniform


@cpu_kernel
def _uniform_float32_cpu(y, key0, key1, offset0, offset1, low, width, start, stop):
    """Fills y [N]. One task a group of four elements."""
    whole = stop if 4 * stop <= y.shape[0] else stop - 1  # the last group can be cut short
    for group in range(start, whole):
        a, b, c, d = random_group(group, key0, key1, offset0, offset1)
        y[4 * group] = fma(uniform_float32(a), width, low)
        y[4 * group + 1] = fma(uniform_float32(b), width, low)
        y[4 * group + 2] = fma(uniform_float32(c), width, low)
        y[4 * group + 3] = fma(uniform_float32(d), width, low)
    for group in range(max(start, whole), stop):
        words = random_group(group, key0, key1, offset0, offset1)
        for i in range(4 * group, y.shape[0]):
            y[i] = fma(uniform_float32(words[i % 4]), width, low)


@cuda_kernel
def _uniform_float32_cuda(y, key0, key1, offset0, offset1, low, width):
    """As the CPU twin. One thread a group."""
    group = cuda.blockIdx.x * BLOCK + cuda.threadIdx.x
    words = random_group(group, key0, key1, offset0, offset1)
    for i in range(4 * group, min(4 * group + 4, y.shape[0])):
        y[i] = fma(uniform_float32(words[i % 4]), width, low)


@cpu_kernel
def _uniform_float64_cpu(y, key0, key1, offset0, offset1, low, width, start, stop):
    """Fills y [N]. One task a group of two elements."""
    whole = stop if 2 * stop <= y.shape[0] else stop - 1  # the last group can be cut short
    for group in range(start, whole):
        a, b, c, d = random_group(group, key0, key1, offset0, offset1)
        y[2 * group] = fma(uniform_float64(a, b), width, low)
        y[2 * group + 1] = fma(uniform_float64(c, d), width, low)
    for group in range(max(start, whole), stop):
        a, b, _, _ = random_group(group, key0, key1, offset0, offset1)
        y[2 * group] = fma(uniform_float64(a, b), width, low)


@cuda_kernel
def _uniform_float64_cuda(y, key0, key1, offset0, offset1, low, width):
    """As the CPU twin. One thread a group."""
    group = cuda.blockIdx.x * BLOCK + cuda.threadIdx.x
    a, b, c, d = random_group(group, key0, key1, offset0, offset1)
    if 2 * group < y.shape[0]:
        y[2 * group] = fma(uniform_float64(a, b), width, low)
    if 2 * group + 1 < y.shape[0]:
        y[2 * group + 1] = fma(uniform_float64(c, d), width, low)


# ---------------------------------------------------------------- normal


@cpu_kernel
def _normal_float32_cpu(y, key0, key1, offset0, offset1, mean, deviation, start, stop):
    """Fills y [N]. One task a group of four elements."""
    whole = stop if 4 * stop <= y.shape[0] else stop - 1  # the last group can be cut short
    for group in range(start, whole):
        a, b, c, d = random_group(group, key0, key1, offset0, offset1)
        z0, z1 = normal_pair_float32(a, b)
        z2, z3 = normal_pair_float32(c, d)
        y[4 * group] = fma(z0, deviation, mean)
        y[4 * group + 1] = fma(z1, deviation, mean)
        y[4 * group + 2] = fma(z2, deviation, mean)
        y[4 * group + 3] = fma(z3, deviation, mean)
    for group in range(max(start, whole), stop):
        a, b, c, d = random_group(group, key0, key1, offset0, offset1)
        numbers = normal_pair_float32(a, b) + normal_pair_float32(c, d)
        for i in range(4 * group, y.shape[0]):
            y[i] = fma(numbers[i % 4], deviation, mean)


@cuda_kernel
def _normal_float32_cuda(y, key0, key1, offset0, offset1, mean, deviation):
    """As the CPU twin. One thread a group."""
    group = cuda.blockIdx.x * BLOCK + cuda.threadIdx.x
    a, b, c, d = random_group(group, key0, key1, offset0, offset1)
    numbers = normal_pair_float32(a, b) + normal_pair_float32(c, d)
    for i in range(4 * group, min(4 * group + 4, y.shape[0])):
        y[i] = fma(numbers[i % 4], deviation, mean)


@cpu_kernel
def _normal_float64_cpu(y, key0, key1, offset0, offset1, mean, deviation, start, stop):
    """Fills y [N]. One task a group of two elements."""
    whole = stop if 2 * stop <= y.shape[0] else stop - 1  # the last group can be cut short
    for group in range(start, whole):
        a, b, c, d = random_group(group, key0, key1, offset0, offset1)
        z0, z1 = normal_pair_float64(a, b, c, d)
        y[2 * group] = fma(z0, deviation, mean)
        y[2 * group + 1] = fma(z1, deviation, mean)
    for group in range(max(start, whole), stop):
        a, b, c, d = random_group(group, key0, key1, offset0, offset1)
        z0, _ = normal_pair_float64(a, b, c, d)
        y[2 * group] = fma(z0, deviation, mean)


@cuda_kernel
def _normal_float64_cuda(y, key0, key1, offset0, offset1, mean, deviation):
    """As the CPU twin. One thread a group."""
    group = cuda.blockIdx.x * BLOCK + cuda.threadIdx.x
    a, b, c, d = random_group(group, key0, key1, offset0, offset1)
    z0, z1 = normal_pair_float64(a, b, c, d)
    if 2 * group < y.shape[0]:
        y[2 * group] = fma(z0, deviation, mean)
    if 2 * group + 1 < y.shape[0]:
        y[2 * group + 1] = fma(z1, deviation, mean)


# ---------------------------------------------------------------- integers


@cpu_kernel
def _randint_cpu(y, key0, key1, offset0, offset1, low, span, start, stop):
    """Fills y [N], int64. One task a group of two elements."""
    whole = stop if 2 * stop <= y.shape[0] else stop - 1  # the last group can be cut short
    for group in range(start, whole):
        a, b, c, d = random_group(group, key0, key1, offset0, offset1)
        y[2 * group] = low + np.int64(below(a, b, span))
        y[2 * group + 1] = low + np.int64(below(c, d, span))
    for group in range(max(start, whole), stop):
        a, b, _, _ = random_group(group, key0, key1, offset0, offset1)
        y[2 * group] = low + np.int64(below(a, b, span))


@cuda_kernel
def _randint_cuda(y, key0, key1, offset0, offset1, low, span):
    """As the CPU twin. One thread a group."""
    group = cuda.blockIdx.x * BLOCK + cuda.threadIdx.x
    a, b, c, d = random_group(group, key0, key1, offset0, offset1)
    if 2 * group < y.shape[0]:
        y[2 * group] = low + np.int64(below(a, b, span))
    if 2 * group + 1 < y.shape[0]:
        y[2 * group + 1] = low + np.int64(below(c, d, span))


# ---------------------------------------------------------------- coin tosses


@cpu_kernel
def _bernoulli_cpu(y, key0, key1, offset0, offset1, threshold, start, stop):
    """Fills y [N] with 1 where a random word lies under the threshold (of 2^32). One task a group of four elements."""
    whole = stop if 4 * stop <= y.shape[0] else stop - 1  # the last group can be cut short
    for group in range(start, whole):
        a, b, c, d = random_group(group, key0, key1, offset0, offset1)
        y[4 * group] = a < threshold
        y[4 * group + 1] = b < threshold
        y[4 * group + 2] = c < threshold
        y[4 * group + 3] = d < threshold
    for group in range(max(start, whole), stop):
        words = random_group(group, key0, key1, offset0, offset1)
        for i in range(4 * group, y.shape[0]):
            y[i] = words[i % 4] < threshold


@cuda_kernel
def _bernoulli_cuda(y, key0, key1, offset0, offset1, threshold):
    """As the CPU twin. One thread a group."""
    group = cuda.blockIdx.x * BLOCK + cuda.threadIdx.x
    words = random_group(group, key0, key1, offset0, offset1)
    for i in range(4 * group, min(4 * group + 4, y.shape[0])):
        y[i] = words[i % 4] < threshold


# ---------------------------------------------------------------- permutation


@cpu_kernel
def _permutation_cpu(y, key0, key1, offset0, offset1, start, stop):
    """Fills y [N], int64. One task in all: each exchange of Fisher and Yates depends on those before.

    First y[i] gets a random place of [0, i], then i goes there and what was there moves to i.
    """
    for _ in range(start, stop):
        for i in range(y.shape[0]):
            a, b, _, _ = random_group(i, key0, key1, offset0, offset1)
            y[i] = np.int64(below(a, b, np.uint64(i + 1)))
        for i in range(y.shape[0]):
            place = y[i]
            y[i] = y[place]
            y[place] = i


@cuda_kernel
def _permutation_cuda(y, key0, key1, offset0, offset1):
    """As the CPU twin. One block: all threads draw, one exchanges."""
    for i in range(cuda.threadIdx.x, y.shape[0], BLOCK):
        a, b, _, _ = random_group(i, key0, key1, offset0, offset1)
        y[i] = np.int64(below(a, b, np.uint64(i + 1)))
    cuda.syncthreads()
    if cuda.threadIdx.x == 0:
        for i in range(y.shape[0]):
            place = y[i]
            y[i] = y[place]
            y[place] = i


# ---------------------------------------------------------------- kernels


def _fill_kernel(cpu: Any, cuda: Any, group: int) -> Kernel:
    """A pair whose tasks are groups of elements; ten rounds of a group are about a hundred operations."""
    return Kernel(
        cpu=cpu,
        cuda=cuda,
        tasks=lambda y, *_: -(-y.shape[0] // group),
        work=lambda y, *_: 32 * y.shape[0],
        blocks=lambda y, *_: -(-y.shape[0] // (group * BLOCK)),
    )


_uniform_float32 = _fill_kernel(_uniform_float32_cpu, _uniform_float32_cuda, 4)
_uniform_float64 = _fill_kernel(_uniform_float64_cpu, _uniform_float64_cuda, 2)
_normal_float32 = _fill_kernel(_normal_float32_cpu, _normal_float32_cuda, 4)
_normal_float64 = _fill_kernel(_normal_float64_cpu, _normal_float64_cuda, 2)
_randint = _fill_kernel(_randint_cpu, _randint_cuda, 2)
toss = _fill_kernel(_bernoulli_cpu, _bernoulli_cuda, 4)
"""The kernel of `bernoulli`: from one key and offset dropout gets the same tosses forward and backward."""
_permutation = Kernel(cpu=_permutation_cpu, cuda=_permutation_cuda, tasks=lambda *_: 1)

# ---------------------------------------------------------------- generator


class Generator:
    """A stream of random numbers: a seed, and how many fills were made.

    Args:
        seed: An integer in [0, 2^64).
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = 0
        self.offset = 0
        self.manual_seed(seed)

    def __repr__(self) -> str:
        return f"Generator(seed={self.seed}, offset={self.offset})"

    def manual_seed(self, seed: int) -> Generator:
        """Starts the stream of another seed from its beginning."""
        self.seed = check_int("seed", seed, 0, 2**64 - 1)
        self.offset = 0
        return self

    def get_state(self) -> np.ndarray:
        """The seed and the offset, as two uint64."""
        return np.array([self.seed, self.offset], np.uint64)

    def set_state(self, state: np.ndarray) -> None:
        """Goes on where `get_state` was called."""
        state = np.asarray(state)
        if state.shape != (2,) or state.dtype != np.uint64:
            raise ArgumentError(f"state: expected two uint64, got {state.dtype} {list(state.shape)}")
        self.seed, self.offset = int(state[0]), int(state[1])

    def next(self) -> tuple[Any, Any, Any, Any]:
        """The key and the upper half of the counter of the next fill, as four words: (key0, key1, offset0, offset1)."""
        words = tuple(np.uint32(value >> shift & _LOW_WORD) for value in (self.seed, self.offset) for shift in (0, 32))
        self.offset += 1
        return words  # type: ignore[return-value]


default_generator = Generator()
"""The stream of every random function that is not given a generator."""


def manual_seed(seed: int) -> Generator:
    """Starts the default stream of a seed, an integer in [0, 2^64), from its beginning."""
    return default_generator.manual_seed(seed)


# ---------------------------------------------------------------- fills


def _of(generator: Generator | None) -> Generator:
    return default_generator if generator is None else generator


def uniform(y: Any, low: float = 0.0, high: float = 1.0, generator: Generator | None = None) -> None:
    """Fills a contiguous array with numbers of [low, high); rounding can give `high` itself if it is not 1."""
    check_number("low", low)
    check_number("high", high, low=low)
    fill = _by_dtype(y, _uniform_float32, _uniform_float64)
    fill(y.reshape(-1), *_of(generator).next(), y.dtype.type(low), y.dtype.type(high - low))


def normal(y: Any, mean: float = 0.0, deviation: float = 1.0, generator: Generator | None = None) -> None:
    """Fills a contiguous array with normal numbers of a mean and a standard deviation."""
    check_number("mean", mean)
    check_number("deviation", deviation, low=0.0)
    fill = _by_dtype(y, _normal_float32, _normal_float64)
    fill(y.reshape(-1), *_of(generator).next(), y.dtype.type(mean), y.dtype.type(deviation))


def randint(y: Any, low: int, high: int, generator: Generator | None = None) -> None:
    """Fills a contiguous int64 array with integers of [low, high), each equally likely to within 2^-64 (high - low)."""
    if y.dtype != np.int64:
        raise DTypeError(f"y: expected int64, got {y.dtype}")
    low = check_int("low", low, -(2**63), 2**63 - 1)
    high = check_int("high", high, low + 1, 2**63 - 1)
    _randint(y.reshape(-1), *_of(generator).next(), np.int64(low), np.uint64(high - low))


def bernoulli(y: Any, probability: float, generator: Generator | None = None) -> None:
    """Fills a contiguous array of any dtype with ones, each with the given probability to within 2^-33, and zeros."""
    check_number("probability", probability, 0.0, 1.0)
    toss(y.reshape(-1), *_of(generator).next(), np.uint64(round(probability * 2**32)))


def permutation(n: int, generator: Generator | None = None) -> Any:
    """The integers of [0, n) in random order, as a new int64 array."""
    y = memory.empty((check_int("n", n, 0),), np.int64)
    _permutation(y, *_of(generator).next())
    return y


def _by_dtype(y: Any, float32: Kernel, float64: Kernel) -> Kernel:
    if y.dtype == np.float32:
        return float32
    if y.dtype == np.float64:
        return float64
    raise DTypeError(f"y: expected float32 or float64, got {y.dtype}")
