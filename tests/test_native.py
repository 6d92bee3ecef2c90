"""Machine code on disk: found again, shared by processes, never trusted when it may be somebody else's."""

import concurrent.futures
import ctypes
import os
import stat
import subprocess
import sys
import warnings

import pytest

import minigrad as mg
from minigrad import native

SOURCE = "def twice(x):\n    return x + x\n"
SIGNATURE = "float64(float64)"
# Takes one step with Adam in a fresh process, and says what it got and whether Numba was needed.
STEP = """
import sys
import minigrad as mg
w = mg.tensor([1.0, 2.0], requires_grad=True)
optimizer = mg.optim.Adam([w], lr=0.5)
w.grad = mg.tensor([1.0, 1.0])
optimizer.step()
print(w.data.round(6).tolist(), "numba" in sys.modules)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty cache folder, and a process that has loaded nothing yet."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("MINIGRAD_CACHE_DIR", str(folder))
    monkeypatch.setattr(sys.modules["minigrad.tensor"], "_warned", set())
    native.build.cache_clear()
    yield folder
    native.build.cache_clear()


def twice(x):
    address = native.build(SOURCE, "twice", SIGNATURE)
    return ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(address)(x)


def run_step(**environment):
    done = subprocess.run(
        [sys.executable, "-c", STEP], capture_output=True, text=True, check=True, env={**os.environ, **environment}
    )
    return done.stdout.strip(), done.stderr


def refuse_to_compile(*args):
    raise AssertionError("compiled, though the machine code was there")


def test_a_second_process_needs_no_numba(folder):
    assert run_step() == ("[0.5, 1.5] True", "")
    files = list(folder.iterdir())
    assert [file.name[:5] for file in files] == ["adam-"]
    before = files[0].stat().st_mtime_ns
    assert run_step() == ("[0.5, 1.5] False", "")
    assert list(folder.iterdir()) == files
    assert files[0].stat().st_mtime_ns == before


def test_what_is_on_disk_is_not_compiled_again(folder, monkeypatch):
    assert twice(21.0) == 42.0
    native.build.cache_clear()
    monkeypatch.setattr(native, "machine_code", refuse_to_compile)
    assert twice(21.0) == 42.0


def test_another_source_signature_or_processor_is_another_file(monkeypatch):
    import llvmlite.binding

    names = {native.identity(SOURCE, SIGNATURE)}
    names.add(native.identity(SOURCE + "\n", SIGNATURE))
    names.add(native.identity(SOURCE, "float32(float32)"))
    monkeypatch.setattr(llvmlite.binding, "get_host_cpu_name", lambda: "another")
    names.add(native.identity(SOURCE, SIGNATURE))
    monkeypatch.setattr("importlib.metadata.version", lambda package: "another")
    names.add(native.identity(SOURCE, SIGNATURE))
    assert len(names) == 5


@pytest.mark.parametrize("damage", [lambda c: c[:-1], lambda c: b"", lambda c: c[:200] + b"\xcc" * 8 + c[208:]])
def test_a_damaged_file_is_written_anew(folder, damage):
    twice(1.0)
    (file,) = folder.iterdir()
    good = file.read_bytes()
    file.write_bytes(damage(good))
    native.build.cache_clear()
    assert twice(21.0) == 42.0
    content = file.read_bytes()
    assert native.stored(file) == content[: -native.DIGEST]


def test_the_folder_is_made_for_the_user_alone(folder):
    twice(1.0)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [file.suffix for file in folder.iterdir()] == [".o"]


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
def test_a_folder_that_others_may_write_is_not_used(folder, mode):
    folder.mkdir()
    folder.chmod(mode)
    with pytest.warns(mg.MinigradWarning, match="not this user's alone to write.*set MINIGRAD_CACHE_DIR") as caught:
        assert twice(21.0) == 42.0
    assert len(caught) == 1
    assert list(folder.iterdir()) == []


def test_a_folder_of_another_user_is_not_used(folder, monkeypatch):
    folder.mkdir(mode=0o700)
    owner = folder.stat().st_uid
    monkeypatch.setattr(os, "getuid", lambda: owner + 1)
    with pytest.warns(mg.MinigradWarning, match="not this user's alone to write"):
        assert twice(21.0) == 42.0
    assert list(folder.iterdir()) == []


def test_without_a_folder_it_works_with_one_warning(folder):
    folder.write_text("a file where the folder should be")
    with pytest.warns(mg.MinigradWarning, match="every process compiles them anew.*set MINIGRAD_CACHE_DIR"):
        assert twice(21.0) == 42.0
    native.build.cache_clear()
    assert twice(21.0) == 42.0  # without a second warning, which would be an error
    output, errors = run_step(MINIGRAD_CACHE_DIR=str(folder))
    assert output == "[0.5, 1.5] True"
    assert errors.count("MinigradWarning") == 1


def test_a_folder_that_cannot_be_written_works_with_one_warning(folder, monkeypatch):
    def refuse(path, content):
        raise PermissionError(13, "Permission denied", str(path))

    folder.mkdir(mode=0o700)
    monkeypatch.setattr("pathlib.Path.write_bytes", refuse)
    with pytest.warns(mg.MinigradWarning, match="Permission denied") as caught:
        assert twice(21.0) == 42.0
    assert len(caught) == 1
    assert list(folder.iterdir()) == []


def test_without_a_home_it_works_with_one_warning(monkeypatch, folder):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("MINIGRAD_CACHE_DIR")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("pathlib.Path.home", homeless)
    with pytest.warns(mg.MinigradWarning, match="Could not determine home directory"):
        assert twice(21.0) == 42.0


@pytest.mark.parametrize(
    ("platform", "environment", "expected"),
    [
        ("linux", {}, "home/.cache/minigrad"),
        ("linux", {"XDG_CACHE_HOME": "/caches"}, "/caches/minigrad"),
        ("darwin", {}, "home/Library/Caches/minigrad"),
        ("linux", {"MINIGRAD_CACHE_DIR": "/mine"}, "/mine"),
    ],
)
def test_the_places_of_caches(monkeypatch, platform, environment, expected):
    for name in ("XDG_CACHE_HOME", "MINIGRAD_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr("pathlib.Path.home", lambda: native.Path("home"))
    assert native.wanted_folder() == native.Path(expected)


def test_many_processes_at_once(folder):
    with concurrent.futures.ThreadPoolExecutor() as pool:
        results = list(pool.map(lambda _: run_step(), range(6)))
    assert {output.split("] ")[0] for output, _ in results} == {"[0.5, 1.5"}
    assert {errors for _, errors in results} == {""}
    assert [file.name[:5] for file in folder.iterdir()] == ["adam-"]
    assert run_step() == ("[0.5, 1.5] False", "")


def test_no_warning_in_an_ordinary_process(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert twice(21.0) == 42.0


def test_code_that_would_need_numba_at_run_time_is_refused(folder):
    source = "import numpy as np\n\ndef make(n):\n    return np.zeros(n).sum()\n"
    with pytest.raises(ValueError, match="make: the compiled function calls (NRT|numba)_.*, which only Numba has"):
        native.build(source, "make", "float64(int64)")
