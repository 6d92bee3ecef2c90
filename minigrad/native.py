"""Native code from the source of a Python function: Numba compiles it once, later processes only load it.

`build` gives the address of a C function. What it keeps on disk is the machine code itself, which llvmlite loads in a
millisecond without Numba: a process that finds its kernels there never imports Numba, and saves half a second.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
import os
import platform
import re
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .tensor import warn_once

# Contract as the machine likes, but keep NaN and infinity: the checks for divergence live on them. Keep the signs of
# zeros ("nsz" is missing), and the order of terms ("reassoc"), which makes g - beta * g of (1 - beta) * g, and costs
# Adam's state three digits: neither saves time. The default error model's zero-division check would keep loops from
# being vectorised.
FASTMATH = dict.fromkeys(("contract", "arcp", "afn"), True)
OPTIONS: dict[str, Any] = {"error_model": "numpy", "fastmath": FASTMATH}
ENTRY = "minigrad_kernel"
LIBM = [name + kind for kind in ("", "f") for name in (
    "pow", "exp", "expm1", "log", "log1p", "tanh", "erf", "erfc", "sin", "cos", "tan", "sinh", "cosh", "asin", "acos",
    "atan", "asinh", "acosh", "atanh", "atan2", "fmod", "exp2", "log2", "log10", "cbrt", "lgamma",
)]  # fmt: skip
DIGEST = 32  # bytes of a SHA-256
DAY = 24 * 60 * 60.0  # seconds
KEPT_FOR = 30 * DAY  # that a file is kept in which nobody is interested
OURS = re.compile(r"\w+-[0-9a-f]{32}\.(o|\d+\.\d+)")  # and drafts of processes that ended before they were done


# Where an array's data lies is the first field behind its object header: NumPy's binary interface, by which every
# compiled extension reads it. Read so, it takes a tenth of the time of `array.ctypes.data`.
DATA = object.__basicsize__
pointer_at = ctypes.c_void_p.from_address
ALIGNMENT = 64  # bytes: a line of the cache


def address_of(array: Any) -> int | None:
    """Where the elements of a NumPy array lie."""
    return pointer_at(id(array) + DATA).value


def aligned(memory: np.ndarray) -> np.ndarray:
    """Bytes of a piece of memory from the first line of the cache on."""
    return memory[-(address_of(memory) or 0) % ALIGNMENT :]


def zeros(size: int, dtype: Any) -> np.ndarray:
    """A flat array of zeros that begins with a line of the cache, lest each vector of it lie in two."""
    n = size * np.dtype(dtype).itemsize
    return aligned(np.zeros(n + ALIGNMENT, np.uint8))[:n].view(dtype)


@functools.cache
def build(source: str, name: str, signature: str) -> int:
    """The address of the C function that the Python function `name` of the module text `source` compiles to.

    `signature` is Numba's, with pointers for arrays: `"void(int64, CPointer(float32))"`. The caller sees to it that
    the pointers are good. Call the address through ctypes, which lets go of the interpreter lock meanwhile.

    >>> import ctypes
    >>> address = build("def twice(x):\\n    return x + x\\n", "twice", "float64(float64)")
    >>> ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(address)(21.0)
    42.0
    """
    machine = target_machine()
    folder = cache_folder()
    if folder is None:
        return link(machine_code(source, name, signature, machine), machine)
    path = folder / f"{name}-{identity(source, signature)}.o"
    code = stored(path)
    if code is None:
        code = machine_code(source, name, signature, machine)
        store(path, code)
        prune(folder)
    return link(code, machine)


def machine_code(source: str, name: str, signature: str, machine: Any) -> bytes:
    """The object file that Numba and LLVM make of the function.

    Raises ValueError if it calls something of Numba, which would not be there in a process that only loads the file.
    """
    import llvmlite.binding as llvm
    import numba

    namespace: dict[str, Any] = {"__name__": __name__}
    exec(source, namespace)
    with uncollected():
        function = numba.cfunc(signature, pipeline_class=namespace.get("PIPELINE"), **OPTIONS)(namespace[name])
    module = llvm.parse_assembly(function.inspect_llvm())
    module.get_function(function.native_name).name = ENTRY
    for f in module.functions:
        if not f.is_declaration and f.name != ENTRY:
            f.linkage = "internal"  # nobody else calls it, so LLVM may see that it never fails
    drop_error_path(module, machine)
    foreign = [f.name for f in module.functions if f.is_declaration and f.name.startswith(("numba_", "NRT_"))]
    if foreign:
        raise ValueError(f"{name}: the compiled function calls {foreign[0]}, which only Numba has")
    return machine.emit_object(module)


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Inside, nobody looks for garbage: Numba makes so many objects that this takes a sixth of its time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def drop_error_path(module: Any, machine: Any) -> None:
    """Have LLVM see that the function cannot fail, and drop what would report it by calling into Numba."""
    import llvmlite.binding as llvm

    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=1))
    for _ in range(2):  # what the first run has made plain may have been asked about before
        builder.getModulePassManager().run(module, builder)


_engines: list[Any] = []  # what has been loaded, which must live as long as its addresses are in use


def link(code: bytes, machine: Any) -> int:
    """Load an object file into this process; the address of its entry."""
    import llvmlite.binding as llvm

    libm = ctypes.CDLL(None if os.name == "posix" else "ucrtbase")  # LLVM finds no symbol that it was not told of
    for name in LIBM:
        llvm.add_symbol(name, ctypes.cast(getattr(libm, name), ctypes.c_void_p).value)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    _engines.append(engine)
    return engine.get_function_address(ENTRY)


def target_machine() -> Any:
    """LLVM's description of this very processor."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_triple(llvm.get_process_triple())
    cpu, features = llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()
    return target.create_target_machine(cpu=cpu, features=features, opt=3, jit=True)


def identity(source: str, signature: str) -> str:
    """A hash of all that the machine code depends on: the source, who compiles it, and for which processor."""
    import hashlib  # this and the next take a while to load
    from importlib.metadata import version

    import llvmlite.binding as llvm

    from . import __version__

    compilers = [__version__, Path(__file__).read_text(), platform.python_version()]
    compilers += map(version, ("numba", "llvmlite", "numpy"))
    processor = [llvm.get_process_triple(), llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()]
    text = "\n".join([source, signature, repr(OPTIONS), *compilers, *processor])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


# ---- the folder ------------------------------------------------------------------------------------------------------


def cache_folder() -> Path | None:
    """Where machine code is kept: $MINIGRAD_CACHE_DIR, or minigrad's place among the user's caches.

    None, with one warning, where that folder cannot be had, or belongs to or can be written by somebody else, who
    could then have us run their code.
    """
    try:
        folder = wanted_folder()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if others_may_write(folder.stat()):
            raise PermissionError(f"{folder} is not this user's alone to write")
    except (OSError, RuntimeError) as error:  # pathlib raises RuntimeError where there is no home
        unusable(error)
        return None
    return folder


def others_may_write(status: os.stat_result) -> bool:
    """Whether a file or folder belongs to, or can be written by, somebody else (as far as the system can tell)."""
    return hasattr(os, "getuid") and (status.st_uid != os.getuid() or bool(status.st_mode & 0o022))


def wanted_folder() -> Path:
    if chosen := os.environ.get("MINIGRAD_CACHE_DIR"):
        return Path(chosen)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "minigrad"
    if os.name == "nt":
        return Path.home() / "AppData" / "Local" / "minigrad" / "cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "minigrad"


def unusable(error: Exception) -> None:
    warn_once(
        "native cache",
        f"compiled kernels cannot be kept on disk, so every process compiles them anew ({error}); "
        "set MINIGRAD_CACHE_DIR to a folder that is yours alone",
    )


def stored(path: Path) -> bytes | None:
    """The object file kept at `path`, or None if there is none or it is not what was written there, by this user."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if others_may_write(status):
                raise PermissionError(f"{path} is not this user's alone to write")
            content = file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        unusable(error)
        return None
    if time.time() - status.st_mtime > DAY:
        with contextlib.suppress(OSError):
            os.utime(path)  # so `prune` knows that it is in use
    code, digest = content[:-DIGEST], content[-DIGEST:]
    return code if checksum(path, code) == digest else None


def store(path: Path, code: bytes) -> None:
    """Keep an object file, with its digest behind it: whole or not at all, however many processes do so at once."""
    draft = path.with_suffix(f".{os.getpid()}.{threading.get_ident()}")
    try:
        with draft.open("wb") as file:
            file.write(code + checksum(path, code))
        draft.chmod(0o600)
        draft.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        unusable(error)


def checksum(path: Path, code: bytes) -> bytes:
    """The digest of machine code and of its file's name, lest a renamed file be taken for another function."""
    import hashlib

    return hashlib.sha256(path.name.encode() + code).digest()


def prune(folder: Path) -> None:
    """Remove the files of ours that no process has used for a month."""
    with contextlib.suppress(OSError):  # such as another process that does the same
        for file in folder.iterdir():
            if OURS.fullmatch(file.name) and time.time() - file.stat().st_mtime > KEPT_FOR:
                file.unlink()
