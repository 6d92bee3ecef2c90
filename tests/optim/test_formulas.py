"""Every rule equals the published formula, transcribed here from the paper, for all values of its symbols.

`theta`, `grad` and the state are those before the step; a paper's symbols are the keyword arguments of its function.
"""

import numpy as np
import pytest
import sympy

import minigrad as mg
from minigrad.optim import rules
from minigrad.optim.equations import RULES


def symbols(name, **values):
    """The rule's symbols, and its update with some of them given values."""
    formula = mg.optim.formula(name)
    s = formula.symbols
    known = {s[key]: value for key, value in values.items()}
    return {key: known.get(symbol, symbol) for key, symbol in s.items()}, formula.update.subs(known)


def new_state(name, key):
    """The state `key` after a step without weight decay, as one expression of the symbols before it."""
    formula = mg.optim.formula(name)
    known = {}
    for step in formula.steps:
        known[step.lhs] = step.rhs.subs(known)
    return known[sympy.Symbol(f"{key}_t")].subs(formula.symbols["weight_decay"], 0)


def assert_same(ours, published):
    assert sympy.simplify(ours - published) == 0


def test_gradient_descent():
    """Robbins and Monro, A stochastic approximation method, Ann. Math. Statist. 22 (1951): x' = x - a y."""
    s, update = symbols("sgd", weight_decay=0)
    assert_same(update, s["p"] - s["lr"] * s["g"])


def test_weight_decay_is_the_gradient_of_a_penalty():
    """Krogh and Hertz, A simple weight decay can improve generalization, NIPS 1991: the penalty is lambda / 2 w^2."""
    loss = sympy.Function("E")(mg.optim.formula("sgd").symbols["p"])
    for name in set(RULES) - {"adamw"}:
        s, _ = symbols(name)
        penalized = loss + s["weight_decay"] / 2 * s["p"] ** 2
        (first, *_) = mg.optim.formula(name).steps
        assert_same(first.rhs.subs(s["g"], loss.diff(s["p"])), penalized.diff(s["p"]))


def test_momentum():
    """Sutskever et al., On the importance of initialization and momentum in deep learning, ICML 2013, eq. 1 and 2.

    v' = mu v - eps grad and theta' = theta + v', with v = -lr b.
    """
    s, update = symbols("momentum", weight_decay=0)
    v = -s["lr"] * s["b"]
    v_next = s["momentum"] * v - s["lr"] * s["g"]
    assert_same(update, s["p"] + v_next)
    assert_same(-s["lr"] * new_state("momentum", "b"), v_next)


def test_momentum_is_the_heavy_ball():
    """Polyak, Some methods of speeding up the convergence of iteration methods, 1964: x'' = x' - a f' + b (x' - x)."""
    s, update = symbols("momentum", weight_decay=0)
    x, first, second = s["p"], *sympy.symbols("f1 f2")
    b = new_state("momentum", "b")
    one = update.subs(s["g"], first)
    two = update.subs({s["p"]: one, s["g"]: second, s["b"]: b.subs(s["g"], first)}, simultaneous=True)
    assert_same(two, one - s["lr"] * second + s["momentum"] * (one - x))


def test_dampened_momentum():
    """torch.optim.SGD, documented algorithm: b_1 = g_1, then b = mu b + (1 - tau) g."""
    s, update = symbols("dampened_momentum", weight_decay=0)
    assert_same(update.subs({s["t"]: 1, s["b"]: 0}), s["p"] - s["lr"] * s["g"])
    later = s["p"] - s["lr"] * (s["momentum"] * s["b"] + (1 - s["dampening"]) * s["g"])
    for t in (2, 3, 1000):
        assert_same(update.subs(s["t"], t), later)


def test_nesterov():
    """Sutskever et al. 2013, eq. 3 and 4: v' = mu v - eps grad(theta + mu v), theta' = theta + v'.

    The rule's parameter is the point of the gradient, p = theta + mu v, with v = -lr b.
    """
    s, update = symbols("nesterov", weight_decay=0)
    v = -s["lr"] * s["b"]
    theta = s["p"] - s["momentum"] * v
    v_next = s["momentum"] * v - s["lr"] * s["g"]
    assert_same(update, (theta + v_next) + s["momentum"] * v_next)
    assert_same(-s["lr"] * new_state("nesterov", "b"), v_next)


def test_adagrad():
    """Duchi, Hazan and Singer, Adaptive subgradient methods, JMLR 12 (2011), figure 1 with phi = 0 and X = R.

    s = ||g_1..t||_2, H = delta I + diag(s), x' = x - eta H^-1 g; here for the third gradient.
    """
    s, update = symbols("adagrad", weight_decay=0, lr_decay=0)
    g1, g2 = sympy.symbols("g1 g2")
    norm = sympy.sqrt(g1**2 + g2**2 + s["g"] ** 2)
    assert_same(update.subs(s["s"], g1**2 + g2**2), s["p"] - s["lr"] / (s["eps"] + norm) * s["g"])


def test_adagrad_decay_of_the_learning_rate():
    """torch.optim.Adagrad, documented algorithm: gamma / (1 + (t - 1) eta)."""
    s, update = symbols("adagrad")
    plain = update.subs(s["lr_decay"], 0)
    assert_same(update, plain.subs(s["lr"], s["lr"] / (1 + (s["t"] - 1) * s["lr_decay"])))


def test_adadelta():
    """Zeiler, ADADELTA: an adaptive learning rate method, arXiv:1212.5701, algorithm 1 (which has no learning rate)."""
    s, update = symbols("adadelta", weight_decay=0, lr=1)
    accumulated = s["rho"] * s["v"] + (1 - s["rho"]) * s["g"] ** 2  # E[g^2]_t, line 4
    step = -sympy.sqrt(s["u"] + s["eps"]) / sympy.sqrt(accumulated + s["eps"]) * s["g"]  # delta x_t, line 5
    assert_same(update, s["p"] + step)
    assert_same(new_state("adadelta", "u"), s["rho"] * s["u"] + (1 - s["rho"]) * step**2)


def test_rmsprop():
    """Tieleman and Hinton, Neural networks for machine learning, lecture 6e (2012), slide 29.

    MeanSquare(w, t) = 0.9 MeanSquare(w, t - 1) + 0.1 grad^2; the gradient is divided by its root.
    """
    s, update = symbols("rmsprop", weight_decay=0, eps=0, alpha=sympy.Rational(9, 10))
    mean_square = sympy.Rational(9, 10) * s["v"] + sympy.Rational(1, 10) * s["g"] ** 2
    assert_same(update, s["p"] - s["lr"] * s["g"] / sympy.sqrt(mean_square))


def test_rmsprop_centered_with_momentum():
    """Graves, Generating sequences with recurrent neural networks, arXiv:1308.0850, eq. 38 to 41.

    n = a n + (1 - a) e^2, g = a g + (1 - a) e, d = b d - c e / sqrt(n - g^2 + eps), w = w + d, where d = -lr b here;
    torch adds eps outside the root, so the two are compared at eps = 0.
    """
    s, update = symbols("rmsprop_centered_momentum", weight_decay=0, eps=0)
    n = s["alpha"] * s["v"] + (1 - s["alpha"]) * s["g"] ** 2
    mean = s["alpha"] * s["m"] + (1 - s["alpha"]) * s["g"]
    d = s["momentum"] * (-s["lr"] * s["b"]) - s["lr"] * s["g"] / sympy.sqrt(n - mean**2)
    assert_same(update, s["p"] + d)
    _, plain = symbols("rmsprop_centered", weight_decay=0, eps=0)
    assert_same(update.subs(s["momentum"], 0), plain)


@pytest.mark.parametrize("centered", [False, True])
def test_where_rmsprop_adds_eps(centered):
    """torch.optim.RMSprop, documented algorithm: b = mu b + g / (sqrt(v~) + eps), theta = theta - gamma b."""
    name = "rmsprop_centered_momentum" if centered else "rmsprop_momentum"
    s, update = symbols(name, weight_decay=0)
    v = s["alpha"] * s["v"] + (1 - s["alpha"]) * s["g"] ** 2
    if centered:
        v -= (s["alpha"] * s["m"] + (1 - s["alpha"]) * s["g"]) ** 2
    b = s["momentum"] * s["b"] + s["g"] / (sympy.sqrt(v) + s["eps"])
    assert_same(update, s["p"] - s["lr"] * b)
    _, plain = symbols(name.removesuffix("_momentum"), weight_decay=0)
    assert_same(update.subs(s["momentum"], 0), plain)


def test_adam():
    """Kingma and Ba, Adam: a method for stochastic optimization, ICLR 2015, arXiv:1412.6980, algorithm 1."""
    s, update = symbols("adam", weight_decay=0)
    m = s["beta1"] * s["m"] + (1 - s["beta1"]) * s["g"]
    v = s["beta2"] * s["v"] + (1 - s["beta2"]) * s["g"] ** 2
    m_hat, v_hat = m / (1 - s["beta1"] ** s["t"]), v / (1 - s["beta2"] ** s["t"])
    assert_same(update, s["p"] - s["lr"] * m_hat / (sympy.sqrt(v_hat) + s["eps"]))


def test_adamw():
    """Loshchilov and Hutter, Decoupled weight decay regularization, ICLR 2019, arXiv:1711.05101, algorithm 2, line 12.

    theta - eta (alpha m_hat / (sqrt(v_hat) + eps) + lambda theta), with eta = lr, alpha = 1, lambda = weight_decay.
    """
    s, update = symbols("adamw")
    m = s["beta1"] * s["m"] + (1 - s["beta1"]) * s["g"]
    v = s["beta2"] * s["v"] + (1 - s["beta2"]) * s["g"] ** 2
    m_hat, v_hat = m / (1 - s["beta1"] ** s["t"]), v / (1 - s["beta2"] ** s["t"])
    step = m_hat / (sympy.sqrt(v_hat) + s["eps"])
    assert_same(update, s["p"] - s["lr"] * (1 * step + s["weight_decay"] * s["p"]))


@pytest.mark.parametrize("name", RULES)
def test_the_steps_lead_to_the_update_and_the_update_is_what_the_rule_computes(name):
    formula = mg.optim.formula(name)
    known = {}
    for step in formula.steps:
        known[step.lhs] = step.rhs.subs(known)
    assert_same(known[sympy.Symbol("theta_t")], formula.update)
    assert not formula.update.atoms(sympy.Float)
    values = dict(zip(formula.symbols, np.linspace(0.9, 0.1, len(formula.symbols)), strict=True))
    values |= {"t": 3} if "t" in values else {}
    new = getattr(rules, name)(**values)
    new_p = new[0] if isinstance(new, tuple) else new
    assert float(formula.update.subs({formula.symbols[k]: v for k, v in values.items()})) == pytest.approx(
        new_p, rel=1e-14
    )


def test_latex_keeps_the_authors_names_and_order():
    assert mg.optim.formula("adam").latex == "\n".join(
        [
            r"\begin{aligned}",
            r"g_t &= \nabla f(\theta_{t-1}) + \lambda \theta_{t-1} \\",
            r"m_t &= \beta_1 m_{t-1} + \left(1 - \beta_1\right) g_t \\",
            r"v_t &= \beta_2 v_{t-1} + \left(1 - \beta_2\right) g_t^{2} \\",
            r"\hat{m}_t &= \frac{m_t}{1 - \beta_1^{t}} \\",
            r"\hat{v}_t &= \frac{v_t}{1 - \beta_2^{t}} \\",
            r"\theta_t &= \theta_{t-1} - \frac{\eta \hat{m}_t}{\sqrt{\hat{v}_t} + \epsilon}",
            r"\end{aligned}",
        ]
    )


def signed(p, g, b, lr, beta):
    b = beta * b + (1 - beta) * g
    return p - lr * b, b


def test_a_rule_of_ones_own_has_a_formula_too():
    formula = mg.optim.formula(signed)
    assert str(formula) == "b_t = beta*b_{t-1} + (1 - beta)*g_t\ntheta_t = theta_{t-1} - lr*b_t".replace("g_t", "grad")
    assert formula._repr_latex_() == f"$${formula.latex}$$"


def test_an_unknown_name_gives_the_nearest():
    with pytest.raises(ValueError, match="unknown optimizer 'adamm': did you mean 'adam'"):
        mg.optim.formula("adamm")
