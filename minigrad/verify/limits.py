"""A limit to the time that a piece of Python may take, whatever it does, in any thread and on any system."""

from __future__ import annotations

import ctypes
import threading
import time
import weakref

AGAIN = 0.05  # seconds after which OutOfTime is raised again, where somebody caught it


_current = threading.local()  # .limit: a reference to the innermost limit that the thread is in


class OutOfTime(BaseException):
    """The time is up. Not an Exception, so that no `except Exception` on its way stops it."""


class time_limit:
    """Raise OutOfTime in a block that takes longer: between two steps of Python, so not within one call of C.

    It is raised again and again until the block ends, since somebody may have caught it. Limits nest: where an outer
    one has been passed, an inner block is not begun. A limit that is passed in the last moment of its block raises
    nothing after it.

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
        self.outer = _current.limit() if hasattr(_current, "limit") else None
        self.end = time.monotonic() + self.seconds
        if self.outer is not None:
            if self.outer.end <= time.monotonic():
                raise OutOfTime
            self.end = min(self.end, self.outer.end)
        # Nothing may outlive this object. (CPython 3.11 does not call __exit__ where an exception from outside meets
        # `try: while True: pass`; and OutOfTime may be raised in the first step of __exit__.)
        _current.limit = weakref.ref(self)
        self.ended = threading.Event()
        args = (self.ended, weakref.ref(self), threading.get_ident(), self.seconds)
        self.watcher = threading.Thread(target=_watch, args=args, daemon=True, name="time limit")
        self.watcher.start()

    def __exit__(self, *error: object) -> None:
        while True:
            try:
                self.ended.set()
                self.watcher.join()
                _current.limit = weakref.ref(self.outer) if self.outer is not None else lambda: None
                for _ in range(10):  # what came too late arrives here; a limit around this one raises again
                    pass  # (taking it back would leave CPython 3.11 with work to look for at every step, for ever)
                return
            except OutOfTime:
                pass


def _watch(ended: threading.Event, limit: weakref.ref, thread: int, seconds: float) -> None:
    while not ended.wait(seconds) and limit() is not None:
        _raise(thread, OutOfTime)
        seconds = AGAIN


def _raise(thread: int, error: type[BaseException]) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(error))
