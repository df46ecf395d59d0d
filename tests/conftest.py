"""Settings for all tests."""

from hypothesis import settings

# The same examples in every run, and no time limit for one: a busy machine makes no test fail.
settings.register_profile("minisd", deadline=None, derandomize=True, print_blob=False)
settings.load_profile("minisd")
