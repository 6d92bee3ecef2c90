"""A limit to the time that a piece of Python may take, whatever it does, in any thread and on any system."""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections.abc import Iterator

AGAIN = 0.05  # seconds after which OutOfTime is raised again, where somebody caught it


class OutOfTime(BaseException):
    """The time is up. Not an Exception, so that no `except Exception` on its way stops it."""


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise OutOfTime in a block that takes longer: between two steps of Python, so not within one call of C.

    Limits nest. A limit that is passed in the last moment of its block raises nothing after it.

    >>> from minigrad.verify.limits import OutOfTime, time_limit
    >>> try:
    ...     with time_limit(0.01):
    ...         while True:
    ...             pass
    ... except OutOfTime:
    ...     print("stopped")
    stopped
    """
    ended, thread = threading.Event(), threading.get_ident()

    def watch() -> None:
        wait = seconds
        while not ended.wait(max(0.0, min(wait, threading.TIMEOUT_MAX))):
            _raise(thread, OutOfTime)
            wait = AGAIN

    watcher = threading.Thread(target=watch, name="time limit", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        _end(ended, watcher, thread)


def _end(ended: threading.Event, watcher: threading.Thread, thread: int) -> None:
    """Stop the watcher, and take back what it has raised too late (a limit around this one raises again)."""
    while True:
        try:
            ended.set()
            watcher.join()
            _raise(thread, None)
            return
        except OutOfTime:
            pass


def _raise(thread: int, error: type[BaseException] | None) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(error) if error else None)
