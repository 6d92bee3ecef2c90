import csv
import io
import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from minigrad import bench, cli
from minigrad.bench import PEERS, SCALES, Row, compared, measured, nets, report
from minigrad.bench.peer import Peer, numpy_bytes
from minigrad.bench.worker import Worker

PARTNERS = [peer for peer in ("torch", "jax", "autograd") if find_spec(peer)]


def run(capsys, *argv):
    status = cli.main(["bench", *argv])
    return status, *capsys.readouterr()


@pytest.fixture(scope="module")
def moons():
    """The smallest net by one peer, measured in earnest."""
    (rows,) = measured([{"net": "moons"}], ["minigrad"], rounds=2, seconds=0.01)
    return rows


@pytest.fixture
def shown(monkeypatch):
    """What the command shows when these rows were measured; the options it measured by."""

    def replace(rows):
        asked = {}

        def instead(specs, peers, **how):
            asked.update(how, specs=specs, peers=peers)
            return [rows]

        monkeypatch.setattr(cli.bench, "measured", instead)
        return asked

    return replace


def rows_of(*times, losses=(1.0, 0.5), **kwargs):
    peers = ("minigrad-run", "torch", "jax-scan")
    rows = [Row("moons", peer, rounds=[t], losses=list(losses), first_seconds=1.5, memory_bytes=2000, **kwargs)
            for peer, t in zip(peers, times, strict=False)]  # fmt: skip
    compared(rows)
    return rows


# Measuring


def test_a_net_is_timed_and_weighed(moons):
    (row,) = moons
    assert row.error == ""
    assert len(row.rounds) == 2
    assert row.microseconds == sum(row.rounds) / 2 > 0
    assert row.first_seconds >= 0
    assert row.memory_bytes > 4 * (100 * 3 + 337)  # at least the batch and the parameters
    assert len(row.losses) == 10
    assert row.losses[-1] < row.losses[0]


def test_moons_is_the_net_that_it_says(moons):
    """The first losses, by the formulas of the chain rule on plain arrays."""
    net = nets.NETS["moons"]
    p, (x, y) = {name: value.astype(float) for name, value in net.parameters().items()}, net.data()
    for loss in moons[0].losses:
        h = [x]
        for i in range(3):
            z = h[-1] @ p[f"w{i}"] + p[f"b{i}"]
            h.append(np.maximum(z, 0) if i < 2 else z)
        margin = 1 - y * h[-1]
        assert loss == pytest.approx(
            np.maximum(margin, 0).mean() + 1e-4 * sum((w**2).sum() for w in p.values()), rel=1e-5
        )
        g = -y * (margin > 0) / len(x)
        gradient = {}
        for i in (2, 1, 0):
            gradient |= {f"w{i}": h[i].T @ g, f"b{i}": g.sum(axis=0)}
            g = (g @ p[f"w{i}"].T) * (h[i] > 0)
        for name in p:
            p[name] = p[name] - 0.01 * (gradient[name] + 2e-4 * p[name])


@pytest.mark.parametrize(
    "net", [pytest.param(net, marks=() if net == "digits" else pytest.mark.long) for net in nets.NETS]
)
def test_all_peers_do_the_same_work(net):
    if not PARTNERS:
        pytest.skip("no other library is installed")
    (rows,) = measured([{"net": net}], ["minigrad", *PARTNERS], rounds=0, memory=False)
    assert [(row.error, row.agrees) for row in rows] == [("", True)] * len(rows)
    assert rows[0].losses[-1] < rows[0].losses[0]


@pytest.mark.long
@pytest.mark.skipif("torch" not in PARTNERS, reason="torch is not installed")
def test_torch_is_weighed_by_its_own_allocator():
    (rows,) = measured([{"net": "digits"}], ["torch"], rounds=0)
    net = nets.NETS["digits"]
    parameters = sum(value.nbytes for value in net.parameters().values())
    held = 4 * parameters + sum(array.nbytes for array in net.data())  # with gradients and Adam's two moments
    assert held < rows[0].memory_bytes < 2 * held


def test_memory_counts_what_is_held_and_what_a_step_takes():
    class Holder(Peer):
        def start(self):
            self.state = np.zeros(1_000_000, np.uint8)

        def run(self, steps):
            for _ in range(steps):
                np.zeros(2_000_000, np.uint8).sum(dtype=np.uint8)

    peer = Holder(nets.NETS["moons"], 1)
    batch = peer.x.nbytes + peer.y.nbytes
    assert numpy_bytes(peer) == pytest.approx(3_000_000 + batch, abs=50_000)


def test_whoever_cannot_do_it_says_why(tmp_path):
    worker = Worker("pytensor", {"net": "lenet"}, None, tmp_path)
    try:
        error = worker.ask("prepare")["error"]
    finally:
        worker.close()
    wanted = "NotImplementedError: PyTensor has no" if find_spec("pytensor") else "No module named 'pytensor'"
    assert wanted in error


def test_whoever_dies_leaves_a_last_word(tmp_path):
    worker = Worker("minigrad", {"net": "moons"}, None, tmp_path)
    worker.process.kill()
    worker.process.wait()
    assert worker.ask("prepare") == {"error": "ended without a word"}
    worker.close()


def test_a_data_set_begins_with_the_batch():
    for net in nets.NETS.values():
        for one, many in zip(net.data(), net.data(3), strict=True):
            assert len(many) == 3 * net.batch
            np.testing.assert_array_equal(one, many[: net.batch])


def test_the_floor_is_that_of_the_products():
    from minigrad.bench.products import Products

    floor = Products(nets.scaled(batch=4, width=8, depth=1), 1)
    floor.start()
    floor.advance(1)
    forward, inputs, weights = floor.outputs
    for i in range(2):
        np.testing.assert_allclose(forward[i], floor.xs[i] @ floor.ws[i], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(weights[i], floor.xs[i].T @ floor.gs[i], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(inputs[1], floor.gs[1] @ floor.ws[1].T, rtol=1e-5, atol=1e-6)
    assert floor.seconds(0.001) > 0


@pytest.mark.parametrize("measure", SCALES)
def test_runs_are_whole_passes_over_the_data(measure):
    grown = [nets.scaled(**{measure: size}) for size in SCALES[measure]]
    assert all(net.steps % nets.BATCHES == 0 < net.steps for net in [*grown, *nets.NETS.values()])


# Comparing


def test_ratios_are_to_the_fastest_of_the_others():
    rows = rows_of(2.0, 8.0, 4.0)
    assert [row.ratio for row in rows] == [0.5, 2.0, 1.0]


def test_who_computes_something_else_is_marked(capsys, shown):
    rows = rows_of(2.0, 8.0, 4.0)
    rows[1].losses = [1.0, 0.6]
    compared(rows)
    assert [row.agrees for row in rows] == [True, False, True]
    shown(rows)
    status, out, _ = run(capsys)
    assert status == 1
    (line,) = [line for line in out.splitlines() if "torch  " in line]
    assert "not the same work: its loss at step 2 is 0.6, that of the others 0.5, 0.5" in line
    assert "8 !" in report.markdown(rows)


@pytest.mark.parametrize("lost", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_is_marked(lost):
    rows = rows_of(2.0, 8.0, 4.0)
    rows[0].losses = [1.0, lost]
    compared(rows)
    assert [row.agrees for row in rows[:2]] == [False, np.isinf(lost)]


# Showing


def test_the_table(capsys, shown, moons):
    shown(moons)
    status, out, _ = run(capsys, "--net", "moons")
    assert status == 0
    conditions, head, line = out.splitlines()
    assert "Python" in conditions
    assert head.split() == ["net", "peer", "us/step", "ratio", "first", "s", "kB"]
    net, peer, *figures = line.split()
    assert (net, peer, len(figures)) == ("moons", "minigrad", 4)
    assert float(figures[0]) == pytest.approx(moons[0].microseconds, rel=0.01)


def test_the_fastest_comes_first_and_who_failed_last(capsys, shown):
    rows = [*rows_of(2.0, 8.0, 4.0), Row("moons", "minigrad-step", error="CaptureError: nothing to see " + "x" * 200)]
    shown(rows)
    _, out, _ = run(capsys)
    assert [line.split()[1] for line in out.splitlines()[2:]] == ["minigrad-run", "jax-scan", "torch", "minigrad-step"]
    assert out.splitlines()[-1].split(maxsplit=3)[2:] == ["-", "CaptureError: nothing to see ..."]


def test_json_holds_everything(capsys, shown, moons):
    shown(moons)
    _, out, _ = run(capsys, "--json")
    found = json.loads(out)
    assert found["machine"]["numpy"] == np.__version__
    assert found["rows"] == [vars(row) for row in moons]


def test_csv_holds_a_line_each(capsys, shown, moons):
    shown(moons)
    _, out, _ = run(capsys, "--csv")
    (line,) = csv.DictReader(io.StringIO(out))
    assert line["net"], line["peer"] == ("moons", "minigrad")
    assert float(line["microseconds"]) == moons[0].microseconds
    assert line["ratio"] == ""


def growing():
    rows = [Row(f"depth {size}", peer, size, rounds=[2.0 * size], first_seconds=0.5)
            for size in SCALES["depth"] for peer in ("minigrad-run", "products")]  # fmt: skip
    compared(rows)
    return rows


def test_scaling_shows_times_and_compile_times_by_size(capsys, shown):
    asked = shown(growing())
    status, out, _ = run(capsys, "--scaling", "depth", "--peer", "minigrad-run", "--quick")
    assert status == 0
    assert asked["specs"] == [{"depth": size} for size in SCALES["depth"]]
    assert asked["peers"] == ["minigrad-run", "products"]
    times, first = out.split("\n\n")[1:]
    assert times.splitlines()[1].split() == ["minigrad-run", "products"]
    assert times.splitlines()[-1].split() == ["depth", "64", "128", "128"]
    assert first.splitlines()[-1].split() == ["depth", "64", "0.50"]


def test_pictures_are_saved(capsys, shown, tmp_path):
    pytest.importorskip("matplotlib")
    for rows, options in ((rows_of(2.0, 8.0, 4.0), []), (growing(), ["--scaling", "depth"])):
        shown(rows)
        file = tmp_path / f"{len(options)}.png"
        assert run(capsys, "--plot", str(file), *options)[0] == 0
        assert file.read_bytes().startswith(b"\x89PNG")


def test_a_page_is_filled_between_its_marks(capsys, shown, tmp_path):
    page = tmp_path / "speed.md"
    page.write_text("before\n<!-- bench nets -->\nold\n<!-- end -->\nafter <!-- bench depth -->\nkept\n<!-- end -->\n")
    shown(rows_of(2.0, 8.0, 4.0))
    assert run(capsys, "--write", str(page))[0] == 0
    written = page.read_text()
    assert written.startswith("before\n<!-- bench nets -->\n\nMicroseconds a step:\n")
    assert "| moons | 2 | 8 | 4 |" in written
    assert "old" not in written
    assert written.endswith("\n<!-- end -->\nafter <!-- bench depth -->\nkept\n<!-- end -->\n")


@pytest.mark.parametrize("what", ["nets", *SCALES])
def test_the_page_of_the_docs_has_a_place_for_each_table(what):
    page = (Path(__file__).parent.parent / "docs" / "speed.md").read_text(encoding="utf-8")
    assert "| moons | 2 | 8 | 4 |" in report.filled(page, what, rows_of(2.0, 8.0, 4.0))


# Asking


def test_quick_is_short_and_weighs_nothing(capsys, shown, moons):
    asked = shown(moons)
    run(capsys, "--quick", "--threads", "1", "--net", "moons", "--net", "gpt", "moons", "--peer", "minigrad")
    assert asked["rounds"] == 2
    assert asked["memory"] is False
    assert asked["threads"] == 1
    assert asked["specs"] == [{"net": "moons"}, {"net": "gpt"}]


def test_a_peer_that_is_not_installed_is_left_out_with_a_line(capsys, shown, moons, monkeypatch):
    monkeypatch.setattr(bench, "find_spec", lambda name: None if name in ("torch", "optax") else object())
    asked = shown(moons)
    status, _, err = run(capsys)
    assert status == 0
    assert "torch-compile is left out: torch is not installed (pip install torch)" in err
    assert "jax-scan is left out: optax is not installed (pip install optax)" in err
    assert set(PEERS) - set(asked["peers"]) == {"torch", "torch-compile", "jax", "jax-scan", "products"}
    assert run(capsys, "--peer", "torch")[::2] == (2, err.splitlines()[0] + "\nminigrad: nobody is left to measure\n")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("--net moon", "--net: unknown net 'moon': did you mean 'moons'? Known are moons, digits, mnist, lenet, "),
        ("--peer trch", "--peer: unknown peer 'trch': did you mean 'torch'? Known are minigrad-run, "),
        ("--peer products", "--peer: unknown peer 'products'"),
        ("--scaling length", "--scaling: unknown measure 'length': Known are batch, width, depth"),
        ("--scaling batch --net moons", "--net chooses among the six nets, and --scaling has a net of its own"),
        ("--rounds 0", "--rounds: '0' is not a whole number from 1 up"),
        ("--threads two", "--threads: 'two' is not a whole number from 1 up"),
        ("--json --csv", "not allowed with"),
        ("--plot speed.doc", "--plot speed.doc: its name must end in .png, .pdf or .svg"),
        ("--plot nowhere/speed.png", "--plot nowhere/speed.png: there is no folder nowhere"),
        ("--write nowhere.md", "No such file"),
        ("--quik", "unknown argument '--quik': did you mean '--quick'?"),
        ("verfy", "unknown benchmark 'verfy': did you mean 'verify'?"),
    ],
)
def test_refuses_with_a_sentence(capsys, monkeypatch, tmp_path, options, sentence):
    monkeypatch.chdir(tmp_path)
    status, out, err = run(capsys, *options.split())
    assert (status, out) == (2, "")
    assert sentence in err
    assert err.count("\n") == 1


def test_a_page_without_marks_is_refused_before_measuring(capsys, tmp_path):
    (tmp_path / "page.md").write_text("no marks")
    status, _, err = run(capsys, "--scaling", "width", "--write", str(tmp_path / "page.md"))
    assert status == 2
    assert "lines <!-- bench width --> and <!-- end --> around it" in err


def test_help_names_every_net_and_peer(capsys):
    with pytest.raises(SystemExit):
        cli.main(["bench", "--help"])
    out = capsys.readouterr().out
    assert all(f"\n  {net} " in out for net in nets.NETS)
    assert all(peer in out for peer in PEERS)
    assert "minigrad bench --scaling depth --plot depth.png" in out


# The benchmarks of a checkout


def test_scripts_get_their_own_options(capfd):
    assert cli.main(["bench", "verify", "--checkers", "autograd", "--help"]) == 0
    assert "--write PAGE" in capfd.readouterr().out


def test_scripts_are_not_part_of_a_package(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(cli.bench, "BENCHMARKS", tmp_path)
    assert cli.main(["bench", "verify"]) == 2
    assert "come with the source" in capsys.readouterr().err
