"""Settings for all tests."""

import os

from hypothesis import settings

# Before anything loads torch: idle OpenMP threads sleep, whoever else uses the machine (see the Makefile).
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# The same examples in every run, and no time limit for one: a busy machine makes no test fail.
settings.register_profile("minisd", deadline=None, derandomize=True, print_blob=False)
settings.load_profile("minisd")
