"""A peer in a process of its own, so that libraries, their threads and their memory do not meet: both of its ends.

The child is told "prepare", "round" or "memory", a line each, and answers with a line of JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from ..parallel import threads as processors
from .nets import NETS, Net, scaled

PEERS = {  # name: module and class
    "minigrad-run":  ("ours", "Run"),
    "minigrad-step": ("ours", "Step"),
    "minigrad":      ("ours", "Eager"),
    "torch":         ("torch_peer", "Torch"),
    "torch-compile": ("torch_peer", "TorchCompile"),
    "jax":           ("jax_peer", "Jax"),
    "jax-scan":      ("jax_peer", "JaxScan"),
    "autograd":      ("autograd_peer", "Autograd"),
    "pytensor":      ("pytensor_peer", "PyTensor"),
    "products":      ("products", "Products"),
}  # fmt: skip
PATIENCE = 300  # seconds for one answer

Spec = Mapping[str, Any]  # {"net": name}, or the measures of an MLP


def net_of(spec: Spec) -> Net:
    return NETS[spec["net"]] if "net" in spec else scaled(**spec)


class Worker:
    """The parent's end."""

    def __init__(self, peer: str, spec: Spec, threads: int | None, caches: Path) -> None:
        """`caches` is an empty folder: what others compiled before must not make this one's first call look fast."""
        small = net_of(spec).small
        count = threads or (1 if small else processors())
        environment = os.environ | dict.fromkeys(("MINIGRAD_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR"), str(caches))
        environment["PYTENSOR_FLAGS"] = f"base_compiledir={caches}"
        if threads or not peer.startswith("minigrad"):  # which chooses by itself
            names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
            environment |= dict.fromkeys(names, str(count))
        command = [sys.executable, "-m", __name__, peer, json.dumps(dict(spec)), str(count), "fixed" if threads else ""]
        self.said = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 (until `close`)
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.said, text=True, env=environment
        )

    def ask(self, *question: object) -> dict[str, Any]:
        """The answer, or {"error": a sentence}."""
        tell, hear = self.process.stdin, self.process.stdout
        assert tell is not None
        assert hear is not None
        late = threading.Timer(PATIENCE, self.process.kill)
        late.start()
        try:
            print(*question, file=tell, flush=True)
            answer = hear.readline()
        except OSError:
            answer = ""
        finally:
            in_time = late.is_alive()
            late.cancel()
        if answer:
            return json.loads(answer)
        self.said.seek(0)
        last = [line for line in self.said.read().splitlines() if line.strip()][-1:]
        return {"error": (last or ["ended without a word"])[0] if in_time else f"no answer in {PATIENCE} s"}

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()
        self.said.close()


# The child's end


def prepared(peer: Any) -> dict[str, Any]:
    """Start, and take the first steps: what the first call takes longer than the second is compiling."""
    peer.start()
    losses: list[float] = []
    seconds = []
    for _ in range(2):
        before = time.perf_counter()
        losses += peer.advance(1)
        seconds.append(time.perf_counter() - before)
    losses += peer.advance(max(1, peer.net.checked - len(losses)))
    return {"first_seconds": max(0.0, seconds[0] - seconds[1]), "losses": losses[: peer.net.checked]}


def answer(peer: Any, question: str, *words: str) -> dict[str, Any]:
    if question == "prepare":
        return prepared(peer)
    if question == "round":
        return {"seconds": peer.seconds(float(words[0]))}
    return {"bytes": peer.memory()}


def main(name: str, spec: str, threads: str, fixed: str) -> None:
    reply = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever libraries print is no answer
    warnings.simplefilter("ignore")
    if fixed and hasattr(os, "sched_setaffinity"):  # for libraries that go by the processors
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(threads)])
    peer = None
    for question in sys.stdin:
        try:
            if peer is None:
                module, kind = PEERS[name]
                library = import_module(f"{__package__}.{module}")
                peer = getattr(library, kind)(net_of(json.loads(spec)), int(threads))
            found = answer(peer, *question.split())
        except Exception as error:
            found = {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
        print(json.dumps(found), file=reply, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
