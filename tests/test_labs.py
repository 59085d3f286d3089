"""The labs: every experiment runs, gives the same numbers on any number of threads, and has its results stored."""

from __future__ import annotations

import json

import numpy as np
import pytest

import nbdl
from docs.labs import black_box, cost, data_hunger, gan, overfitting, since_then, strengths
from docs.labs.estimate import change, estimate
from docs.labs.experiment import EXPERIMENTS, RESULTS, load, save
from docs.labs.training import draw_split, with_wrong_labels

LABS = (black_box, cost, data_hunger, gan, overfitting, since_then, strengths)


MEASURED = [name for name in EXPERIMENTS if name.startswith("cost-")]
"""By the clock, and with memory that each thread needs for itself."""


QUICK = ["overfitting-by-heart", "overfitting-random-features", "overfitting-width", "since-gates", "black-box-twins"]
"""The kinds of code that the experiments are made of; the others call the same."""


@pytest.mark.parametrize("name", QUICK)
def test_an_experiment_repeats_on_any_number_of_threads(name, tmp_path):
    threads = nbdl.get_num_threads()
    texts = []
    try:
        for count in (1, 2):
            nbdl.set_num_threads(count)
            texts.append(save(EXPERIMENTS[name].run(quick=True), tmp_path).read_text(encoding="utf-8"))
    finally:
        nbdl.set_num_threads(threads)
    assert texts[0] == texts[1]


@pytest.mark.parametrize("name", ["data-transfer", "since-diffusion", "strengths-series"])
def test_an_experiment_runs(name):
    threads = nbdl.get_num_threads()
    nbdl.set_num_threads(1)
    try:
        found = EXPERIMENTS[name].run(quick=True)
    finally:
        nbdl.set_num_threads(threads)
    assert all(len(values) == 2 for values in _leaves(found["values"]))


@pytest.mark.parametrize("name", MEASURED)
def test_an_experiment_of_costs_runs(name):
    threads, stored = nbdl.get_num_threads(), load(name)
    nbdl.set_num_threads(1)
    try:
        found = EXPERIMENTS[name].run(quick=True)
    finally:
        nbdl.set_num_threads(threads)
    assert found["settings"].keys() == stored["settings"].keys()
    assert found["values"].keys() <= stored["values"].keys() | {"4", "8", "16", "32"}  # threads of this machine


def test_every_experiment_is_stored_and_no_other():
    assert {path.stem for path in RESULTS.iterdir()} == set(EXPERIMENTS)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_stored_results_are_those_of_the_experiment(name):
    stored, experiment = load(name), EXPERIMENTS[name]
    assert stored["experiment"] == name
    assert stored["about"] == experiment.about
    assert stored["seeds"] == list(range(experiment.seeds))
    assert stored["versions"].keys() == {"nbdl", "numba", "numpy", "python"}
    for values in _leaves(stored["values"]):
        assert len(values) == experiment.seeds
        assert np.isfinite(np.asarray(values, dtype=np.float64)).all()


def _leaves(values):
    """The lists with one entry a seed."""
    if not isinstance(values, dict):
        return [values]
    return [leaf for value in values.values() for leaf in _leaves(value)]


def test_files_are_json_with_one_line_a_list(tmp_path):
    stored = load("overfitting-curves")
    path = save(stored, tmp_path)
    assert json.loads(path.read_text(encoding="utf-8")) == stored
    assert path.read_bytes() == (RESULTS / path.name).read_bytes()


def test_estimates():
    assert f"{estimate([1.0, 2.0, 3.0]):.2f}" == "2.00 ± 2.48"  # t = 4.303 for two degrees of freedom
    assert f"{estimate([0.1, 0.2, 0.3]):.1%}" == "20.0 ± 24.8 %"
    assert change([1.5, 2.5, 3.5], [1.0, 2.0, 3.0]).error == 0
    np.testing.assert_allclose(estimate([[1.0, 5.0], [3.0, 5.0]]).mean, [2.0, 5.0])
    with pytest.raises(ValueError, match="seeds, got 1"):
        estimate([1.0])


def test_splits_are_disjoint_nested_and_balanced():
    small, large = draw_split(3, 40), draw_split(3, 1200)
    rows = [part.arrays[0].reshape(-1, 64) for part in (large.train, large.validation, large.test)]
    assert [len(part) for part in rows] == [1200, 197, 400]
    np.testing.assert_array_equal(small.train.arrays[0], large.train.arrays[0][:40])
    np.testing.assert_array_equal(np.bincount(small.train.arrays[1]), [4] * 10)
    np.testing.assert_array_equal(small.test.arrays[0], large.test.arrays[0])
    everything = np.concatenate([part.arrays[0].reshape(-1, 64) for part in nbdl.data.digits(flatten=False)])
    drawn = np.concatenate(rows)
    np.testing.assert_array_equal(np.sort(drawn.sum(axis=1)), np.sort(everything.sum(axis=1)))


def test_wrong_labels_are_wrong():
    labels = np.arange(50) % 10
    changed = with_wrong_labels(labels, 0.2, 10, seed=1)
    assert (changed != labels).sum() == 10
    assert set(changed) <= set(range(10))
