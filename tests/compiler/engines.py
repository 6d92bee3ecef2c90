"""What runs a captured function: the tests of capture go over each of them."""

from minigrad.compiler.function import Native, compiled_by
from minigrad.compiler.trace import Replay

ENGINES = {"replay": Replay, "native": Native}


def compiled(engine, f):
    """The function, its traces run by the engine of this name."""
    return compiled_by(ENGINES[engine], f)
