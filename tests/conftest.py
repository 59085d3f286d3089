"""Hypothesis profiles: `ci` repeats exactly, `nightly` draws fresh seeds, `mutants` is `ci` that stops at a failure."""

import os

from hypothesis import HealthCheck, Phase, settings

if "PYTEST_XDIST_WORKER" in os.environ:
    # Several processes share the processors: a thread that waits must not spin while others have work.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")

_QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
settings.register_profile("ci", deadline=None, derandomize=True, max_examples=25, suppress_health_check=_QUIET)
settings.register_profile("mutants", settings.get_profile("ci"), phases=[Phase.explicit, Phase.generate])
settings.register_profile("nightly", deadline=None, max_examples=10_000, suppress_health_check=_QUIET)
settings.load_profile(os.environ.get("NBDL_HYPOTHESIS_PROFILE", "ci"))
