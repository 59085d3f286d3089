"""The list of bugs to plant stays true: each text it changes still stands in its kernel. `make mutants` plants them."""

import ast
from pathlib import Path

import pytest

from tests.mutation.mutant import KINDS
from tests.mutation.mutants import MUTANTS

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: f"{mutant.family} {mutant.kind}")
def test_a_bug_can_be_planted(mutant):
    source = (ROOT / mutant.file).read_text()
    planted = mutant.planted(source)
    assert ast.dump(ast.parse(planted)) != ast.dump(ast.parse(source))
    assert mutant.kind in KINDS
    assert (ROOT / mutant.tests.partition(" -k ")[0]).is_file()


def test_every_kind_is_planted():
    assert {mutant.kind for mutant in MUTANTS} == set(KINDS)
    assert len(set(MUTANTS)) == len(MUTANTS)
