"""What holds for every test and doctest of the project."""

import os
import signal
from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import settings

PEERS = ("torch", "jax", "optax", "autograd")

os.environ.setdefault("MPLBACKEND", "Agg")  # pictures are written to files; no test opens a window

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a shell's background job; the tests of Ctrl-C need it
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A shared machine may stall at any moment, so no example has a deadline. Elsewhere than in CI every run tries others.
settings.register_profile("minigrad", deadline=None, print_blob=True, derandomize=bool(os.environ.get("CI")))
settings.load_profile("minigrad")


def pytest_configure(config):
    """Tests that need a missing peer are skipped, except where the peers are required: there nothing may be skipped."""
    if os.environ.get("MINIGRAD_REQUIRE_PEERS"):
        missing = [peer for peer in PEERS if find_spec(peer) is None]
        if missing:
            raise pytest.UsageError(f"MINIGRAD_REQUIRE_PEERS is set, but not installed: {', '.join(missing)}")


@pytest.fixture(autouse=True)
def _names_of_doctests(doctest_namespace):
    """Examples may say `mg` and `np` without importing them."""
    import minigrad

    doctest_namespace.update(mg=minigrad, np=np)
