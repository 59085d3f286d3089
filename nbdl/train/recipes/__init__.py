"""Recipes: whole training runs by name, for the command line and for `nbdl.train.run_recipe`."""

from nbdl.train.recipes import (  # noqa: F401 (they register their recipes)
    bert,
    cnn,
    forecast,
    gan,
    gpt,
    mlp,
    seq2seq,
    speech,
    text,
)
from nbdl.train.recipes.registry import RECIPES, Option, Recipe, Task, find_recipe, recipe
from nbdl.train.recipes.run import Result, run_recipe

__all__ = ["RECIPES", "Option", "Recipe", "Result", "Task", "find_recipe", "recipe", "run_recipe"]
