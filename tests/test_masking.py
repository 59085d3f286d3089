"""Masked tokens, cloze by counts, and the library's source: windows, the rule, the split, what is taken out."""

import itertools

import numpy as np
import pytest

from nbdl import data
from nbdl.data.source import FEWEST_FILES, NEUTRAL, SourceFile

MASK, SIZE, SPECIAL = 3, 50, 4
HIDING = {"mask": MASK, "size": SIZE, "special": SPECIAL}


def random_windows(count=200, length=21, seed=0):
    windows = np.random.default_rng(seed).integers(SPECIAL, SIZE, (count, length))
    windows[:, 0] = 1
    return windows


# ---------------------------------------------------------------- windows


def test_windows_hold_all_texts_in_order():
    texts = [np.arange(10, 15), np.arange(20, 22), np.arange(30, 39)]
    windows = data.framed_windows(texts, length=5, first=1, between=2)
    assert (windows[:, 0] == 1).all() and windows.shape == (4, 5)
    joined = [*range(10, 15), 2, 20, 21, 2, *range(30, 39), 2]
    assert windows[:, 1:].reshape(-1).tolist() == joined[:16]


def test_windows_that_are_refused():
    with pytest.raises(data.EmptyDataError, match="texts"):
        data.framed_windows([np.arange(3)], length=6, first=0, between=1)
    with pytest.raises(data.EmptyDataError, match="texts"):
        data.framed_windows([], length=6, first=0, between=1)
    with pytest.raises(data.DataArgumentError, match="length"):
        data.framed_windows([np.arange(3)], length=1, first=0, between=1)


# ---------------------------------------------------------------- the rule


def test_eight_of_ten_are_masked_one_drawn_one_left():
    windows = random_windows(4000)
    shown, places, targets = data.mask_tokens(windows, 0.15, data.RandomStream(), **HIDING)
    assert len(places) == 4000 * 3  # 15 % of the 20 tokens of a window
    assert np.array_equal(windows.reshape(-1)[places], targets)
    stands = shown.reshape(-1)[places]
    assert np.mean(stands == MASK) == pytest.approx(0.8, abs=0.02)
    kept = np.mean(stands == targets)
    assert kept == pytest.approx(0.1 + 0.1 / (SIZE - SPECIAL), abs=0.01)
    assert stands[stands != MASK].min() == SPECIAL and stands.max() == SIZE - 1
    untouched = np.delete(np.arange(windows.size), places)
    assert np.array_equal(shown.reshape(-1)[untouched], windows.reshape(-1)[untouched])


def test_special_tokens_are_never_chosen():
    windows = random_windows(50)
    windows[:, 3:20] = 2
    windows[7] = 1
    shown, places, targets = data.mask_tokens(windows, 0.5, data.RandomStream(), always=True, **HIDING)
    assert (targets >= SPECIAL).all()
    assert np.array_equal(np.bincount(places // 21, minlength=50), [3] * 7 + [0] + [3] * 42)
    assert (np.diff(places) > 0).all()
    assert (shown.reshape(-1)[places] == MASK).all()


@pytest.mark.parametrize("share", [0, 1, -0.1, np.nan, 2])
def test_shares_that_are_refused(share):
    with pytest.raises(data.DataArgumentError, match="share"):
        data.mask_tokens(random_windows(2), share, data.RandomStream(), **HIDING)


def test_a_loader_hides_others_every_epoch_and_goes_on_where_it_was():
    def loader():
        return data.MaskingLoader(random_windows(), 32, 0.15, seed=5, **HIDING)

    def epochs(masking, count):
        return [[[field.tolist() for field in batch] for batch in masking] for _ in range(count)]

    first, second = epochs(loader(), 2)
    assert [first, second] == epochs(loader(), 2) and len(first) == len(loader()) == 7
    assert first[0][1] != second[0][1]
    assert first[0][1] != first[1][1]
    stopped = loader()
    for _ in itertools.islice(stopped, 3):
        pass
    state = stopped.state_dict()
    resumed = loader()
    resumed.load_state_dict(state)
    assert epochs(resumed, 2) == [first[3:], second]
    with pytest.raises(data.DataArgumentError, match="seed"):
        data.MaskingLoader(random_windows(), 32, 0.15, seed=6, **HIDING).load_state_dict(state)


def test_a_test_hides_the_same_every_time():
    judged = data.MaskingLoader(random_windows(), 64, 0.15, always=True, **HIDING)
    first, second = ([[field.tolist() for field in batch] for batch in judged] for _ in range(2))
    assert first == second


# ---------------------------------------------------------------- cloze by counts


def test_a_cloze_model_counts():
    windows = np.array([[0, 5, 6, 7, 5, 6, 7, 5, 8, 9]])
    shown = np.array([[0, 5, MASK, 7, 5, MASK, 7]])
    places, targets = np.array([2, 5]), np.array([6, 8])
    size, kinds, total = 10, 6, 10
    unigram = data.ClozeModel(windows, size, reach=0).probabilities(shown, places, targets, MASK)
    expected = [(2 + kinds / size) / (total + kinds), (1 + kinds / size) / (total + kinds)]
    np.testing.assert_allclose(unigram, expected)
    # After 5: 6 twice, 8 once, of two kinds. Between 5 and 7: 6 twice.
    left = [(2 + 2 * expected[0]) / 5, (1 + 2 * expected[1]) / 5]
    both = [(2 + 1 * left[0]) / 3, (0 + 1 * left[1]) / 3]
    model = data.ClozeModel(windows, size, reach=1)
    np.testing.assert_allclose(model.probabilities(shown, places, targets, MASK), both)


def test_hidden_neighbours_and_edges_are_passed_over():
    windows = random_windows(30)
    windows[::2, ::2] = MASK  # as if what is counted in were hidden too
    one, far = (data.ClozeModel(windows, SIZE, reach) for reach in (0, 2))
    alone = np.array([[MASK]])
    p = far.probabilities(alone, np.array([0]), np.array([9]), MASK)
    assert p == one.probabilities(alone, np.array([0]), np.array([9]), MASK)
    crowd = np.full((1, 7), MASK)
    assert far.probabilities(crowd, np.array([3]), np.array([9]), MASK) == p


@pytest.mark.parametrize("reach", [0, 1, 2])
def test_chances_of_all_tokens_sum_to_one(reach):
    windows = random_windows(100, 8) % 7 + SPECIAL
    model = data.ClozeModel(windows, 11, reach)
    shown, places, _ = data.mask_tokens(windows[:20], 0.2, data.RandomStream(), MASK, 11, SPECIAL, always=True)
    total = sum(model.probabilities(shown, places, np.full(len(places), token), MASK) for token in range(11))
    np.testing.assert_allclose(total, 1)


def test_cloze_models_that_are_refused():
    with pytest.raises(data.DataArgumentError, match="reach"):
        data.ClozeModel(random_windows(2), SIZE, reach=-1)
    with pytest.raises(data.DataArgumentError, match=r"reach.*2\*\*63"):
        data.ClozeModel(random_windows(2), SIZE, reach=6)
    with pytest.raises(data.TokenError, match="windows"):
        data.ClozeModel(random_windows(2), SPECIAL, reach=1)


# ---------------------------------------------------------------- the library's source


@pytest.fixture
def library(tmp_path):
    """A small library: two packages large enough, one small one, modules, and what is to be left out."""
    line = "def value_{}(x):\n    return json.loads(x, {})\n\n"
    for package in ("json", "xmlrpc"):
        for number in range(FEWEST_FILES):
            path = tmp_path / package / f"part{number}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text("import json\n" + "".join(line.format(n, number) for n in range(300)))
    for name, text in {
        "small/one.py": "x = 1\n",
        "alone.py": "y = 2\n",
        "json/tests/test_it.py": "skipped",
        "encodings/ascii.py": "skipped",
        "site-packages/other/x.py": "skipped",
        "config-3.11/x.py": "skipped",
        "json/empty.py": " \n",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "latin.py").write_bytes("x = 'é'".encode("latin-1"))
    return tmp_path


def test_what_of_a_library_is_read(library):
    files = data.standard_library(library)
    paths = [file.path for file in files]
    assert paths == sorted(paths) and "small/one.py" in paths and "alone.py" in paths
    assert len(files) == 2 * FEWEST_FILES + 2
    assert {file.package for file in files} == {"", "json", "xmlrpc", "small"}
    assert data.library_packages(files) == ["json", "xmlrpc"]


@pytest.fixture(scope="module")
def python_files():
    return data.standard_library()


def test_every_machine_has_the_library(python_files):
    assert {"asyncio", "email", "json"} <= set(data.library_packages(python_files))


def test_libraries_that_are_refused(tmp_path):
    with pytest.raises(data.DataFileError, match="no such folder"):
        data.standard_library(tmp_path / "nowhere")
    with pytest.raises(data.EmptyDataError, match="source files"):
        data.standard_library(tmp_path)


def test_the_answer_does_not_stand_in_the_text():
    text = (
        "import json\n"
        "from xmlrpc import (client,\n"
        "                    server)\n"
        "from a.b import c, \\\n"
        "    d\n"
        "    import re  # inside\n"
        "importer = JSONDecoder(xmlrpc_json)\n"
        "from_json = 'from here'\n"
        "from (\n"
    )
    (file,) = data.without_package_names([SourceFile("json", "json/x.py", text)], ["xml", "json", "xmlrpc"])
    assert file.text == (f"importer = {NEUTRAL}Decoder({NEUTRAL}_{NEUTRAL})\nfrom_{NEUTRAL} = 'from here'\nfrom (\n")


def test_no_package_no_change():
    file = SourceFile("", "x.py", "json\n")
    assert data.without_package_names([file], []) == [file]


def test_a_file_is_in_one_part(library):
    files = data.standard_library(library)
    parts = data.split_by_file(files)
    assert sorted(file.path for part in parts.values() for file in part) == [file.path for file in files]
    assert parts == data.split_by_file(files[::-1])
    for package in ("json", "xmlrpc"):
        assert [sum(file.package == package for file in parts[part]) for part in parts] == [3, 1, 1]
    assert [file.path for file in parts["train"] if file.package == "small"] == ["small/one.py"]


def test_parts_of_the_library_have_their_shares(python_files):
    parts = data.split_by_file(python_files)
    sizes = {part: sum(len(file.text) for file in chosen) for part, chosen in parts.items()}
    assert sizes["test"] / sum(sizes.values()) == pytest.approx(0.2, abs=0.05)
    assert sizes["validation"] / sum(sizes.values()) == pytest.approx(0.1, abs=0.05)
    for package in data.library_packages(python_files):
        assert all(any(file.package == package for file in chosen) for chosen in parts.values()), package


def test_snippets():
    assert data.snippets("a\n\n  \nb\nc\nd\ne", 2) == ["a\nb\n", "c\nd\n"]
    assert data.snippets("", 2) == []
    with pytest.raises(data.DataArgumentError, match="lines"):
        data.snippets("a", 0)
