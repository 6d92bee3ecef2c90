"""Native code on all processors at once: a few threads that wait for work."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from queue import SimpleQueue
from typing import Any


def threads() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@functools.cache
def helpers(process: int) -> SimpleQueue[Callable[[], None]]:
    """The queue of jobs for this process's threads beside the caller's (after a fork, the parent's are not there)."""
    jobs: SimpleQueue[Callable[[], None]] = SimpleQueue()

    def serve() -> None:
        while True:
            jobs.get()()

    for _ in range(max(threads(), os.cpu_count() or 1) - 1):
        threading.Thread(target=serve, name="minigrad", daemon=True).start()
    return jobs


def run(parts: Sequence[Callable[[], object]]) -> None:
    """Call all of these on all processors; each is native code, which lets go of the interpreter lock.

    No two may write to the same place, so that the result is the same on any number of processors. The caller works
    too, the first part is always its own, and it waits only for parts that others have taken: waking a thread may take
    longer than a whole part.
    """
    left, done = deque(parts[1:]), SimpleQueue[None]()

    def take() -> bool:
        try:
            part = left.popleft()
        except IndexError:
            return False
        part()
        return True

    def help_out() -> None:
        while take():
            done.put(None)

    with ctrl_c_held_back():
        for _ in range(threads() - 1):
            helpers(os.getpid()).put(help_out)
        parts[0]()
        mine = 1
        while take():
            mine += 1
        for _ in range(len(parts) - mine):
            done.get()


@contextlib.contextmanager
def ctrl_c_held_back() -> Iterator[None]:
    """Let Ctrl-C wait for the end of the block: no half of the work must stay. (It only reaches the main thread.)"""
    elsewhere = threading.current_thread() is not threading.main_thread()
    if elsewhere or signal.getsignal(signal.SIGINT) is None:  # None: a handler that Python cannot put back
        yield
        return
    caught: list[Any] = []
    before = signal.signal(signal.SIGINT, lambda *event: caught.append(event))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if caught and callable(before):
            before(*caught[0])
