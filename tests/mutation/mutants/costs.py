"""Bugs in explanations, profiles and checkpoints."""

from __future__ import annotations

from tests.mutation.mutant import Mutant

EXPLAIN, CHECKPOINT, WORK = "nbdl/explain/", "nbdl/nn/checkpoint.py", "nbdl/profiling/work.py"

COSTS = (
    Mutant(
        f"{EXPLAIN}gradients.py",
        "places = (np.arange(steps) + 0.5) / steps\n        slopes",
        "places = np.arange(steps) / steps\n        slopes",
        "constant",
        "tests/test_explain.py -k converge",
    ),
    Mutant(
        f"{EXPLAIN}gradients.py",
        "new = places[np.arange(steps) % REFINEMENT != REFINEMENT // 2]",
        "new = places[np.arange(steps) % REFINEMENT != 0]",
        "index",
        "tests/test_explain.py -k converge",
    ),
    Mutant(
        f"{EXPLAIN}target.py",
        "rows = np.resize(self.ids, count).reshape(count, 1)",
        "rows = np.repeat(self.ids, count // len(self.ids)).reshape(count, 1)",
        "wrong axis",
        "tests/test_explain.py -k add_up or occlusion or depend",
    ),
    Mutant(
        f"{EXPLAIN}grad_cam.py",
        "result = (maps.detach() * slopes.mean(places, keepdim=True)).sum(1)",
        "result = (maps.detach() * slopes).sum(1)",
        "reduction",
        "tests/test_explain.py -k grad_cam",
    ),
    Mutant(
        f"{EXPLAIN}occlusion.py",
        "falls.append(whole - scores",
        "falls.append(-whole + scores",
        "sign",
        "tests/test_explain.py -k occlusion",
    ),
    Mutant(
        f"{EXPLAIN}occlusion.py",
        "along.append(length - side)",
        "along.append(length - side - 1)",
        "bound",
        "tests/test_explain.py -k occlusion",
    ),
    Mutant(
        f"{EXPLAIN}attention.py",
        "layer if result is None else layer @ result",
        "layer if result is None else result @ layer",
        "wrong axis",
        "tests/test_explain.py -k rollout",
    ),
    Mutant(
        f"{EXPLAIN}sanity.py",
        "return (last - (counts - 1) / 2)[group]",
        "return last[group]",
        "missing term",
        "tests/test_explain.py -k rank_correlation",
    ),
    Mutant(
        WORK,
        "return Work(2 * x.size * math.prod(weight.shape[1:])",
        "return Work(2 * y[0].size * math.prod(weight.shape[1:])",
        "index",
        "tests/test_profile.py -k by_hand",
    ),
    Mutant(
        WORK,
        "seen * (seen + 1) // 2",
        "seen * seen // 2",
        "missing term",
        "tests/test_profile.py -k attention",
    ),
    Mutant(
        "nbdl/profiling/recorder.py",
        "self.live -= reference.nbytes",
        "self.live += reference.nbytes",
        "sign",
        "tests/test_profile.py -k memory or kept",
    ),
    Mutant(
        CHECKPOINT,
        "default_generator.set_state(self.state)",
        "pass",
        "missing term",
        "tests/test_checkpointing.py -k dropout",
    ),
    Mutant(
        CHECKPOINT,
        "inner.nodes[inner.nodes.index(new)] = node",
        "inner.nodes[0] = node",
        "index",
        "tests/test_checkpointing.py -k in_checkpoints",
    ),
    Mutant(
        CHECKPOINT,
        "        finally:\n            default_generator.set_state(current)",
        "        finally:\n            pass",
        "race",
        "tests/test_checkpointing.py -k dropout",
    ),
)
