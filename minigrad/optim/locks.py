"""A lock for the memory of parameters, which whoever trains them in native code holds meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any
from weakref import WeakValueDictionary

from ..tensor import Tensor

locks: WeakValueDictionary[int, Any] = WeakValueDictionary()  # by id of a parameter; the optimizers keep them alive
making = threading.Lock()


def lock_of(params: Iterable[Tensor]) -> AbstractContextManager:
    """The lock of the parameters of an optimizer: it is that of every other one that holds some of them as well."""
    ids = [id(p) for p in params]
    with making:
        found = {id(lock): lock for lock in map(locks.get, ids) if lock is not None}
        own = next(iter(found.values()), None) or threading.RLock()
        for i in ids:
            locks.setdefault(i, own)
    return Several(found) if len(found) > 1 else own


class Several:
    """Locks of optimizers that had nothing to do with each other, until one held parameters of several."""

    def __init__(self, found: dict[int, Any]) -> None:
        self.locks = [found[i] for i in sorted(found)]  # in one order, lest two threads wait for each other

    def __enter__(self) -> None:
        for lock in self.locks:
            lock.acquire()

    def __exit__(self, *exc: object) -> None:
        for lock in self.locks:
            lock.release()
