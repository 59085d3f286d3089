"""The command `nbdl`: train a recipe, check gradients, compile ahead, look at the machine.

This is the only place of the library that prints. Results go to standard output, progress bars and errors to standard
error. Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import difflib
import os
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from nbdl.train.loop import Trainer
    from nbdl.train.recipes import Option, Recipe, Task

FAILED, WRONG_USAGE = 1, 2

HELP = """\
usage: nbdl COMMAND ...

Deep learning in Numba kernels that a person can read.

commands:
  train RECIPE       train a network on real data, no code needed
  sample [FOLDER]    let a trained model write, fill in [MASK], or take Hangul apart
  list               the recipes and what each is about
  gradcheck [OP]     hold every backward kernel, or your own, against numeric gradients
  warmup             compile every kernel now, into the cache
  doctor             look at this machine and say what to mend

start here:
  nbdl train mlp-digits
  nbdl train mlp-csv --data FILE --target COLUMN

options:
  -h, --help         show this help; `nbdl COMMAND --help` says more about a command
  --version          show the version
  --debug            show where in the code an error came from
"""


class UsageError(Exception):
    """The command line cannot be understood."""


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Help with a wide column for the options and lines that fit the terminal."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30, width=min(shutil.get_terminal_size().columns, 110))


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=HelpFormatter, **options)

    def error(self, message: str) -> NoReturn:
        _, unrecognized, given = message.partition("unrecognized arguments: ")
        near = difflib.get_close_matches(given.split("=")[0].split(" ")[0], self._option_string_actions, n=1)
        hint = f"; did you mean {near[0]}?" if unrecognized and near else ""
        raise UsageError(f"{message}{hint} (see {self.prog} --help)")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    try:
        return _run([word for word in words if word != "--debug"])
    except UsageError as error:
        return _fail(f"error: {error}", WRONG_USAGE)
    except KeyboardInterrupt as interruption:
        return _interrupted(interruption, words)
    except BrokenPipeError:  # whoever read the output went away, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:
        if debug:
            raise
        return _fail(f"error: {_one_line(error)}", FAILED)


def _run(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(HELP, end="")
        return 0
    if words[0] == "--version":
        import nbdl

        print(f"nbdl {nbdl.__version__}")
        return 0
    command, *rest = words
    if command not in COMMANDS:
        near = difflib.get_close_matches(command, COMMANDS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(COMMANDS)}"
        raise UsageError(f"no command {command!r}; {hint}")
    return COMMANDS[command](rest)


def _fail(message: str, code: int) -> int:
    print(message, file=sys.stderr)
    return code


def _one_line(error: BaseException) -> str:
    """The message of an error; its kind too when it is none that nbdl raises on purpose."""
    from nbdl.data import DataError
    from nbdl.runtime.errors import NbdlError

    message = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, NbdlError | DataError):
        return message
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {(error.strerror or message).lower()}"
    return f"{type(error).__name__}: {message} (--debug shows where)"


def _interrupted(interruption: KeyboardInterrupt, words: list[str]) -> int:
    """The last line of an interrupted command: how to go on, where that is possible."""
    number = getattr(interruption, "signal", signal.SIGINT)
    checkpoint = getattr(interruption, "checkpoint", None)
    message = "interrupted"
    if checkpoint is not None:
        again = shlex.join([word for word in words if word != "--resume"])
        message += f": saved {checkpoint}; to go on: nbdl {again} --resume"
    return _fail(message, 128 + number)


# ---------------------------------------------------------------- train, list


def _train(words: list[str]) -> int:
    from nbdl.train.recipes import RECIPES

    if not words or words[0] in ("-h", "--help"):
        print("usage: nbdl train RECIPE [options]\n\nrecipes:")
        _print_recipes()
        print("\n`nbdl train RECIPE --help` shows the options of a recipe.")
        return 0
    name, *rest = words
    if name not in RECIPES:
        near = difflib.get_close_matches(name, RECIPES, n=1)
        hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(RECIPES)}"
        raise UsageError(f"no recipe {name!r}; {hint}")
    return _train_recipe(RECIPES[name], rest)


def _train_recipe(recipe: Recipe, words: list[str]) -> int:
    from nbdl.runtime.threads import get_num_threads, set_num_threads
    from nbdl.train import ProgressTable, run_recipe
    from nbdl.train.recipes.registry import whole

    prog = f"nbdl train {recipe.name}"
    sentence = recipe.summary[0].upper() + recipe.summary[1:]
    needed = "".join(f" {_flag(option)} {option.metavar}" for option in recipe.options if option.required)
    parser = Parser(
        prog=prog,
        usage=f"{prog}{needed} [options]",
        description=sentence if sentence.endswith("?") else f"{sentence}.",
    )
    settings = parser.add_argument_group("settings of the run")
    for option in recipe.options:
        _add_option(settings, option)
    where = parser.add_argument_group("where and how")
    where.add_argument("--out", metavar="FOLDER", help=f"output folder; default: runs/{recipe.name}")
    where.add_argument("--resume", action="store_true", help="go on with the run in the folder, with its settings")
    where.add_argument(
        "--threads", type=_typed(whole(1)), metavar="N", help="how many; default: as processors are idle"
    )
    where.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="where to train; default: cpu")
    where.add_argument("--debug", action="store_true", help="show where in the code an error came from")
    given = parser.parse_args(words)
    options = {option.name: getattr(given, option.name) for option in recipe.options}
    missing = [_flag(option) for option in recipe.options if option.required and options[option.name] is None]
    if missing and not given.resume:
        parser.error(f"{' and '.join(missing)} needed")
    set_num_threads(given.threads or _idle_processors(get_num_threads()))

    result = run_recipe(
        recipe.name,
        out=given.out,
        resume=given.resume,
        device=given.device,
        callbacks=[ProgressTable(sys.stdout, sys.stderr)],
        announce=_announce,
        **options,
    )
    kept = f"; kept the weights of epoch {result.best_epoch}" if result.best_epoch < len(result.history) else ""
    print(f"\n  trained    {_count(len(result.history), 'epoch')} in {result.seconds:.1f} s{kept}")
    print(f"  files      {result.folder}: {', '.join(result.files)}\n")
    for metric, value in reversed(result.metrics.items()):
        print(f"{metric}={value:.4f}")
    return 0


def _processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _idle_processors(most: int) -> int:
    """How many threads have a processor to themselves, at least 1.

    A launch waits for its last thread. Where other programs hold the processors that is a time slice every time, and a
    run of one second takes a minute. With fewer threads the result is the same.
    """
    if not hasattr(os, "getloadavg"):
        return most
    idle = (os.cpu_count() or 1) - os.getloadavg()[0]
    return max(1, min(most, round(idle)))


def _add_option(group: Any, option: Option) -> None:
    """Declares a recipe's option; its default stays None, so that a resumed run can tell what was given."""
    text = option.help
    if option.default not in (None, ()):
        text += f"; default: {_shown(option.default)}"
    if option.required:
        text += "; required"
    action = "append" if option.repeatable else "store"
    group.add_argument(
        _flag(option), dest=option.name, type=_typed(option.parse), action=action, metavar=option.metavar, help=text
    )


def _flag(option: Option) -> str:
    return "--" + option.name.replace("_", "-")


def _shown(value: Any) -> str:
    """A value as it would be typed."""
    return (
        ",".join(map(str, value))
        if isinstance(value, tuple)
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )


def _typed(parse: Callable[[Any], Any]) -> Callable[[str], Any]:
    """An argparse type whose errors say what was expected."""

    def typed(text: str) -> Any:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"expected {error}, got {text!r}") from None

    return typed


def _announce(recipe: Recipe, task: Task, trainer: Trainer, folder: Path) -> None:
    """What is about to be trained, before the first epoch."""
    import nbdl
    from nbdl.runtime.threads import get_num_threads

    print(f"nbdl {nbdl.__version__}, {recipe.name}\n")
    where = f"{trainer.device}, {_count(get_num_threads(), 'thread')}"
    for topic, text in [*task.summary.items(), ("device", where), ("output", folder)]:
        print(f"  {topic:<9}  {text}")
    if trainer.step:
        place = f"after {_count(trainer.epoch, 'epoch')} and {trainer.batch} of {len(task.loader)} batches"
        print(f"  {'resumed':<9}  {place}")
    print(flush=True)


def _count(number: int, noun: str) -> str:
    """A number of things: "1 epoch", "2 epochs"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _sample(words: list[str]) -> int:
    from nbdl.train.errors import CheckpointError
    from nbdl.train.recipes.bert import MASK_TOKEN, fill_masks
    from nbdl.train.recipes.registry import number, whole
    from nbdl.train.recipes.seq2seq import jamo_of_words
    from nbdl.train.recipes.writers import MODELS, continuation, load_language_model, recipe_of_run

    parser = Parser(
        prog="nbdl sample",
        description="Lets the model of a run write: those of gpt-text and lstm-text go on with a text, that of "
        "bert-mlm fills in its [MASK]s, that of seq2seq-jamo takes its Hangul syllables apart.",
    )
    parser.add_argument(
        "folder",
        nargs="?",
        help="of the run; default: runs/gpt-text or runs/lstm-text, whichever is newer, or runs/bert-mlm for [MASK]s",
    )
    parser.add_argument("--prompt", default="\n", metavar="TEXT", help="what to go on with; default: a new line")
    parser.add_argument(
        "--length", type=_typed(whole(0)), default=500, metavar="N", help="tokens to write; default: 500"
    )
    parser.add_argument(
        "--temperature",
        type=_typed(number(0)),
        default=0.7,
        metavar="X",
        help="under 1 prefers what is likely, 0 always takes the likeliest; default: 0.7",
    )
    parser.add_argument("--top-k", type=_typed(whole(1)), metavar="N", help="choose among so many of the likeliest")
    parser.add_argument(
        "--top-p",
        type=_typed(number(0, 1, open_low=True, open_high=False)),
        metavar="P",
        help="choose among the fewest likeliest whose chances reach this together",
    )
    parser.add_argument("--stop", metavar="TEXT", help="end where this was written")
    parser.add_argument("--seed", type=_typed(whole(0)), default=0, metavar="N", help="chooses the text; default: 0")
    given = parser.parse_args(words)
    if not given.prompt:
        parser.error("argument --prompt: expected at least one character, got none")
    masked = MASK_TOKEN in given.prompt
    folder = given.folder or ("runs/bert-mlm" if masked else _newest_run("runs/gpt-text", "runs/lstm-text"))
    answers = {"bert-mlm": fill_masks, "seq2seq-jamo": jamo_of_words}
    recipe = recipe_of_run(folder, "bert-mlm" if masked else "gpt-text")
    if recipe in answers:
        print(answers[recipe](folder, given.prompt))
        return 0
    if recipe not in MODELS:
        raise CheckpointError(f"{folder}: expected a run of {', '.join([*MODELS, *answers])}, got one of {recipe}")
    model, tokenizer = load_language_model(folder)
    print(given.prompt, end="", flush=True)
    for piece in continuation(
        model,
        tokenizer,
        given.prompt,
        given.length,
        given.temperature,
        given.top_k,
        given.top_p,
        given.stop,
        given.seed,
    ):
        print(piece, end="", flush=True)
    print()
    return 0


def _newest_run(*folders: str) -> str:
    """Of some folders the one that was changed last; the first when there is none of them."""
    return max(folders, key=lambda folder: os.stat(folder).st_mtime if os.path.isdir(folder) else 0)


def _list(words: list[str]) -> int:
    Parser(prog="nbdl list", description="The recipes and what each is about.").parse_args(words)
    _print_recipes()
    return 0


def _print_recipes() -> None:
    from nbdl.train.recipes import RECIPES

    for recipe in RECIPES.values():
        print(f"  {recipe.name:<14} {recipe.summary}")


# ---------------------------------------------------------------- gradcheck, warmup, doctor


def _gradcheck(words: list[str]) -> int:
    parser = Parser(
        prog="nbdl gradcheck",
        description="Draws cases of each operation and holds its values against the NumPy definition and its gradients "
        "against central differences in float64, against complex steps, and float32 against float64. Functions and "
        "modules of your own are named module:function or file.py:function; what their arguments are is read from "
        'type hints Annotated[Tensor, "N D"], from an attribute spec, or from --input.',
    )
    parser.add_argument(
        "operations", nargs="*", metavar="OP", help="which operations; all of nbdl's when none is named"
    )
    parser.add_argument("--examples", type=int, default=100, metavar="N", help="cases an operation; default: 100")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="chooses the cases; default: 0")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes; default: 1")
    parser.add_argument(
        "--input", action="append", default=[], metavar='NAME="N D"', help="what an argument of your own function is"
    )
    parser.add_argument("--json", metavar="FILE", help="write the report to a file, for programs")
    parser.add_argument("--html", metavar="FILE", help="write the report to a page, for people")
    given = parser.parse_args(words)
    for option in ("examples", "jobs"):
        if getattr(given, option) < 1:
            parser.error(f"argument --{option}: expected a whole number from 1 up, got {getattr(given, option)}")
    if given.seed < 0:
        parser.error(f"argument --seed: expected a whole number from 0 up, got {given.seed}")
    described = {}
    for item in given.input:
        name, equals, text = item.partition("=")
        if not (equals and name.isidentifier()):
            parser.error(f'argument --input: expected NAME="N D", got {item!r}')
        described[name] = text
    from nbdl.testing import report
    from nbdl.testing.runner import check_by_name, find_subjects
    from nbdl.testing.specs import all_specs

    try:
        names = [spec.name for spec in find_subjects(given.operations, described)]
    except KeyError as error:
        near = difflib.get_close_matches(error.args[0], [spec.name for spec in all_specs()], n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else "`nbdl gradcheck --examples 1` names them all"
        raise UsageError(f"no operation {error.args[0]!r}; {hint}") from None

    widest = max(len(name) for name in names)
    print(report.heading(widest))
    results = []
    for result in check_by_name(given.operations, described, given.examples, given.seed, given.jobs):
        results.append(result)
        print(report.line(result, widest), flush=True)
    print(f"\n{report.summary(results)}")
    settings = {"examples": given.examples, "seed": given.seed}
    for file, make in ((given.json, report.to_json), (given.html, report.to_html)):
        if file:
            Path(file).write_text(make(results, settings), encoding="utf-8")
            print(f"report: {file}")
    failures = [result for result in results if result.failure is not None]
    for result in failures:
        print(f"\n{result.name}: {result.failure}\n\n{result.reproducer}", file=sys.stderr)
    return _fail(f"error: {len(failures)} of {len(results)} rows failed", FAILED) if failures else 0


def _warmup(words: list[str]) -> int:
    parser = Parser(prog="nbdl warmup", description="Compiles every kernel now, so that no later run has to.")
    parser.add_argument("--jobs", type=int, metavar="N", help="processes; default: as processors are idle")
    given = parser.parse_args(words)
    if given.jobs is not None and given.jobs < 1:
        parser.error(f"argument --jobs: expected a whole number from 1 up, got {given.jobs}")
    from tqdm import tqdm

    from nbdl.train.warmup import warm_up, warm_up_names

    start = time.perf_counter()
    compiled, failures = 0, []
    jobs = given.jobs or _idle_processors(_processors())
    form = "{percentage:3.0f}% {bar:24} {n_fmt}/{total_fmt}  {desc}"
    with tqdm(total=len(warm_up_names()), bar_format=form, leave=False, file=sys.stderr, mininterval=0) as bar:
        for warmed in warm_up(jobs):
            compiled += warmed.compiled
            if warmed.failure is not None:
                failures.append(f"{warmed.name}: {warmed.failure}")
            bar.set_description_str(f"{compiled} functions compiled, {warmed.name}", refresh=False)
            bar.update()
    seconds = time.perf_counter() - start
    if compiled:
        print(f"compiled {compiled} functions in {seconds:.1f} s; from now on they come from the cache")
    else:
        print(f"everything was in the cache already ({seconds:.1f} s to look)")
    for failure in failures:
        print(failure, file=sys.stderr)
    return _fail(f"error: {len(failures)} could not be warmed up", FAILED) if failures else 0


def _doctor(words: list[str]) -> int:
    Parser(prog="nbdl doctor", description="Looks at this machine and says what to mend.").parse_args(words)
    import nbdl
    from nbdl.runtime.diagnosis import diagnose

    print(f"nbdl {nbdl.__version__}\n")
    faults = 0
    for finding in diagnose():
        faults += finding.verdict == "fault"
        print(f"  {finding.verdict:<5}  {finding.topic:<8}  {finding.found}")
        if finding.advice:
            print(f"  {'':<5}  {'':<8}  -> {finding.advice}")
    print("\nnbdl can run here" if not faults else f"\n{faults} to mend before nbdl can run")
    return FAILED if faults else 0


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "train": _train,
    "sample": _sample,
    "list": _list,
    "gradcheck": _gradcheck,
    "warmup": _warmup,
    "doctor": _doctor,
}
