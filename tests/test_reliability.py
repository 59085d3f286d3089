"""A sample of every promise; `make reliability` proves them in full."""

import pytest

from tests.reliability import files, memory, numerics, packages, processes, saving
from tests.reliability.area import BrokenPromiseError


@pytest.fixture(scope="module")
def readers(tmp_path_factory):
    return files.readers(tmp_path_factory.mktemp("good"))


@pytest.mark.parametrize(
    "name",
    [
        *("idx", "idx under gzip", "zip", "tar", "tar under gzip", "wav", "csv", "checkpoint", "safetensors"),
        *("published config.json", "published model.safetensors", "published tokenizer.json"),
    ],
)
def test_damaged_files_are_refused_by_name(readers, name, tmp_path):
    figures = files.try_reader(name, readers[name], tmp_path, 150, seed=7)
    assert figures[f"{name}: refused"] > 5


def test_flipped_bits_are_noticed(readers, tmp_path):
    checked = [name for name, reader in readers.items() if reader.checked is not None]
    assert sum(files.try_flips(name, readers[name], tmp_path, 100) for name in checked) == 200


def test_a_reader_that_lets_something_through_is_found(readers, tmp_path):
    """The proof itself: a reader with another error, one that is greedy, one that litters, one that sees nothing."""

    def careless(path, folder):
        if path.read_bytes() != good.good:
            raise KeyError("header")

    def greedy(path, folder):
        return bytearray(10**7)

    def littering(path, folder):
        path.with_name("elsewhere").touch()

    good = readers["wav"]
    for read, said in ((careless, "KeyError"), (greedy, "bytes, more than"), (littering, "left {'elsewhere'}")):
        with pytest.raises(BrokenPromiseError, match=said):
            files.try_reader("wav", files.Reader(good.good, read), tmp_path, 20)
    with pytest.raises(BrokenPromiseError, match="was not noticed"):
        files.try_flips("wav", files.Reader(good.good, lambda path, folder: None, (0, 20)), tmp_path, 1)


def test_saving():
    saving.kill_while_saving(3)
    saving.resume_at(3)
    saving.full_disk_and_closed_folder()


def test_a_graph_ends_with_its_last_reference():
    assert memory.no_cycles() == 0


def test_numbers():
    numerics.stable()
    numerics.long_sums(1_000_000)
    numerics.found_at_once()


def test_processes():
    assert processes.run(processes.FORK) == "0"
    assert processes.run(processes.THREADED, "40") == "0"


def test_nothing_reads_pickles():
    assert set(packages.imports_of_pickle()) <= packages.PICKLES
