"""Machine code on disk: found again, shared by processes, never trusted when it may be somebody else's."""

import concurrent.futures
import ctypes
import os
import stat
import subprocess
import sys
import time
import warnings

import pytest

import minigrad as mg
from minigrad import native

SOURCE = "def twice(x):\n    return x + x\n"
SIGNATURE = "float64(float64)"
# Compiles a step in a fresh process, and says what it got and whether Numba was needed.
COMPILED = """
import sys
import numpy as np
import minigrad as mg
model = mg.nn.Sequential(mg.nn.Linear(2, 3), mg.nn.Tanh(), mg.nn.Linear(3, 1))
for p in model.parameters():
    p.data = np.linspace(-1, 1, p.size).reshape(p.shape)
step = mg.compile_step(model, mg.nn.MSELoss(), mg.optim.SGD(model.parameters(), lr=0.5))
x = np.linspace(-1, 1, 8).reshape(4, 2)
print([round(step(x, x[:, :1]).item(), 9) for _ in range(2)], "numba" in sys.modules)
"""
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


def run_step(program=STEP, **environment):
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env={**os.environ, **environment}
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


def test_another_compiler_of_ours_is_another_file(monkeypatch, tmp_path):
    before = native.identity(SOURCE, SIGNATURE)
    changed = tmp_path / "native.py"
    changed.write_text(native.Path(native.__file__).read_text().replace("speed_level=1", "speed_level=2"))
    monkeypatch.setattr(native, "__file__", str(changed))
    assert native.identity(SOURCE, SIGNATURE) != before


def flipped(content):
    """One bit in the middle is another."""
    i = len(content) // 2
    return content[:i] + bytes([content[i] ^ 1]) + content[i + 1 :]


DAMAGES = [lambda c: c[:-1], lambda c: b"", lambda c: c[:200] + b"\xcc" * 8 + c[208:], flipped]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_written_anew(folder, damage):
    twice(1.0)
    (file,) = folder.iterdir()
    good = file.read_bytes()
    file.write_bytes(damage(good))
    native.build.cache_clear()
    assert twice(21.0) == 42.0
    content = file.read_bytes()
    assert native.stored(file) == content[: -native.DIGEST]


def test_a_file_under_another_name_is_not_run(folder):
    twice(1.0)
    (file,) = folder.iterdir()
    thrice = "def thrice(x):\n    return x + x + x\n"
    file.rename(folder / f"thrice-{native.identity(thrice, SIGNATURE)}.o")
    address = native.build(thrice, "thrice", SIGNATURE)
    assert ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(address)(2.0) == 6.0


@pytest.mark.parametrize("mode", [0o666, 0o620])
def test_a_file_that_others_may_write_is_not_run(folder, mode, monkeypatch):
    twice(1.0)
    (file,) = folder.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.chmod(mode)
    native.build.cache_clear()
    linked = []
    monkeypatch.setattr(native, "machine_code", lambda *args: linked.append(args) or b"anew")
    monkeypatch.setattr(native, "link", lambda code, machine: code)
    with pytest.warns(mg.MinigradWarning, match="not this user's alone to write"):
        assert native.build(SOURCE, "twice", SIGNATURE) == b"anew"
    assert len(linked) == 1


def test_a_folder_behind_a_link_counts_as_where_it_is(folder, tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    folder.symlink_to(elsewhere)
    assert twice(21.0) == 42.0
    assert len(list(elsewhere.iterdir())) == 1
    elsewhere.chmod(0o777)
    native.build.cache_clear()
    with pytest.warns(mg.MinigradWarning, match="not this user's alone to write"):
        assert twice(21.0) == 42.0


def test_what_nobody_has_used_for_a_month_is_removed(folder):
    twice(1.0)
    (used,) = folder.iterdir()
    day = 24 * 60 * 60
    key = "0" * 32
    ages = {f"old-{key}.o": 31, f"draft-{key}.12.34": 31, f"young-{key}.o": 29, "else.o": 99}
    for name, days in ages.items():
        (folder / name).touch()
        os.utime(folder / name, (time.time() - days * day,) * 2)
    os.utime(used, (time.time() - 31 * day,) * 2)
    native.build.cache_clear()
    twice(1.0)  # which marks its file as used
    native.build("def once(x):\n    return x\n", "once", SIGNATURE)
    left = {file.name.partition("-")[0] for file in folder.iterdir()}
    assert left == {"twice", "once", "young", "else.o"}


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
    def refuse(path, *args):
        raise PermissionError(13, "Permission denied", str(path))

    folder.mkdir(mode=0o700)
    monkeypatch.setattr("pathlib.Path.chmod", refuse)
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


def test_a_compiled_step_in_many_processes_at_once(folder):
    with concurrent.futures.ThreadPoolExecutor() as pool:
        results = list(pool.map(lambda _: run_step(COMPILED), range(2)))
    assert [errors for _, errors in results] == ["", ""]
    (losses,) = {output.split("] ")[0] for output, _ in results}
    files = sorted(file.name[:4] for file in folder.iterdir())
    assert "run-" in files
    assert run_step(COMPILED) == (f"{losses}] False", "")
    for file in folder.glob("run-*"):
        file.write_bytes(flipped(file.read_bytes()))
    assert run_step(COMPILED) == (f"{losses}] True", "")
    assert run_step(COMPILED) == (f"{losses}] False", "")
    assert sorted(file.name[:4] for file in folder.iterdir()) == files


def test_no_warning_in_an_ordinary_process(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert twice(21.0) == 42.0


def test_code_that_would_need_numba_at_run_time_is_refused(folder):
    source = "import numpy as np\n\ndef make(n):\n    return np.zeros(n).sum()\n"
    with pytest.raises(ValueError, match="make: the compiled function calls (NRT|numba)_.*, which only Numba has"):
        native.build(source, "make", "float64(int64)")


@pytest.mark.parametrize("size", [0, 1, 7, 1000])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int8"])
def test_zeros_begin_with_a_line_of_the_cache(size, dtype):
    arrays = [native.zeros(size, dtype) for _ in range(3)]
    for a in arrays:
        assert (a.shape, a.dtype) == ((size,), dtype)
        assert a.flags.carray
        assert size == 0 or a.ctypes.data % 64 == 0
        assert not a.any()
        a[:] = 1
    assert all(a.sum() == size for a in arrays)
