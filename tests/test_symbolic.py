"""Ops, layers and losses on symbols: forward, backward and twice, against SymPy's own derivatives.

This knows nothing of minigrad.verify, which does the same for users: formulas of ops without one on their card are
written out here, derivatives are sympy.diff's, and the two are compared in 30 digits at random rational points.
"""

import numpy as np
import pytest
import sympy

import minigrad as mg
from minigrad.nn import functional as nf
from minigrad.ops.attention import safe_softmax
from minigrad.ops.card import CARDS
from minigrad.ops.decompositions import over_gaps
from minigrad.ops.determinants import cofactors

rng = np.random.default_rng(0)


def flat(x):
    """The elements of an array, as a list."""
    return np.asarray(x).ravel().tolist()


def rational(low, high):
    """A random rational number in an interval, on no kink."""
    return sympy.Rational(int(rng.integers(0, 10**4)) * 2 + 1, 2 * 10**4) * sympy.Rational(
        str(high - low)
    ) + sympy.Rational(str(low))


def points(tensors, domains, n=4):
    """n points: a value for every symbol of the tensors."""
    for _ in range(n):
        yield {s: rational(*d) for t, d in zip(tensors, domains, strict=True) for s in flat(t.data)}


def value(expression, point):
    return sympy.N(sympy.sympify(expression).subs(point).doit(), 30)


def slope(expression, s):
    """sympy.diff, which leaves the slopes of steps standing: between their jumps they are 0."""
    expression = sympy.sympify(expression).replace(sympy.Mod, lambda a, b: a - b * sympy.floor(a / b))
    steps = {step: sympy.Dummy() for step in expression.atoms(sympy.floor, sympy.ceiling)}
    return sympy.diff(expression.xreplace(steps), s).xreplace({dummy: step for step, dummy in steps.items()})


def assert_equal(ours, theirs, point, what):
    a, b = value(ours, point), value(theirs, point)
    assert abs(a - b) <= 1e-25 * (1 + abs(b)), f"{what}: {ours} is {a}, and {theirs} is {b}, at {point}"


def assert_differentiates(y, expected, inputs, domains, second=True):
    """y (a result on symbols) equals the expected expressions, and so do its gradients, and theirs."""
    assert y.shape == np.shape(expected)
    expected = np.asarray(expected, dtype=object)
    g = mg.symbols("g", y.shape)
    total = sum([e * s for e, s in zip(flat(expected), flat(g.data), strict=True)], start=sympy.S.Zero)
    for x in inputs:
        x.grad = None
    y.backward(g, create_graph=True)
    pairs, sums = [(a, b, "value") for a, b in zip(flat(y.data), flat(expected), strict=True)], mg.tensor(0)
    for x in inputs:
        if x.grad is None:
            continue
        first, x.grad = x.grad, None
        assert first.shape == x.shape
        pairs += [(a, slope(total, s), f"d/d{s}") for a, s in zip(flat(first.data), flat(x.data), strict=True)]
        sums = sums + first.sum()
    if second and sums.requires_grad:
        first = sum((slope(total, s) for x in inputs for s in flat(x.data)), start=sympy.S.Zero)
        sums.backward()
        for x in inputs:
            gradients = np.zeros(x.shape, object) if x.grad is None else x.grad.data
            pairs += [
                (a, slope(first, s), f"second derivative, d/d{s}")
                for a, s in zip(flat(gradients), flat(x.data), strict=True)
            ]
    for point in points([*inputs, g], [*domains, (-2, 2)]):
        for ours, theirs, what in pairs:
            assert_equal(ours, theirs, point, what)


# ---- elementwise ops: the formula is on the card -------------------------------------------------------------------

ELEMENTWISE = sorted(name for name, card in CARDS.items() if card.domain is not None)


def formula(card):
    return eval(f"lambda {card.sympy}" if ":" in card.sympy else card.sympy, dict(vars(sympy)))


def domains_of(card):
    return card.domain if isinstance(card.domain, list) else [card.domain]


@pytest.mark.parametrize("shapes", [((), (), ()), ((2,), (2, 1), (1,))], ids=["scalars", "broadcast"])
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise_rules_are_sympys_derivatives(name, shapes):
    card = CARDS[name]
    domains = domains_of(card)
    inputs = [mg.symbols("uvw"[i], shape) for i, shape in zip(range(card.arity), shapes, strict=False)]
    if domains[0] == "bool":  # the condition is known
        inputs, domains = inputs[1:], domains[1:]
        conditions = [np.zeros(shapes[0], bool), np.ones(shapes[0], bool)]
        calls = [
            (
                lambda *xs, c=c: card(c, *xs),
                lambda *xs, c=c: xs[0 if c.all() else 1] + 0 * sum(xs) + np.zeros(c.shape, int),
            )
            for c in conditions
        ]
    else:
        scalar = formula(card)
        parameters = [sympy.Rational(repr(v)) if isinstance(v, float) else v for v in card.defaults.values()]
        calls = [(card, np.vectorize(lambda *xs: scalar(*xs, *parameters), otypes=[object]))]
    for ours, theirs in calls:
        assert_differentiates(ours(*inputs), theirs(*[np.asarray(x.data) for x in inputs]), inputs, domains)


@pytest.mark.parametrize("name", [name for name in ELEMENTWISE if domains_of(CARDS[name])[0] != "bool"])
def test_elementwise_formulas_are_what_is_computed(name):
    """The forward function, and the gradient, in floats beside the card's formula in 30 digits."""
    card = CARDS[name]
    scalar = formula(card)
    symbols = sympy.symbols("u v w", real=True)[: card.arity]
    parameters = [sympy.Rational(repr(v)) if isinstance(v, float) else v for v in card.defaults.values()]
    y = scalar(*symbols, *parameters)
    for _ in range(8):
        point = {s: rational(*d) for s, d in zip(symbols, domains_of(card), strict=True)}
        leaves = [mg.tensor(float(p), requires_grad=True) for p in point.values()]
        result = card(*leaves)
        result.backward()
        assert result.item() == pytest.approx(float(value(y, point)), rel=1e-14, abs=1e-15)
        for x, s in zip(leaves, symbols, strict=True):
            assert x.grad.item() == pytest.approx(float(value(slope(y, s), point)), rel=1e-13, abs=1e-14)


# ---- other ops: their formulas, written out ------------------------------------------------------------------------


def rowwise(f):
    """f of each row of a matrix."""
    return lambda x: np.array([f(list(row)) for row in x], dtype=object)


def M(a):
    return sympy.Matrix(a)


def norm(v):
    return sympy.sqrt(sum(e**2 for e in v))


def eigenvalues(a):
    """The roots of the characteristic polynomial of a 2 x 2 matrix, smallest first."""
    trace, determinant = a.trace(), a.det()
    return [trace / 2 + sign * sympy.sqrt(trace**2 / 4 - determinant) for sign in (-1, 1)]


def projector(a):
    """On the first eigenvector of a symmetric 2 x 2 matrix: the matrix less the second eigenvalue, scaled."""
    first, second = eigenvalues(a)
    return (a - second * sympy.eye(2)) / (first - second)


def exponential(a):
    """By Sylvester's formula."""
    (first, second), a = eigenvalues(M(a)), M(a)
    one = sympy.eye(2)
    return (exp(first) * (a - second * one) - exp(second) * (a - first * one)) / (first - second)


exp, log = sympy.exp, sympy.log


def logistic(x):
    return 1 / (1 + exp(-x))


def elman(gx, start, w):
    states = [start[0, 0]]
    for x in gx:
        states.append(sympy.tanh(x[0, 0] + states[-1] * w[0, 0]))
    return [[[h]] for h in states]


def memory(gx, start, w):
    i, f, n, o = (gx[0, 0, k] + start[0, 0, 0] * w[k, 0] for k in range(4))
    c = logistic(f) * start[1, 0, 0] + logistic(i) * sympy.tanh(n)
    return [[[[start[0, 0, 0]]], [[logistic(o) * sympy.tanh(c)]]], [[[start[1, 0, 0]]], [[c]]]]


def gated(gx, start, w):  # with biases that are the weights
    h = start[0, 0]
    r, u = (logistic(gx[0, 0, k] + h * w[k, 0] + w[k, 0]) for k in range(2))
    n = sympy.tanh(gx[0, 0, 2] + r * (h * w[2, 0] + w[2, 0]))
    return [[[h]], [[(1 - u) * n + u * h]]]


FORMULAS = {
    "rnn": (mg.ops.rnn, [(2, 1, 1), (1, 1), (1, 1)], elman),
    "lstm": (mg.ops.lstm, [(1, 1, 4), (2, 1, 1), (4, 1)], memory),
    "gru": (lambda gx, start, w: mg.ops.gru(gx, start, w, w[:, 0]), [(1, 1, 3), (1, 1), (3, 1)], gated),
    "standardize": (lambda x: mg.ops.standardize(x, 0, 0.5), [(3,)], lambda x: [
        (e - sum(x) / 3) / sympy.sqrt(sum((d - sum(x) / 3) ** 2 for d in x) / 3 + sympy.Rational(1, 2)) for e in x]),
    "sum": (mg.sum, [(2, 2)], lambda x: sum(x.ravel())),
    "sum axis": (lambda x: mg.sum(x, 1), [(2, 2)], rowwise(sum)),
    "mean": (mg.mean, [(3,)], lambda x: sum(x) / 3),
    "prod": (mg.prod, [(3,)], lambda x: x[0] * x[1] * x[2]),
    "prod axis": (lambda x: mg.prod(x, 1), [(2, 3)], rowwise(lambda r: r[0] * r[1] * r[2])),
    "max": (mg.max, [(3,)], lambda x: sympy.Max(*x)),
    "max axis": (lambda x: mg.max(x, 1), [(2, 2)], rowwise(lambda r: sympy.Max(*r))),
    "min": (mg.min, [(3,)], lambda x: sympy.Min(*x)),
    "var": (lambda x: mg.var(x, ddof=1), [(3,)], lambda x: sum((e - sum(x) / 3) ** 2 for e in x) / 2),
    "std": (mg.std, [(3,)], lambda x: sympy.sqrt(sum((e - sum(x) / 3) ** 2 for e in x) / 3)),
    "norm": (mg.linalg.norm, [(3,)], lambda x: sympy.sqrt(sum(e**2 for e in x))),
    "norm 3": (lambda x: mg.linalg.norm(x, 3), [(2,)], lambda x: sympy.cbrt(sum(abs(e) ** 3 for e in x))),
    "norm 1/2": (lambda x: mg.linalg.norm(x, 0.5), [(2,)], lambda x: sum(sympy.sqrt(abs(e)) for e in x) ** 2),
    "cumsum": (mg.cumsum, [(3,)], lambda x: [x[0], x[0] + x[1], x[0] + x[1] + x[2]]),
    "cumprod": (mg.cumprod, [(3,)], lambda x: [x[0], x[0] * x[1], x[0] * x[1] * x[2]]),
    "recurrence": (mg.ops.recurrence, [(3,), (3,)],
                   lambda a, b: [b[0], b[1] + a[1] * b[0], b[2] + a[2] * (b[1] + a[1] * b[0])]),
    "recurrence, reverse": (lambda a, b: mg.ops.recurrence(a, b, reverse=True), [(2,), (2,)],
                            lambda a, b: [b[0] + a[1] * b[1], b[1]]),
    "logcumsumexp": (mg.logcumsumexp, [(3,)], lambda x: [log(sum(map(exp, x[: i + 1]))) for i in range(3)]),
    "cummax": (mg.cummax, [(3,)], lambda x: [x[0], sympy.Max(*x[:2]), sympy.Max(*x)]),
    "cummin axis": (lambda x: mg.cummin(x, 1), [(2, 2)], rowwise(lambda r: [r[0], sympy.Min(*r)])),
    "nanmax": (mg.nanmax, [(3,)], lambda x: sympy.Max(*x)),
    "nanmin": (mg.nanmin, [(3,)], lambda x: sympy.Min(*x)),
    "convolve": (mg.convolve, [(2,), (2,)],
                 lambda a, v: [a[0] * v[0], a[0] * v[1] + a[1] * v[0], a[1] * v[1]]),
    "logsumexp": (mg.logsumexp, [(3,)], lambda x: log(sum(map(exp, x)))),
    "logsumexp axis": (lambda x: mg.logsumexp(x, 1), [(2, 2)], rowwise(lambda r: log(sum(map(exp, r))))),
    "softmax": (mg.softmax, [(1, 3)], rowwise(lambda r: [exp(e) / sum(map(exp, r)) for e in r])),
    "log_softmax": (mg.log_softmax, [(1, 3)], rowwise(lambda r: [e - log(sum(map(exp, r))) for e in r])),
    "nll_loss": (lambda x: mg.ops.nll_loss(x, [1, 0]), [(2, 2)], lambda x: -(x[0, 1] + x[1, 0]) / 2),
    "nll_loss, sum": (lambda x: mg.ops.nll_loss(x, [1, 0], "sum"), [(2, 2)], lambda x: -x[0, 1] - x[1, 0]),
    "nll_loss, none": (lambda x: mg.ops.nll_loss(x, [1, 0], "none"), [(2, 2)], lambda x: [-x[0, 1], -x[1, 0]]),
    "matmul": (mg.matmul, [(2, 2), (2, 2)], lambda a, b: sympy.Matrix(a) * sympy.Matrix(b)),
    "matmul of vectors": (mg.matmul, [(2,), (2,)], lambda a, b: a[0] * b[0] + a[1] * b[1]),
    "matrix by vector": (mg.matmul, [(2, 2), (2,)], lambda a, b: [r[0] * b[0] + r[1] * b[1] for r in a]),
    "vector by stack": (mg.matmul, [(2,), (2, 2, 1)], lambda a, b: [[a[0] * m[0, 0] + a[1] * m[1, 0]] for m in b]),
    "linear": (mg.linear, [(2, 2), (1, 2), (1,)],
               lambda x, w, b: [[r[0] * w[0, 0] + r[1] * w[0, 1] + b[0]] for r in x]),
    "vdot": (mg.ops.vdot, [(2,), (2,)], lambda a, b: a[0] * b[0] + a[1] * b[1]),
    "dot": (mg.dot, [(2,), (2,)], lambda a, b: a[0] * b[0] + a[1] * b[1]),
    "outer": (mg.outer, [(2,), (2,)], lambda a, b: [[i * j for j in b] for i in a]),
    "einsum": (lambda a, b: mg.einsum("ij,j->i", a, b), [(2, 2), (2,)],
               lambda a, b: [r[0] * b[0] + r[1] * b[1] for r in a]),
    "einsum trace": (lambda a: mg.einsum("ii", a), [(2, 2)], lambda a: a[0, 0] + a[1, 1]),
    "tensordot": (lambda a, b: mg.tensordot(a, b, 2), [(2, 2), (2, 2)], lambda a, b: sum((a * b).ravel())),
    "transpose": (mg.transpose, [(2, 3)], lambda x: x.T),
    "reshape": (lambda x: mg.reshape(x, (3, 2)), [(2, 3)], lambda x: x.reshape(3, 2)),
    "ravel": (mg.ravel, [(2, 2)], lambda x: x.reshape(4)),
    "squeeze": (mg.squeeze, [(1, 2)], lambda x: x[0]),
    "expand_dims": (lambda x: mg.expand_dims(x, 0), [(2,)], lambda x: [x]),
    "broadcast_to": (lambda x: mg.broadcast_to(x, (2, 2)), [(2,)], lambda x: [x, x]),
    "concatenate": (lambda a, b: mg.concatenate([a, b]), [(2,), (1,)], lambda a, b: [*a, *b]),
    "stack": (lambda a, b: mg.stack([a, b]), [(2,), (2,)], lambda a, b: [a, b]),
    "split": (lambda x: mg.split(x, 2)[1], [(4,)], lambda x: x[2:]),
    "getitem": (lambda x: x[[0, 0, 1]], [(2,)], lambda x: [x[0], x[0], x[1]]),
    "getitem slice": (lambda x: x[:, ::-1], [(2, 2)], lambda x: [[r[1], r[0]] for r in x]),
    "scatter": (lambda x: mg.ops.scatter(x, np.array([0, 0, 2]), (3,)), [(3,)], lambda x: [x[0] + x[1], 0, x[2]]),
    "take_along_axis": (lambda x: mg.take_along_axis(x, [[1], [0]], 1), [(2, 2)], lambda x: [[x[0, 1]], [x[1, 0]]]),
    "flip": (mg.flip, [(3,)], lambda x: x[::-1]),
    "repeat": (lambda x: mg.repeat(x, 2), [(2,)], lambda x: [x[0], x[0], x[1], x[1]]),
    "tile": (lambda x: mg.tile(x, 2), [(2,)], lambda x: [*x, *x]),
    "pad": (lambda x: mg.pad(x, 1, constant_values=3), [(2,)], lambda x: [3, *x, 3]),
    "setitem": (lambda x, v: mg.setitem(x, slice(1, None), v), [(3,), (2,)], lambda x, v: [x[0], v[0], v[1]]),
    "setitem twice": (lambda x, v: mg.setitem(x, [1, 1], v), [(2,), (2,)], lambda x, v: [x[0], v[1]]),
    "setitem where": (lambda x, v: mg.setitem(x, x > 0, v), [(2,), ()],
                      lambda x, v: [sympy.Piecewise((v.item(), e > 0), (e, True)) for e in x]),
    "index_add": (lambda x, s: mg.index_add(x, 0, [1, 1], s, alpha=2), [(2,), (2,)],
                  lambda x, s: [x[0], x[1] + 2 * s[0] + 2 * s[1]]),
    "roll": (lambda x: mg.roll(x, 1), [(3,)], lambda x: [x[2], x[0], x[1]]),
    "windows": (lambda x: mg.sliding_window_view(x, 2), [(3,)], lambda x: [[x[0], x[1]], [x[1], x[2]]]),
    "overlap": (mg.ops.moving.overlap, [(2, 2)], lambda x: [x[0, 0], x[0, 1] + x[1, 0], x[1, 1]]),
    "diag": (lambda x: mg.diag(x, 1), [(2,)], lambda x: [[0, x[0], 0], [0, 0, x[1]], [0, 0, 0]]),
    "trace": (mg.trace, [(2, 2)], lambda x: x[0, 0] + x[1, 1]),
    "triu": (mg.triu, [(2, 2)], lambda x: [[x[0, 0], x[0, 1]], [0, x[1, 1]]]),
    "cross": (mg.cross, [(3,), (3,)], lambda a, b: sympy.Matrix(a).cross(sympy.Matrix(b)).T.tolist()[0]),
    "vecdot": (mg.vecdot, [(2, 2), (2,)], lambda a, b: [r[0] * b[0] + r[1] * b[1] for r in a]),
    "kron": (mg.kron, [(2,), (2,)],
             lambda a, b: sympy.kronecker_product(sympy.Matrix(a), sympy.Matrix(b)).T.tolist()[0]),
    "linspace": (lambda a, b: mg.linspace(a, b, 4), [(), ()],
                 lambda a, b: [a.item() + (b.item() - a.item()) * sympy.Rational(i, 3) for i in range(4)]),
    "swapaxes": (lambda x: mg.swapaxes(x, 0, 1), [(2, 2)], lambda x: x.T),
    "moveaxis": (lambda x: mg.moveaxis(x, 0, 1), [(2, 2)], lambda x: x.T),
    "astype": (lambda x: x.astype(np.float32), [(2,)], lambda x: x),
    "identity": (mg.ops.identity, [(2,)], lambda x: x),
    "clip": (lambda x: mg.clip(x, -1, 1), [(2,)], lambda x: [sympy.Min(sympy.Max(e, -1), 1) for e in x]),
    "where": (lambda a, b: mg.where(a > 0, a, b), [(2,), (2,)],
              lambda a, b: [sympy.Piecewise((i, i > 0), (j, True)) for i, j in zip(a, b, strict=True)]),
    # matrices: SymPy's own functions of them where it has one
    "det": (mg.linalg.det, [(3, 3)], lambda a: M(a).det()),
    "det of order 4": (mg.linalg.det, [(4, 4)], lambda a: M(a).det(method="berkowitz"), (-3, 3), False),
    "cofactors": (cofactors, [(3, 3)], lambda a: M(a).adjugate().T),
    "slogdet": (lambda a: mg.linalg.slogdet(a)[1], [(2, 2)], lambda a: log(abs(M(a).det()))),
    "inv": (mg.linalg.inv, [(2, 2)], lambda a: M(a).inv()),
    "inv of order 3": (lambda a: mg.linalg.inv(a)[0], [(3, 3)], lambda a: M(a).inv(method="ADJ")[0, :], (1, 3), False),
    "solve": (mg.linalg.solve, [(2, 2), (2,)], lambda a, b: list(M(a).inv() * M(b))),
    "solve_triangular": (lambda a, b: mg.linalg.solve_triangular(a, b, trans=1, lower=True), [(2, 2), (2, 1)],
                         lambda a, b: M([[a[0, 0], 0], [a[1, 0], a[1, 1]]]).T.LUsolve(M(b))),
    "pinv": (mg.linalg.pinv, [(2, 1)], lambda a: M(a).T / (a[0, 0] ** 2 + a[1, 0] ** 2)),
    "cholesky": (lambda a: mg.linalg.cholesky(a @ a.T)[1], [(2, 2)],  # the triangle of a.T = Q R
                 lambda a: [a[0] @ a[1] / norm(a[0]), abs(M(a).det()) / norm(a[0])], (-3, 3), False),
    "qr": (lambda a: mg.linalg.qr(a)[0][:, 0], [(2, 2)], lambda a: a[:, 0] / norm(a[:, 0]), (-3, 3), False),
    "qr's R": (lambda a: mg.linalg.qr(a, "r")[:, 1], [(2, 2)],
               lambda a: [a[:, 0] @ a[:, 1] / norm(a[:, 0]), abs(M(a).det()) / norm(a[:, 0])], (-3, 3), False),
    "eigh": (mg.linalg.eigvalsh, [(2, 2)], lambda a: eigenvalues((M(a) + M(a).T) / 2)),
    "eigh's projector": (
        lambda a: (mg.linalg.eigh(a)[1][:, :1] @ mg.linalg.eigh(a)[1][:, :1].T)[0], [(2, 2)],
        lambda a: list(projector((M(a) + M(a).T) / 2)[0, :]), (-3, 3), False),
    "svd": (mg.linalg.svdvals, [(2, 2)], lambda a: [sympy.sqrt(e) for e in eigenvalues(M(a) * M(a).T)[::-1]],
            (-3, 3), False),
    "expm": (mg.linalg.expm, [(2, 2)], exponential, (1, 3), False),
    "over_gaps": (over_gaps, [(2,), (2,)], lambda k, gap: k / gap),
    "gelu": (mg.gelu, [()], lambda x: x.item() * (1 + sympy.erf(x.item() / sympy.sqrt(2))) / 2),
    "convolution": (
        lambda x, w, b: mg.conv1d(x, w, b, padding=1), [(1, 1, 2), (1, 1, 2), (1,)],
        lambda x, w, b: [[[x[0, 0, 0] * w[0, 0, 1] + b[0], x[0, 0, 0] * w[0, 0, 0] + x[0, 0, 1] * w[0, 0, 1] + b[0],
                           x[0, 0, 1] * w[0, 0, 0] + b[0]]]],
    ),
    "convolution_by_input": (
        mg.conv_transpose1d, [(1, 1, 2), (1, 1, 2)],
        lambda x, w: [[[x[0, 0, 0] * w[0, 0, 0], x[0, 0, 0] * w[0, 0, 1] + x[0, 0, 1] * w[0, 0, 0],
                        x[0, 0, 1] * w[0, 0, 1]]]],
    ),
    "convolution_by_weight": (
        lambda x, g: CARDS["convolution_by_weight"](x, g, stride=(1,), padding=(0,), dilation=(1,), size=(2,)),
        [(2, 1, 2), (2, 1, 1)],
        lambda x, g: [[[sum(x[n, 0, k] * g[n, 0, 0] for n in range(2)) for k in range(2)]]],
    ),
    "window_max": (lambda x: mg.max_pool1d(x, 2), [(1, 1, 4)],
                   lambda x: [[[sympy.Max(x[0, 0, 0], x[0, 0, 1]), sympy.Max(x[0, 0, 2], x[0, 0, 3])]]]),
    "window_pick": (
        lambda v, x: CARDS["window_pick"](v, x, windows=((range(2),),)), [(1, 1, 2), (1, 1, 2)],
        lambda v, x: [[[sympy.Piecewise((v[0, 0, 0], x[0, 0, 0] >= x[0, 0, 1]), (v[0, 0, 1], True))]]],
    ),
    "window_put": (
        lambda g, x: CARDS["window_put"](g, x, windows=((range(2),),)), [(1, 1, 1), (1, 1, 2)],
        lambda g, x: [[[sympy.Piecewise((g[0, 0, 0], x[0, 0, 0] >= x[0, 0, 1]), (0, True)),
                        sympy.Piecewise((0, x[0, 0, 0] >= x[0, 0, 1]), (g[0, 0, 0], True))]]],
    ),
    "window_mean": (lambda x: mg.avg_pool1d(x, 2, 1), [(1, 1, 3)],
                    lambda x: [[[(x[0, 0, i] + x[0, 0, i + 1]) / 2 for i in range(2)]]]),
    "window_spread": (
        lambda g: CARDS["window_spread"](g, windows=((range(2), range(1, 3)),), divisors=((2, 2),), size=(3,)),
        [(1, 1, 2)], lambda g: [[[g[0, 0, 0] / 2, (g[0, 0, 0] + g[0, 0, 1]) / 2, g[0, 0, 1] / 2]]],
    ),
    # losses
    "mse_loss": (nf.mse_loss, [(2,), (2,)], lambda x, t: ((x[0] - t[0]) ** 2 + (x[1] - t[1]) ** 2) / 2),
    "cross_entropy": (lambda x: nf.cross_entropy(x, [1, 0]), [(2, 2)],
                      lambda x: sum(log(exp(r[0]) + exp(r[1])) - r[t] for r, t in zip(x, (1, 0), strict=True)) / 2),
    "cross_entropy, probabilities": (
        lambda x: nf.cross_entropy(x, [[0.25, 0.75]]), [(1, 2)],
        lambda x: log(exp(x[0, 0]) + exp(x[0, 1])) - (x[0, 0] + 3 * x[0, 1]) / 4,
    ),
    "binary_cross_entropy": (
        lambda x: nf.binary_cross_entropy_with_logits(x, [0.25]), [(1,)],
        lambda x: -log(1 / (1 + exp(-x[0]))) / 4 - 3 * log(1 - 1 / (1 + exp(-x[0]))) / 4,
    ),
    "hinge_loss": (lambda x: nf.hinge_loss(x, [1.0, -1.0], "sum"), [(2,)],
                   lambda x: sympy.Max(0, 1 - x[0]) + sympy.Max(0, 1 + x[1])),
    "huber_loss": (
        lambda x: nf.huber_loss(x, [0.0, 0.0], "none"), [(2,)],
        lambda x: [sympy.Piecewise((e**2 / 2, abs(e) <= 1), (abs(e) - sympy.Rational(1, 2), True)) for e in x],
    ),
}  # fmt: skip


def normalised(row, eps, centre):
    """A row less its mean (if `centre`), over the root of its mean square."""
    row = [e - centre * sum(row) / len(row) for e in row]
    return [e / sympy.sqrt(sum(d**2 for d in row) / len(row) + eps) for e in row]


def attended(q, k, v, seen):
    """One query's mean of values, weighted by exp of how well their keys fit; `seen` are the places of the keys."""
    fit = [exp(sum(a * b for a, b in zip(q, k[j], strict=True)) / 2) for j in seen]
    return [sum(f * v[j][c] for f, j in zip(fit, seen, strict=True)) / sum(fit) for c in range(v.shape[1])]


def attention(**masks):
    return lambda q, k, v: nf.scaled_dot_product_attention(q, k, v, scale=0.5, **masks)


QKV = [(2, 2), (2, 2), (2, 1)]
FORMULAS |= {
    "layer_norm": (
        lambda x, w, b: mg.layer_norm(x, 2, w, b, eps=0.5), [(1, 2), (2,), (2,)],
        lambda x, w, b: [[n * c + d for n, c, d in zip(normalised(x[0], sympy.Rational(1, 2), 1), w, b, strict=True)]],
    ),
    "rms_norm": (
        lambda x, w: mg.rms_norm(x, 2, w, eps=0.5), [(1, 2), (2,)],
        lambda x, w: [[n * c for n, c in zip(normalised(x[0], sympy.Rational(1, 2), 0), w, strict=True)]],
    ),
    "safe_softmax": (safe_softmax, [(1, 3)], rowwise(lambda r: [exp(e) / sum(map(exp, r)) for e in r])),
    "attention": (attention(), QKV, lambda q, k, v: [attended(r, k, v, (0, 1)) for r in q]),
    "attention, causal": (attention(is_causal=True), QKV,
                          lambda q, k, v: [attended(q[0], k, v, (0,)), attended(q[1], k, v, (0, 1))]),
    "attention, masked": (attention(attn_mask=np.array([[False, False], [False, True]])), QKV,
                          lambda q, k, v: [[0 * v[0][0]], attended(q[1], k, v, (1,))]),
    "attention, -inf": (attention(attn_mask=np.array([[-np.inf, 0.0], [0.0, -np.inf]])), QKV,
                        lambda q, k, v: [attended(q[0], k, v, (1,)), attended(q[1], k, v, (0,))]),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMULAS)
def test_rules_are_sympys_derivatives(name):
    ours, shapes, theirs, *rest = FORMULAS[name]
    domain, second = rest or ((-3, 3), True)
    inputs = [mg.symbols("uvw"[i], shape) for i, shape in enumerate(shapes)]
    expected = theirs(*[np.asarray(x.data) for x in inputs])
    if isinstance(expected, sympy.MatrixBase):
        expected = np.array(expected.tolist(), object).reshape(ours(*inputs).shape)
    second = second and name.split(",")[0] not in ("attention", "gru", "lstm")  # which fill pages: see test_ops.py
    assert_differentiates(ours(*inputs), expected, inputs, [domain] * len(inputs), second)


def test_every_op_is_here():
    missing = CARDS.keys() - set(ELEMENTWISE) - {name.split()[0].rstrip(",") for name in FORMULAS}
    assert not missing, "write these ops' formulas into FORMULAS"


# ---- proofs: where simplify is quick, the difference is 0 ----------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "add",
        "subtract",
        "multiply",
        "divide",
        "square",
        "sqrt",
        "reciprocal",
        "exp",
        "log",
        "sin",
        "cos",
        "tan",
        "tanh",
        "sinh",
        "cosh",
        "sigmoid",
        "softplus",
        "silu",
        "gelu",
        "erf",
        "arctan",
        "power",
        "logaddexp",
    ],
)
def test_proofs(name):
    card = CARDS[name]
    symbols = sympy.symbols("u v", positive=True)[: card.arity]
    inputs = [mg.tensor(s, requires_grad=True) for s in symbols]
    card(*inputs).backward()
    parameters = [sympy.Rational(repr(v)) for v in card.defaults.values()]
    for x, s in zip(inputs, symbols, strict=True):
        assert (
            sympy.simplify(sympy.piecewise_fold(x.grad.item() - sympy.diff(formula(card)(*symbols, *parameters), s)))
            == 0
        )


# ---- networks ------------------------------------------------------------------------------------------------------

LAYERS = {
    "Linear": lambda: mg.nn.Linear(2, 2),
    "Sequential": lambda: mg.nn.Sequential(mg.nn.Linear(2, 2), mg.nn.Tanh(), mg.nn.Linear(2, 1)),
    "Flatten": mg.nn.Flatten,
} | {
    name: getattr(mg.nn, name)
    for name in (
        "ELU",
        "GELU",
        "Identity",
        "LeakyReLU",
        "LogSoftmax",
        "ReLU",
        "Sigmoid",
        "SiLU",
        "Softmax",
        "Softplus",
        "Tanh",
    )
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_run_on_symbols(name):
    """The formula of output and gradients, evaluated at numbers, is the numeric run."""
    layer, x = LAYERS[name](), mg.tensor(np.array([[0.3, -1.2], [0.7, 0.4]]), requires_grad=True)
    y = layer(x)
    (y**2).sum().backward()
    numbers = {"x": x} | dict(layer.named_parameters())
    expected = [y.numpy()] + [t.grad.numpy() for t in numbers.values()]

    at, symbolic = {}, {}
    for key, t in numbers.items():
        symbolic[key] = mg.symbols(key.replace(".", "_"), t.shape)
        at |= {
            s: sympy.Rational(repr(v))
            for s, v in zip(flat(symbolic[key].data), t.numpy().ravel().tolist(), strict=True)
        }
    for key, p in layer.named_parameters():
        p.data, p.grad = symbolic[key].data, None
        symbolic[key] = p
    y = layer(symbolic["x"])
    (y**2).sum().backward()
    for formulas, values in zip([y, *[t.grad for t in symbolic.values()]], expected, strict=True):
        np.testing.assert_allclose(
            [float(value(e, at)) for e in flat(formulas.data)], values.ravel(), rtol=1e-12, atol=1e-14
        )


def test_a_lambdified_gradient_is_the_numeric_one():
    x, w = mg.symbols("x", (3,)), mg.symbols("w", (3,))
    loss = nf.binary_cross_entropy_with_logits((x * w).sum(), 1.0) + 0.1 * (w**2).sum()
    loss.backward()
    arguments = flat(x.data) + flat(w.data)
    gradient = sympy.lambdify(arguments, flat(w.grad.data), "numpy")
    a, b = np.array([0.5, -1.0, 2.0]), np.array([1.0, 0.3, -0.2])
    numeric = mg.grad(lambda w: nf.binary_cross_entropy_with_logits((a * w).sum(), 1.0) + 0.1 * (w**2).sum())(b)
    np.testing.assert_allclose(gradient(*a, *b), numeric.data, rtol=1e-13)


# ---- symbols -------------------------------------------------------------------------------------------------------


def test_symbols():
    x, w = mg.symbols("x, w")
    assert (x.shape, x.name, x.requires_grad, x.is_leaf) == ((), "x", True, True)
    assert x.item() == sympy.Symbol("x", real=True)
    m = mg.symbols("W", (2, 3))
    assert m.data[1, 2] is m[1, 2].item()
    assert m.data[1, 2] == sympy.Symbol("W_1_2", real=True)
    assert type(x + 1) is mg.Tensor
    assert (x * w + mg.exp(x)).item() == x.item() * w.item() + sympy.exp(x.item())


def test_numbers_are_exact():
    x = mg.symbols("x")
    assert (x * 0.1).item() == x.item() / 10
    assert (x * np.pi).item() == x.item() * sympy.pi
    assert (x**0.5).item() == sympy.sqrt(x.item())
    assert (1 / x).item() == 1 / x.item()


def test_transforms_write_formulas():
    x = sympy.Symbol("x", real=True)
    assert mg.grad(mg.sin)(mg.symbols("x")).item() == sympy.cos(x)
    assert sympy.simplify(mg.grad(mg.grad(mg.tanh))(x).item() - sympy.diff(sympy.tanh(x), x, 2)) == 0
    hessian = mg.hessian(lambda v: v[0] ** 2 * v[1])(mg.symbols("v", (2,)))
    a, b = flat(mg.symbols("v", (2,)).data)
    assert hessian.tolist() == [[2 * b, 2 * a], [2 * a, 0]]
    y, dy = mg.jvp(lambda x: x**3, (mg.symbols("x"),), (mg.symbols("t"),))
    assert sympy.expand(dy.item() - 3 * x**2 * sympy.Symbol("t", real=True)) == 0


REFUSED = [
    (lambda: mg.symbols(""), ValueError, "symbols: no name"),
    (lambda: np.nextafter(mg.symbols("x"), 1.0), TypeError, "nextafter"),
    (lambda: float(mg.symbols("x")), TypeError, "Cannot convert expression to float|symbol"),
    (lambda: bool(mg.symbols("x") > 0), TypeError, "neither `if` nor `while`"),
]


@pytest.mark.parametrize(("call", "error", "sentence"), REFUSED, ids=range(len(REFUSED)))
def test_refused(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call()
