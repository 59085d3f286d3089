"""Random numbers: the published test vectors, the same bits on both targets and any split, and their statistics."""

import os
import subprocess
import sys

import numpy as np
import pytest

from nbdl.runtime import philox, threads
from nbdl.runtime.errors import ArgumentError, DTypeError
from nbdl.runtime.jit import cpu_function
from nbdl.runtime.philox import Generator
from nbdl.testing import simt

FILLS = {
    "uniform float32": lambda y, g: philox.uniform(y, -1, 2, g),
    "uniform float64": lambda y, g: philox.uniform(y, -1, 2, g),
    "normal float32": lambda y, g: philox.normal(y, 1, 2, g),
    "normal float64": lambda y, g: philox.normal(y, 1, 2, g),
    "randint int64": lambda y, g: philox.randint(y, -3, 10, g),
    "bernoulli bool": lambda y, g: philox.bernoulli(y, 0.3, g),
    "bernoulli float32": lambda y, g: philox.bernoulli(y, 0.3, g),
}


def filled(name, size, seed=7, offset=0):
    y = np.empty(size, name.split()[1])
    generator = Generator(seed)
    generator.offset = offset
    FILLS[name](y, generator)
    return y


@cpu_function
def words_of(counter, key):
    return philox.philox4x32(counter[0], counter[1], counter[2], counter[3], key[0], key[1])


# Random123, examples/kat_vectors: counter, key, output.
KNOWN_ANSWERS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


@pytest.mark.parametrize(("counter", "key", "output"), KNOWN_ANSWERS)
def test_known_answers(counter, key, output):
    counter, key, output = (
        np.array([int(word, 16) for word in text.split()], np.uint32) for text in (counter, key, output)
    )
    assert list(words_of(counter, key)) == list(output)


def test_the_counter_holds_group_and_offset_and_the_key_the_seed():
    generator = Generator(2**40 + 5)
    generator.offset = 2**33 + 1
    key0, key1, offset0, offset1 = generator.next()
    assert (key0, key1, offset0, offset1) == (5, 2**8, 1, 2)
    expected = words_of(np.array([3, 0, 1, 2], np.uint32), np.array([5, 2**8], np.uint32))
    generator.offset -= 1
    y = np.empty(16, np.float32)
    philox.uniform(y, generator=generator)
    np.testing.assert_array_equal(y[12:], [np.float32((word >> 8) * 2.0**-24) for word in expected])


@pytest.mark.simt
@pytest.mark.parametrize("size", [1, 6, 700])
@pytest.mark.parametrize("name", FILLS)
def test_the_cuda_twin_gives_the_same_bits(name, size):
    with simt.target():
        interpreted = filled(name, size)
    np.testing.assert_array_equal(interpreted, filled(name, size))


@pytest.mark.simt
def test_the_cuda_twin_permutes_alike():
    with simt.target():
        interpreted = philox.permutation(50, Generator(3))
    np.testing.assert_array_equal(interpreted, philox.permutation(50, Generator(3)))


@pytest.mark.parametrize("name", FILLS)
def test_an_element_depends_on_seed_offset_and_index_alone(name):
    long = filled(name, 100_003)
    np.testing.assert_array_equal(filled(name, 1001), long[:1001])
    before = threads.get_num_threads()
    try:
        for count in (1, 2, 3):
            threads.set_num_threads(count)
            np.testing.assert_array_equal(filled(name, 100_003), long)
    finally:
        threads.set_num_threads(before)
    assert not np.array_equal(filled(name, 1000, seed=8), long[:1000])
    assert not np.array_equal(filled(name, 1000, offset=1), long[:1000])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_uniform_numbers_are_uniform(dtype):
    y = np.empty(1_000_000, dtype)
    philox.uniform(y, generator=Generator(1))
    assert y.min() >= 0 and y.max() < 1
    counts = np.histogram(y, 100, (0, 1))[0]
    assert ((counts - 10_000) ** 2 / 10_000).sum() < 160  # chi-square with 99 degrees of freedom: 1 in 10,000
    assert abs(np.corrcoef(y[:-1], y[1:])[0, 1]) < 4e-3


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_normal_numbers_are_normal(dtype):
    y = np.empty(1_000_000, dtype)
    philox.normal(y, generator=Generator(2))
    wide = y.astype(np.float64)
    assert abs(wide.mean()) < 4e-3
    assert abs(wide.var() - 1) < 6e-3
    assert abs((wide**3).mean()) < 1.6e-2
    assert abs((wide**4).mean() - 3) < 5e-2
    assert np.isfinite(y).all() and np.abs(y).max() < 7
    assert abs((np.abs(wide) > 2).mean() - 0.0455003) < 1e-3


def test_normal_numbers_take_mean_and_deviation():
    y = filled("normal float64", 100_000)
    assert abs(y.mean() - 1) < 0.03
    assert abs(y.std() - 2) < 0.03


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-3, 4), (0, 2**33 + 7), (-(2**62), 2**62), (-(2**63), 2**63 - 1)])
def test_integers_fill_their_range_evenly(low, high):
    y = np.empty(70_000, np.int64)
    philox.randint(y, low, high, Generator(3))
    assert y.min() >= low and y.max() < high
    parts = np.array([(int(v) - low) * 7 // (high - low) for v in y])
    if high - low >= 7:
        counts = np.bincount(parts, minlength=7)
        assert ((counts - 10_000) ** 2 / 10_000).sum() < 28


@pytest.mark.parametrize("probability", [0.0, 0.25, 1.0])
def test_coin_tosses(probability):
    y = np.empty(100_000, bool)
    philox.bernoulli(y, probability, Generator(4))
    assert abs(y.mean() - probability) < 6e-3
    if probability in (0.0, 1.0):
        assert (y == bool(probability)).all()


@pytest.mark.parametrize("n", [0, 1, 2, 1000])
def test_permutations(n):
    y = philox.permutation(n, Generator(5))
    np.testing.assert_array_equal(np.sort(y), np.arange(n))


def test_each_permutation_of_three_is_equally_likely():
    generator = Generator(6)
    drawn = [tuple(philox.permutation(3, generator)) for _ in range(6000)]
    counts = np.array([drawn.count(order) for order in set(drawn)])
    assert len(counts) == 6
    assert ((counts - 1000) ** 2 / 1000).sum() < 26


def test_a_state_can_be_taken_up_again():
    generator = Generator(9)
    filled_before = np.empty(3)
    philox.uniform(filled_before, generator=generator)
    state = generator.get_state()
    first, again = np.empty(5), np.empty(5)
    philox.normal(first, generator=generator)
    other = Generator()
    other.set_state(state)
    philox.normal(again, generator=other)
    np.testing.assert_array_equal(first, again)
    assert repr(other) == "Generator(seed=9, offset=2)"


def test_the_default_stream():
    first, again = np.empty(5), np.empty(5)
    philox.manual_seed(11)
    philox.uniform(first)
    assert philox.manual_seed(11) is philox.default_generator
    philox.uniform(again)
    np.testing.assert_array_equal(first, again)


def test_bad_arguments():
    y = np.empty(3, np.float32)
    with pytest.raises(ArgumentError, match="seed"):
        Generator(-1)
    with pytest.raises(ArgumentError, match="state"):
        Generator().set_state(np.zeros(3))
    with pytest.raises(ArgumentError, match="high"):
        philox.uniform(y, 1, 0)
    with pytest.raises(ArgumentError, match="deviation"):
        philox.normal(y, 0, -1)
    with pytest.raises(ArgumentError, match="probability"):
        philox.bernoulli(y, 1.5)
    with pytest.raises(ArgumentError, match="high"):
        philox.randint(np.empty(3, np.int64), 5, 5)
    with pytest.raises(DTypeError):
        philox.uniform(np.empty(3, np.int64))
    with pytest.raises(DTypeError):
        philox.randint(y, 0, 5)


_COUNT = """
import re
from numba import types
from nbdl.runtime import philox
array, number = types.Array(types.float32, 1, "C"), types.float32
kernel = philox._uniform_float32_cpu
kernel.compile((array, *[types.uint32] * 4, number, number, types.int64, types.int64))
(code,) = kernel.inspect_asm().values()
print(len(re.findall(r"vpmuludq\\s.*[yz]mm", code)))
"""


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="reads x86 assembly")
@pytest.mark.parametrize("cpu", ["haswell", "skylake-avx512"])
def test_ten_rounds_become_vector_instructions(cpu, tmp_path):
    environment = os.environ | {"NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": "", "NUMBA_DISABLE_JIT": "0"}
    environment["NBDL_CACHE_DIR"] = str(tmp_path)  # what comes from a cache has no assembly
    done = subprocess.run([sys.executable, "-c", _COUNT], env=environment, capture_output=True, text=True, check=True)
    assert int(done.stdout) >= 40  # ten rounds of two products, for the even and for the odd words


@pytest.mark.parametrize("span", [1, 7, 2**32 - 1, 2**32 + 5, 2**62 + 2**31 + 3, 2**63 - 1])
def test_an_integer_below_a_span_is_the_upper_half_of_a_product(span):
    for high, low in ((0, 0), (2**32 - 1, 2**32 - 1), (0x9E3779B9, 0xBB67AE85), (1, 2**31), (2**31 + 7, 0xDEADBEEF)):
        found = philox.below.py_func(np.uint64(high), np.uint64(low), np.uint64(span))
        assert int(found) == ((high << 32 | low) * span) >> 64
