"""The data floor: orders that repeat, loaders that resume, and CSV files that say what is wrong with them."""

import doctest
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest

import nbdl.data
import nbdl.data.collate
import nbdl.data.dataset
import nbdl.data.handwriting
import nbdl.data.loader
from nbdl import data
from nbdl.data.order import random_order

# ---------------------------------------------------------------- orders and splits


def test_random_order_is_a_fixed_permutation():
    assert random_order(10, 0, 3).tolist() == [5, 4, 6, 7, 9, 0, 1, 2, 3, 8]  # the same on every machine, for ever
    assert sorted(random_order(1000, 7)) == list(range(1000))
    assert random_order(50, 0, 0).tolist() != random_order(50, 0, 1).tolist()
    assert random_order(0, 0).shape == (0,)


@pytest.mark.parametrize("seed", [-1, 1.5, True, "0", 2**63])
def test_seed_must_be_a_whole_number(seed):
    with pytest.raises(data.DataArgumentError, match="seed: expected a whole number"):
        data.DataLoader(np.arange(3), seed=seed)


def test_random_split_covers_everything_once():
    whole = data.ArrayDataset(np.arange(11))
    parts = data.random_split(whole, [0.5, 0.25, 0.25], seed=3)
    assert [len(part) for part in parts] == [6, 3, 2]
    assert sorted(int(part[i][0]) for part in parts for i in range(len(part))) == list(range(11))
    assert [len(part) for part in data.random_split(whole, [4, 7])] == [4, 7]
    one = data.random_split(data.ArrayDataset(np.arange(1)), [1])
    assert len(one[0]) == 1


@pytest.mark.parametrize("lengths", [[], [5, 5], [-1, 12], [0.5, 0.6], [float("nan"), 1]])
def test_random_split_refuses_lengths_that_do_not_add_up(lengths):
    with pytest.raises(data.DataArgumentError, match="lengths"):
        data.random_split(data.ArrayDataset(np.arange(11)), lengths)


def test_stratified_split_gives_every_class_its_share():
    labels = np.repeat([0, 1, 2], [100, 50, 10])
    train, test = data.stratified_split(labels, 0.2, seed=1)
    assert np.bincount(labels[test]).tolist() == [20, 10, 2]
    assert sorted([*train, *test]) == list(range(160))
    assert not np.array_equal(test, data.stratified_split(labels, 0.2, seed=2)[1])


def test_stratified_split_keeps_rare_classes_in_the_training_part():
    labels = np.array(["a"] * 8 + ["b"])
    train, _ = data.stratified_split(labels, 0.5)
    assert "b" in labels[train]
    with pytest.raises(data.EmptyDataError, match="a class with at least two rows"):
        data.stratified_split(["a", "b", "c"], 0.4)
    with pytest.raises(data.EmptyDataError, match="at least one row on each side"):
        data.stratified_split(["a"], 0.4)
    with pytest.raises(data.DataArgumentError, match="fraction"):
        data.stratified_split(["a", "a"], 1.0)


# ---------------------------------------------------------------- data sets


def test_array_dataset():
    dataset = data.ArrayDataset(np.arange(6).reshape(3, 2), [7, 8, 9])
    x, y = dataset.take(np.array([2, 2, 0]))
    assert x.tolist() == [[4, 5], [4, 5], [0, 1]] and y.tolist() == [9, 9, 7]
    assert dataset[1][1] == 8 and len(dataset) == 3 and data.TensorDataset is data.ArrayDataset
    x[:] = 0
    assert dataset.arrays[0][2, 1] == 5, "a batch is a copy"


@pytest.mark.parametrize("arrays", [(), (np.float32(1),), (np.zeros(3), np.zeros(4))])
def test_array_dataset_refuses(arrays):
    with pytest.raises(data.DataArgumentError, match="arrays"):
        data.ArrayDataset(*arrays)


def test_subset_and_concat():
    dataset = data.ArrayDataset(np.arange(5) * 10)
    joined = data.Subset(dataset, [4, -5]) + data.Subset([(1,), (2,)], [1])
    assert [int(joined[i][0]) for i in range(3)] == [40, 0, 2] and int(joined[-1][0]) == 2
    assert joined.take(np.array([2, 0]))[0].tolist() == [2, 40]
    assert data.Subset(data.Subset(dataset, [3, 1]), [0]).take(np.array([0]))[0].tolist() == [30]
    with pytest.raises(IndexError, match="got 3"):
        joined[3]
    with pytest.raises(data.DataArgumentError, match="from -5 to 4, got 5"):
        data.Subset(dataset, [5])
    with pytest.raises(data.DataArgumentError, match="whole numbers"):
        data.Subset(dataset, [0.5])
    with pytest.raises(data.EmptyDataError):
        data.ConcatDataset([])


# ---------------------------------------------------------------- loader


class Squares(data.Dataset):
    def __len__(self):
        return 7

    def __getitem__(self, index):
        return {"x": np.full(2, index, np.float32), "y": index**2, "name": f"row {index}"}


def flat(loader):
    return [batch[0].tolist() for batch in loader]


def test_batch_size_chooses_the_form_of_descent():
    dataset = data.ArrayDataset(np.arange(5))
    assert flat(data.DataLoader(dataset)) == [[0], [1], [2], [3], [4]]
    assert flat(data.DataLoader(dataset, 2)) == [[0, 1], [2, 3], [4]]
    assert flat(data.DataLoader(dataset, 2, drop_last=True)) == [[0, 1], [2, 3]]
    for full in ("full", None, 5):
        assert flat(data.DataLoader(dataset, full)) == [[0, 1, 2, 3, 4]]
    assert [len(data.DataLoader(dataset, n)) for n in (1, 2, 5, 9)] == [5, 3, 1, 1]


def test_order_depends_on_seed_and_epoch_alone():
    dataset = data.ArrayDataset(np.arange(20))
    first = data.DataLoader(dataset, 3, shuffle=True, seed=5)
    second = data.DataLoader(dataset, 3, shuffle=True, seed=5, prefetch=3)
    epochs = [flat(first), flat(first)]
    assert epochs == [flat(second), flat(second)]
    assert epochs[0] != epochs[1] and sorted(np.concatenate(epochs[1])) == list(range(20))
    assert epochs[0] != flat(data.DataLoader(dataset, 3, shuffle=True, seed=6))


def test_a_loop_that_was_left_is_followed_by_the_next_epoch():
    dataset = data.ArrayDataset(np.arange(20))
    whole, left = (data.DataLoader(dataset, 3, shuffle=True) for _ in range(2))
    _, second_epoch = flat(whole), flat(whole)
    for _ in left:
        break
    assert flat(left) == second_epoch


@pytest.mark.parametrize("prefetch", [0, 2])
@pytest.mark.parametrize("batches", range(0, 8))
def test_resume_goes_on_with_the_very_next_batch(batches, prefetch):
    dataset = data.ArrayDataset(np.arange(20))
    whole = data.DataLoader(dataset, 6, shuffle=True, seed=2)
    expected = [batch for _ in range(3) for batch in flat(whole)]
    first = data.DataLoader(dataset, 6, shuffle=True, seed=2, prefetch=prefetch)
    seen = []
    while len(seen) < batches:
        for (batch,) in first:
            seen.append(batch.tolist())
            if len(seen) == batches:
                break
    resumed = data.DataLoader(dataset, 6, shuffle=True, seed=2, prefetch=prefetch)
    resumed.load_state_dict(first.state_dict())
    while len(seen) < len(expected):
        seen += flat(resumed)
    assert seen == expected


def test_state_of_another_loader_is_refused():
    dataset = data.ArrayDataset(np.arange(20))
    state = data.DataLoader(dataset, 6, seed=2).state_dict()
    for other in (
        data.DataLoader(dataset, 6, seed=3),
        data.DataLoader(dataset, 5, seed=2),
        data.DataLoader(dataset, 6, seed=2, shuffle=True),
        data.DataLoader(data.ArrayDataset(np.arange(19)), 6, seed=2),
    ):
        with pytest.raises(data.DataArgumentError, match="as in the saved order"):
            other.load_state_dict(state)


def test_samples_are_collated_field_by_field():
    (first, *_, last) = data.DataLoader(Squares(), 3)
    assert first["x"].shape == (3, 2) and first["x"].dtype == np.float32
    assert first["y"].tolist() == [0, 1, 4] and first["name"] == ["row 0", "row 1", "row 2"]
    assert last["y"].tolist() == [36]
    assert flat(data.DataLoader([(1, 2.5), (3, 4.5)], 2)) == [[1, 3]]
    (rows,) = data.DataLoader(np.arange(6).reshape(3, 2), 3)
    assert rows.shape == (3, 2), "a plain array is a data set of its rows"


def test_own_collate_function():
    loader = data.DataLoader(Squares(), 4, collate_fn=lambda samples: [sample["y"] for sample in samples])
    assert list(loader) == [[0, 1, 4, 9], [16, 25, 36]]


def test_samples_that_do_not_fit_together():
    with pytest.raises(data.DataArgumentError, match="one shape"):
        list(data.DataLoader([np.zeros(2), np.zeros(3)], 2))
    with pytest.raises(data.DataArgumentError, match="2 fields"):
        list(data.DataLoader([(1, 2), (1,)], 2))
    with pytest.raises(data.DataArgumentError, match="got object"):
        list(data.DataLoader([object()], 1))


def test_prefetch_works_ahead_hands_errors_over_and_ends_its_threads():
    class Slow(data.Dataset):
        seen: set

        def __len__(self):
            return 8

        def __getitem__(self, index):
            self.seen.add(threading.current_thread().name)
            if index == 6:
                raise RuntimeError("sample 6 is damaged")
            return index

    dataset = Slow()
    dataset.seen = set()
    got = []
    with pytest.raises(RuntimeError, match="sample 6"):
        for batch in data.DataLoader(dataset, 2, prefetch=2):
            got += batch.tolist()
    assert got == [0, 1, 2, 3, 4, 5]
    assert all(name.startswith("nbdl-prefetch") for name in dataset.seen)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("nbdl-prefetch")]


@pytest.mark.parametrize("arguments", [{"batch_size": 0}, {"batch_size": 2.0}, {"batch_size": "all"}, {"prefetch": -1}])
def test_loader_refuses(arguments):
    with pytest.raises(data.DataArgumentError, match=next(iter(arguments))):
        data.DataLoader(np.arange(4), **arguments)


def test_empty_data_is_refused():
    with pytest.raises(data.EmptyDataError, match="at least one sample"):
        data.DataLoader(np.zeros((0, 3)))
    with pytest.raises(data.EmptyDataError, match="drop_last"):
        data.DataLoader(np.zeros(3), 4, drop_last=True)


# ---------------------------------------------------------------- digits


def test_digits():
    train, test = data.digits()
    assert repr(train) == "ArrayDataset(float32[1437, 64], int64[1437])" and len(test) == 360
    images, labels = test.arrays
    assert images.min() == 0 and images.max() == 1
    assert np.bincount(labels).tolist() == [36, 37, 35, 37, 36, 36, 36, 36, 35, 36]
    pictures, _ = data.digits(flatten=False)
    assert np.array_equal(pictures.arrays[0].reshape(-1, 64), train.arrays[0])


def test_digits_are_those_of_scikit_learn():
    datasets = pytest.importorskip("sklearn.datasets")
    bunch = datasets.load_digits()
    train, test = data.digits()
    ours = np.concatenate([train.arrays[0], test.arrays[0]]) * 16
    assert np.array_equal(np.sort(ours, axis=0), np.sort(bunch.data, axis=0))
    assert np.array_equal(np.bincount(np.concatenate([train.arrays[1], test.arrays[1]])), np.bincount(bunch.target))


def test_digits_without_scikit_learn(monkeypatch):
    monkeypatch.setattr(nbdl.data.handwriting, "find_spec", lambda name: None)
    with pytest.raises(data.MissingPackageError, match=r"pip install 'nbdl\[examples\]'"):
        data.digits()


# ---------------------------------------------------------------- CSV files

FLOWERS = "length,width,colour,kind\n" + "".join(
    f"{i},{i * i},{['red', 'blue'][i % 2]},{['lily', 'rose'][i % 3 == 0]}\n" for i in range(30)
)


@pytest.fixture
def csv_file(tmp_path):
    def write(text):
        path = tmp_path / "table.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_csv_classification(csv_file):
    table = data.load_csv(csv_file(FLOWERS), "kind", categorical=["colour"])
    assert table.task == "classification" and table.classes == ("lily", "rose")
    assert table.feature_names == ("length", "width", "colour=blue", "colour=red")
    assert table.inputs[1].tolist() == [1, 1, 1, 0] and table.targets[:4].tolist() == [1, 0, 0, 1]
    split = table.split(0.2, seed=4)
    (x, y), (test_x, test_y) = split.train.arrays, split.test.arrays
    assert (
        (x.dtype, y.dtype) == (np.float32, np.int64) and len(split.test) == 6 and np.bincount(test_y).tolist() == [4, 2]
    )
    np.testing.assert_allclose(x.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(x.std(axis=0), 1, atol=1e-6)
    assert abs(test_x.mean()) > 1e-3, "the test part is scaled by the training part, not by itself"


def test_csv_regression(csv_file):
    table = data.load_csv(csv_file("a,b\n" + "".join(f"{i},{i / 3}\n" for i in range(10))), "b")
    split = table.split()
    assert table.task == "regression" and split.train.arrays[1].shape == (8, 1)
    np.testing.assert_allclose(
        split.target_scale.undo(split.train.arrays[1][:, 0]) * 3,
        split.input_scale.undo(split.train.arrays[0][:, 0]),
        atol=1e-5,
    )


def test_csv_large_offsets_survive_standardization(csv_file):
    rows = "".join(f"{1.7e9 + i},{i % 2}\n" for i in range(20))  # seconds since 1970: float32 knows only every 128th
    inputs = data.load_csv(csv_file("time,y\n" + rows), "y").split().train.arrays[0]
    assert len(np.unique(inputs)) == 16


def test_csv_constant_column_becomes_zero(csv_file):
    rows = "".join(f"0.1,{i},{i % 2}\n" for i in range(20))
    split = data.load_csv(csv_file("a,b,y\n" + rows), "y").split()
    assert not split.train.arrays[0][:, 0].any() and np.isfinite(split.test.arrays[0]).all()


@pytest.mark.parametrize(
    ("text", "target", "feature_names"),
    [
        ("1,2,x\n3,4,y\n5,6,x\n", -1, ("column 0", "column 1")),  # no header
        ("1,2,x\n3,4,y\n5,6,x\n", "2", ("column 0", "column 1")),
        ("2019,2020\n1,0\n2,1\n3,0\n4,1\n", "2020", ("2019",)),  # a header of numbers, known by the target
        (",b,y\n0,4,u\n1,5,v\n2,6,u\n", "y", ("column 0", "b")),  # a column of row numbers without a name
        ("\ufeffa;b;y\r\n1;2;u\r\n\r\n3;4;v\r\n5;6;u\r\n", "y", ("a", "b")),  # a spreadsheet's export
        ('a,"b, in ""cm""",y\n1,"2",u\n3,4,"v\nw"\n5,6,u\n', "y", ("a", 'b, in "cm"')),
        ("a\tb\ty\n1\t2\t0\n3\t4\t1\n3\t4\t1\n3\t4\t1\n", "y", ("a", "b")),
        ("이름,나이,반\n1,2,가\n3,4,나\n5,6,가\n", "반", ("이름", "나이")),
    ],
)
def test_csv_shapes(csv_file, text, target, feature_names):
    table = data.load_csv(csv_file(text), target)
    assert table.feature_names == feature_names and table.task == "classification"


@pytest.mark.parametrize(
    ("cells", "task"),
    [
        (["yes", "no"] * 5, "classification"),
        ([0, 1, 2] * 5, "classification"),
        (["1.0", "2.0"] * 5, "classification"),
        (range(30), "regression"),
        ([0.5, 1.5] * 5, "regression"),
        ([1, 2, 3], "regression"),
    ],
)
def test_csv_task_is_guessed(csv_file, cells, task):
    assert data.load_csv(csv_file("x,y\n" + "".join(f"1,{cell}\n" for cell in cells)), "y").task == task


def test_csv_classes_of_numbers_are_in_the_order_of_numbers(csv_file):
    table = data.load_csv(csv_file("x,y\n" + "".join(f"1,{i}\n" for i in (10, 9, 2, 10, 9, 2))), "y")
    assert table.classes == ("2", "9", "10")


@pytest.mark.parametrize(
    ("text", "target", "error", "message"),
    [
        ("", "y", data.CsvFileError, "expected a header and rows, got an empty file"),
        ("\n \n", "y", data.CsvFileError, "empty file"),
        (b"a,y\n1,\xe9\n", "y", data.CsvFileError, "expected UTF-8 text, got byte 0xe9 in line 2"),
        ("a,y\n1,2".encode("utf-16"), "y", data.CsvFileError, "UTF-8"),
        ("a,y\n", "y", data.CsvHeaderError, "rows under the header"),
        ("a,b,a\n1,2,3\n", "b", data.CsvHeaderError, "every column name once, got 'a' twice"),
        ("a,y\n1,u\n", "kind", data.CsvColumnError, "target: expected one of the columns 'a', 'y', got 'kind'"),
        ("a,y\n1,u\n", 2, data.CsvColumnError, "target"),
        ("a,y\n1,u\n", "-3", data.CsvColumnError, "target"),
        ("y\nu\nv\n", "y", data.CsvColumnError, "at least one column besides the target"),
        ("a,y\n1,u\n2\n", "y", data.CsvRowError, "line 3: expected 2 cells as in line 1, got 1"),
        ("a,y\n1,u\n2,v,3\n", "y", data.CsvRowError, "line 3: expected 2 cells as in line 1, got 3"),
        ('a,y\n1,"u\n2,v\n', "y", data.CsvRowError, "every quote closed"),
        ("a,y\n1,u\n\nred,v\n", "y", data.CsvValueError, "line 4, column 'a': expected a number .*, got 'red'"),
        ("a,y\n1_0,u\n2,v\n", "y", data.CsvValueError, "got '1_0'"),
        ("a,y\n1,u\n,v\n", "y", data.CsvValueError, "line 3, column 'a': expected a value, got an empty cell"),
        ("a,y\n1,u\nNA,v\n", "y", data.CsvValueError, r"line 3, column 'a': .* missing value \('NA'\)"),
        ("a,y\n1,u\n2,NaN\n", "y", data.CsvValueError, "line 3, column 'y'"),
        ("a,y\n1,u\ninf,v\n", "y", data.CsvValueError, "line 3, column 'a'"),
        ("a,y\n1,u\n1e400,v\n", "y", data.CsvValueError, "line 3, column 'a'"),
        ("a,y\n1,u\n2,u\n", "y", data.CsvTargetError, "at least two classes, got 'u' in every row"),
        ("a,y\n1,u\n2,v\n", "y", data.CsvTargetError, "a class of its own in each of 2 rows"),
        ("a,y\n1,1.5\n2,1.5\n", "y", data.CsvTargetError, "at least two different values"),
    ],
)
def test_csv_faults_are_named(csv_file, text, target, error, message):
    with pytest.raises(error, match=message) as caught:
        data.load_csv(csv_file(text), target)
    assert isinstance(caught.value, ValueError)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (copy.argument, copy.expected, copy.got, str(copy)) == (
        caught.value.argument,
        caught.value.expected,
        caught.value.got,
        str(caught.value),
    )


def test_csv_arguments_are_checked(csv_file, tmp_path):
    path = csv_file(FLOWERS)
    with pytest.raises(data.DataArgumentError, match="task"):
        data.load_csv(path, "kind", "clustering")
    with pytest.raises(data.DataArgumentError, match="delimiter"):
        data.load_csv(path, "kind", delimiter=",,")
    with pytest.raises(data.CsvColumnError, match="categorical"):
        data.load_csv(path, "kind", categorical=["color"])
    with pytest.raises(data.CsvValueError, match="number to regress on"):
        data.load_csv(path, "kind", "regression", categorical=["colour"])
    with pytest.raises(data.CsvFileError, match="no such file"):
        data.load_csv(tmp_path / "none.csv", "kind")
    with pytest.raises(data.CsvFileError, match="is a directory"):
        data.load_csv(tmp_path, "kind")
    with pytest.raises(data.EmptyDataError, match="each side of the split"):
        data.load_csv(csv_file("a,y\n1,2.5\n2,3.5\n"), "y").split(0.9)


# ---------------------------------------------------------------- the floor


def test_data_imports_nothing_of_nbdl():
    code = (
        "import sys, types; package = types.ModuleType('nbdl'); package.__path__ = [sys.argv[1]];"
        "sys.modules['nbdl'] = package; import nbdl.data;"
        "print([m for m in sys.modules if m.startswith(('nbdl.', 'numba')) and not m.startswith('nbdl.data')])"
    )
    folder = nbdl.data.__path__[0].removesuffix("/data")
    printed = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "['nbdl.boundary']"  # which imports nothing itself


@pytest.mark.parametrize("module", [nbdl.data.collate, nbdl.data.dataset, nbdl.data.loader, nbdl.data.handwriting])
def test_docstring_examples(module):
    names = {"np": np, **{name: getattr(data, name) for name in data.__all__}}
    assert doctest.testmod(module, extraglobs=names).failed == 0
