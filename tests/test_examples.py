"""Every example in a docstring says what the code does."""

import doctest
import importlib
import math
import pkgutil

import numpy as np
import pytest

import nbdl

NAMES = {"nbdl": nbdl, "np": np, "math": math}

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(nbdl.__path__, "nbdl.")
    if not module.name.endswith("__main__") and not module.name.startswith("nbdl.testing")
)


@pytest.mark.parametrize("name", MODULES)
def test_examples(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where an example may write
    nbdl.manual_seed(0)
    with np.printoptions(precision=4):
        result = doctest.testmod(importlib.import_module(name), extraglobs=NAMES)
    assert result.failed == 0
