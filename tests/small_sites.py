"""`python tests/small_sites.py`: builds the sites whose configurations it reads, a line each, and prints as JSON how.

Imports take most of the time of a small build. Here they are done once, and each site is built by a copy of the process
that nothing else was done in. Needs a system that can fork.
"""

import importlib
import json
import os
import sys
import tempfile
from pathlib import Path

import mkdocs.__main__

IMPORTED = (
    "downloads",
    "markdown_exec._internal.formatters.python",
    "material.plugins.search.plugin",
    "mkdocs.commands.build",
    "mkdocstrings_handlers.python",
    "nbdl",
    "pymdownx.superfences",
    "quickjs",
)


def build(configuration: str) -> tuple[int, str]:
    """Builds one site in a copy of this process: its exit status, and all that it wrote."""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as said:
        process = os.fork()
        if process == 0:
            for stream in (1, 2):
                os.dup2(said.fileno(), stream)
            sys.argv[1:] = ["build", "--config-file", configuration]
            status = 1
            try:
                mkdocs.__main__.cli()
            except SystemExit as ended:
                status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
            except BaseException as error:
                print(f"{type(error).__name__}: {error}")
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)
        _, ended = os.waitpid(process, 0)
        said.seek(0)
        return os.waitstatus_to_exitcode(ended), said.read()


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent / "docs"))
    for name in IMPORTED:
        importlib.import_module(name)
    print(json.dumps([build(line.rstrip("\n")) for line in sys.stdin]))
