"""Bugs in graphs on the CPU: what a recording notes, compares, refuses and repeats."""

from __future__ import annotations

from tests.mutation.mutant import bugs

GRAPHS = (
    *bugs(
        "graphs/host.py",
        (
            "missing term",
            "        for table, draw in self._tables:\n            table[...] = words[draw]\n",
            "",
            "tests/test_graphs.py -k every_family",
        ),
        (
            "constant",
            "            cell.value = words[draw][place]",
            "            cell.value = words[0][place]",
            "tests/test_graphs.py",
        ),
        (
            "missing term",
            "        for block in blocks:\n            block.note()\n",
            "",
            "tests/test_graphs.py",
        ),
        (
            "missing term",
            "        if not all(block.is_as_noted() for block in blocks):",
            "        if False:",
            "tests/test_graphs.py -k python_writes",
        ),
        (
            "missing term",
            "        self._steps.append((check, (_without_owner(array),)))\n",
            "",
            "tests/test_graphs.py -k checks_of_values",
        ),
        (
            "index",
            "    start = offset + address_of(array) - address_of(block)",
            "    start = offset",
            "tests/test_graphs.py",
        ),
    ),
    *bugs(
        "profiling/seams.py",
        (
            "race",
            "            if threading.get_ident() == own:\n                return wrapped",
            "            if True:\n                return wrapped",
            "tests/test_graphs.py -k other_threads",
        ),
    ),
    *bugs(
        "runtime/jit.py",
        (
            "race",
            "            if threading.get_ident() != own:\n                return\n",
            "",
            "tests/test_graphs.py -k other_threads",
        ),
    ),
    *bugs(
        "graphs/captured.py",
        (
            "missing term",
            "        return not any([gradient.is_kept(self.recording) for gradient in self._gradients])",
            "        return True",
            "tests/test_graphs.py -k outlive",
        ),
        (
            "missing term",
            "arrays.add_to(self.array, kept)",
            "pass",
            "tests/test_graphs.py -k computes_what",
        ),
        (
            "missing term",
            "            if module.training != training:\n                return False\n",
            "            pass\n",
            "tests/test_graphs.py -k switched",
        ),
    ),
)
