"""A limit to the time that a piece of Python may take, whatever it does, in any thread and on any system."""

from __future__ import annotations

import ctypes
import threading
import weakref

AGAIN = 0.05  # seconds after which OutOfTime is raised again, where somebody caught it


class OutOfTime(BaseException):
    """The time is up. Not an Exception, so that no `except Exception` on its way stops it."""


class time_limit:
    """Raise OutOfTime in a block that takes longer: between two steps of Python, so not within one call of C.

    It is raised again and again until the block ends, since somebody may have caught it. Limits nest. One that is
    passed in the last moment of its block raises nothing after it.

    >>> from minigrad.verify.limits import OutOfTime, time_limit
    >>> try:
    ...     with time_limit(0.01):
    ...         while True:
    ...             pass
    ... except OutOfTime:
    ...     print("stopped")
    stopped
    """

    def __init__(self, seconds: float):
        self.seconds = min(max(0.0, seconds), threading.TIMEOUT_MAX)

    def __enter__(self) -> None:
        self.ended = threading.Event()
        # The watcher must not outlive the block, even if OutOfTime is raised in the first step of __exit__.
        alive = weakref.ref(self)
        self.watcher = threading.Thread(
            target=_watch, args=(self.ended, alive, threading.get_ident(), self.seconds), daemon=True, name="time limit"
        )
        self.watcher.start()

    def __exit__(self, *error: object) -> None:
        while True:
            try:
                self.ended.set()
                self.watcher.join()
                _raise(threading.get_ident(), None)  # takes back what came too late; a limit around this raises again
                return
            except OutOfTime:
                pass


def _watch(ended: threading.Event, alive: weakref.ref, thread: int, seconds: float) -> None:
    while not ended.wait(seconds) and alive() is not None:
        _raise(thread, OutOfTime)
        seconds = AGAIN


def _raise(thread: int, error: type[BaseException] | None) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(error) if error else None)
