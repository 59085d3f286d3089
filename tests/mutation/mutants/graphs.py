"""Bugs in graphs on the CPU: what a recording notes, compares, refuses and repeats."""

from __future__ import annotations

from tests.mutation.mutant import bugs

GRAPHS = (
    *bugs(
        "graphs/host.py",
        (
            "missing term",
            "            described[_ADDRESSES] = places",
            "            pass",
            "tests/test_graphs.py -k updates_are_part",
        ),
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
            "        self._steps.append((check, (self._without_keeper(array),)))\n",
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
        "graphs/__init__.py",
        (
            "race",
            "            with captured.lock:\n",
            "            if True:\n",
            "tests/test_graphs.py -k threads_share",
        ),
        (
            "missing term",
            "is_grad_enabled(), get_num_threads(), names)",
            "is_grad_enabled(), get_num_threads())",
            "tests/test_graphs.py -k names_and_methods",
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
            "race",
            "            return (noting if now.is_recording else usual)",
            "            return noting",
            "tests/test_graphs.py -k other_threads",
        ),
        (
            "missing term",
            "            if module.training != training:\n                return False\n",
            "            pass\n",
            "tests/test_graphs.py -k switched",
        ),
    ),
    *bugs(
        "graphs/gradients.py",
        (
            "missing term",
            "        return not any([gradient.is_kept(self._recording) for gradient in self._shown])",
            "        return True",
            "tests/test_graphs.py -k outlive",
        ),
        (
            "missing term",
            "        if not all([leaf._grad is None for leaf in self._empty_before.values()]):",
            "        if False:",
            "tests/test_graphs.py -k were_there_before",
        ),
        (
            "missing term",
            "            leaf._grad = None  # as the function will; what is still there then, somebody keeps",
            "            pass",
            "tests/test_graphs.py -k outlives_the_next_update",
        ),
        (
            "missing term",
            "arrays.add_to(self.array, kept)",
            "pass",
            "tests/test_graphs.py -k computes_what",
        ),
        (
            "missing term",
            "                for leaf, gradient in held:\n                    leaf._grad = gradient\n",
            "",
            "tests/test_graphs.py -k updates_are_part",
        ),
    ),
)
