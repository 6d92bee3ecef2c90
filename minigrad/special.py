"""`mg.special`, as in SciPy."""

from .ops.special import (
    beta,
    betaln,
    digamma,
    entr,
    erf,
    erfc,
    erfcinv,
    erfcx,
    erfinv,
    expit,
    gamma,
    gammaln,
    i0,
    i1,
    iv,
    j0,
    j1,
    jv,
    log_ndtr,
    logit,
    ndtr,
    ndtri,
    polygamma,
    spherical_jn,
    xlog1py,
    xlogy,
)

__all__ = [
    "beta", "betaln", "digamma", "entr", "erf", "erfc", "erfcinv", "erfcx", "erfinv", "expit", "gamma", "gammaln", "i0",
    "i1", "iv", "j0", "j1", "jv", "log_ndtr", "logit", "ndtr", "ndtri", "polygamma", "psi", "spherical_jn", "xlog1py",
    "xlogy",
]  # fmt: skip

psi = digamma
