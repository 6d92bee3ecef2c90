"""Do the tests notice a wrong gradient rule? Each rule is made wrong in every small way, and the tests run on it.

    python tests/mutants.py                      all mutants; `make mutants` does the same
    python tests/mutants.py --sample 100         some of them, for a quick look
    python tests/mutants.py --only power relu    those of some rules

A mutant is one rule with one operator, comparison, constant, name or call in it changed. The rules are found on the
cards; the functions that they call, and the sum that undoes broadcasting, are mutated too, and so are the rules of the
optimizers. The tests are collected once. A first run notes which test reaches which rule, and how long it takes; then
each mutant gets a forked process with the tests that reach it, the quick ones first, until one fails. A mutant that
never ends counts as noticed. (Times are those of the processor, which do not grow when others use it too.)

What decides whether a kernel is the way is left alone: NumPy's way computes the same. So is what only the compiler
calls, which has tests of its own.

Some mutants compute the same as the rule. They stand in EQUIVALENT, with the reason. The score is the share of all
others that the tests notice; below 100 %, or with a mistake in that table, the exit status is 1. To save time, those in
the table meet only the quickest tests, unless one asks for --thorough.
"""

from __future__ import annotations
import __future__

import argparse
import ast
import copy
import gc
import linecache
import os
import pickle
import random
import resource
import signal
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from itertools import accumulate
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, NamedTuple

import pytest

import minigrad.ops
from minigrad import autodiff
from minigrad.ops.card import CARDS, each
from minigrad.ops.picking import scatter
from minigrad.optim import kernel
from minigrad.optim import rules as optimizers

TESTS = [
    *("test_moves.py", "test_writing.py", "test_picking.py", "test_products.py", "test_spacing.py", "test_scans.py"),
    *("test_linalg.py", "test_special.py", "test_convolution.py", "test_attention.py", "test_normalization.py"),
    *("test_loops.py", "test_statistics.py", "test_signals.py", "test_composites.py"),
    *("nn/test_recurrent.py", "nn/test_activations.py"),
    *("test_ops.py", "test_symbolic.py", "test_engine.py", "test_transforms.py", "test_losses.py", "test_numpy.py"),
    "optim/test_formulas.py",
]
BRIEFLY = 5  # seconds' worth of tests for a mutant that is listed as equivalent
PATIENCE = 60  # how many times the time of the processor may pass on the clock

GUARDS = {"native", "of_one_kind"}  # whether arrays go to a kernel

SLOWER = "this leads to the general case, which computes the same"
SHAPE = "g has the shape of y"
NDIM = "g has as many axes as y"
SQUARE = "g, y and a are square, of one order"
STRICT = "both are of one length, and strict= only makes sure of it"
COMPARED = "a comparison has no slope"
TRUE = "1 counts as True"
REMAINS = "the walk adds up what remains to be added, since this input is broadcast"
KERNEL = "y and the inputs are of one dtype, and the kernels take a g of another one too"
LENGTH = "a loop takes as many steps as the first array is long"
MATRICES = "g or y is a matrix beside a matrix exactly if the other input is one too"

# Mutants that compute the same: the rule, the reason, and the mutated lines (for a lambda, all that it returns).
TABLE = [
    ("sign", "y is -1, 0 or 1 (or nan, as x is), so 0 * y = 0 * g",
     "0 * y"),
    ("_power_by_base", "y = x**0 = 1, so 0 * y = 0 * g",
     "return g * (b * x ** (b - 1)) if b else 0 * y"),
    ("_power_by_exponent", "where this counts, the outer where takes its 0; any number with a finite logarithm will do",
     "return g * np.where(flat, 0, y * np.log(np.where(flat, 2, x)))"),
    ("_power_by_base", "where x = b = 0, b makes it 0; any number with an inverse will do",
     "return g * (b * np.where(flat, 2, x) ** (b - 1))",
     "return g * (b * np.where(flat, -1, x) ** (b - 1))"),
    ("clip[0]", "where x >= lo, y = min(x, hi), so x <= y says x <= hi",
     "np.where((x >= lo) & (x <= y), g, 0)"),
    ("clip[1]", "y = min(max(x, lo), hi): where lo < hi, x < y says x < lo; where x < lo, y < hi says lo < hi",
     "np.where((x < y) & (lo < hi), g, 0)",
     "np.where((x < lo) & (y < hi), g, 0)"),
    ("clip[2]", "y = min(max(x, lo), hi): x > y says hi < x, and lo > y says hi < lo",
     "np.where((x > y) | (lo > hi), g, 0)",
     "np.where((x > hi) | (lo > y), g, 0)"),
    ("relu", "y = max(x, 0) is positive where x is",
     "where_positive(g, x)"),
    ("where_positive[1]", SHAPE + ", and x has it up to broadcasting, which the walk undoes",
     "np.zeros_like(y)", "np.zeros_like(x)"),
    ("window_pick[1]", "values has the shape of x",
     "np.zeros_like(values)"),
    ("window_put[1]", SHAPE + ", and so has x",
     "np.zeros_like(g)", "np.zeros_like(y)"),
    ("hardtanh", "y = min(max(x, lo), hi): where lo < hi, y > lo says x > lo, and y < hi says x < hi",
     "np.where((y > min_val) & (x < max_val), g, 0)", "np.where((x > min_val) & (y < max_val), g, 0)"),
    ("hardswish", "y = x where x >= 3, and less than 3 elsewhere",
     "np.where(y >= 3, g, np.where(x > -3, g * (2 * x + 3) / 6, 0))"),
    ("hardshrink", "y is 0, or x where that is larger than lambd",
     "np.where(np.absolute(y) > lambd, g, 0)"),
    ("prelu[1]", "where x = 0, so is g * x",
     "np.where(x >= 0, 0, g * x)"),
    ("fmax[0]", "y = fmax(a, b) is b or a, and a >= a",
     "np.where((a >= y) | np.isnan(b), g, 0)"),
    ("fmax[1]", "y = fmax(a, b) is b or a, and a >= a",
     "np.where((a >= y) | np.isnan(b), 0, g)"),
    ("fmin[0]", "y = fmin(a, b) is b or a, and a <= a",
     "np.where((a <= y) | np.isnan(b), g, 0)"),
    ("fmin[1]", "y = fmin(a, b) is b or a, and a <= a",
     "np.where((a <= y) | np.isnan(b), 0, g)"),
    ("_xlogy_by_x", "where b <= 0, y = a log(b) is 0 exactly if a is",
     "zero = (y == 0) & (b <= 0)"),
    ("_xlogy_by_x", "where zero, the outer where takes its 0; any number with a finite logarithm will do",
     "return np.where(zero, 0, g * np.log(np.where(zero, 2, b)))"),
    ("_xlog1py_by_x", "where b <= -1, y = a log(1 + b) is 0 exactly if a is",
     "zero = (y == 0) & (b <= -1)"),
    ("_xlog1py_by_x", "where zero, the outer where takes its 0; any number with a finite logarithm will do",
     "return np.where(zero, 0, g * np.log1p(np.where(zero, 1, b)))"),
    ("xlogy[1]", "where a = 0, it is divided by a number, and any will do; y = 0 else only where b = 1",
     "g * (a / np.where(a == 0, 2, b))", "g * (a / np.where(a == 0, -1, b))", "g * (a / np.where(y == 0, 1, b))"),
    ("xlog1py[1]", "where a = 0, it is divided by a number, and any will do; y = 0 else only where 1 + b = 1",
     "g * (a / np.where(a == 0, 2, 1 + b))", "g * (a / np.where(a == 0, -1, 1 + b))",
     "g * (a / np.where(y == 0, 1, 1 + b))"),
    ("i1", "I_-2 = I_2",
     "g * ((i0(x) + iv_(x, v=-2)) / 2)"),
    ("j1", "J_-2 = J_2",
     "g * ((j0(x) - jv_(x, v=-2)) / 2)"),
    ("_pinv_rule", SLOWER,
     "if False:  # a.shape[-2] < a.shape[-1]", "if a.shape[-2] < a.shape[-2]:",
     "if g.shape[-2] < a.shape[-1]:", "if y.shape[-2] < a.shape[-1]:",
     "if a.shape[-2] < g.shape[-1]:", "if a.shape[-2] < y.shape[-1]:"),
    ("_expm_rule", SQUARE,
     "n, t = (g.shape[-1], transposed(a))", "n, t = (y.shape[-1], transposed(a))",
     "n, t = (a.shape[-2], transposed(a))", "zero = np.zeros_like(g)", "zero = np.zeros_like(y)"),
    ("_expm_rule", "to symbols, any scale will do; g holds them if y and a do",
     "scale = np.max(np.abs(plain(g)), initial=1)",
     "scale = 2 if g.dtype == object else np.max(np.abs(plain(g)), initial=1)",
     "scale = -1 if g.dtype == object else np.max(np.abs(plain(g)), initial=1)",
     "scale = 1 if y.dtype == object else np.max(np.abs(plain(g)), initial=1)",
     "scale = 1 if a.dtype == object else np.max(np.abs(plain(g)), initial=1)"),
    ("_expm_rule", "the scale is to be positive, and not much smaller than g",
     "scale = 1 if g.dtype == object else np.max(np.abs(plain(g)), initial=2)"),
    ("_qr_rule", "with as many columns as rows, there is no more to join",
     "wide = a.shape[-1] >= k", "if True:  # wide"),
    ("apart", "used and x have as many axes",
     "largest = np.max(sizes, axis=-1, initial=0).reshape(sizes.shape[:-1] + (1,) * (used.ndim - sizes.ndim + 1))"),
    ("apart", "some bound that grows with rounding",
     "bound = largest * (11 * sizes.shape[-1] * np.finfo(sizes.dtype).eps)",
     "bound = largest * (10 * sizes.shape[-0] * np.finfo(sizes.dtype).eps)"),
    ("apart", COMPARED,
     "return np.where(np.abs(x) <= bound, np.where(used, 0, np.inf).astype(sizes.dtype), x)"),
    ("apart_in_pairs", TRUE,
     "return np.where(np.eye(values.shape[-1]), 1, apart(x, values, pairs))"),
    ("apart_in_pairs", "x has a row and a column for each value",
     "return np.where(np.eye(x.shape[-1], dtype=bool), 1, apart(x, values, pairs))"),
    ("apart_in_pairs", "on the diagonal, 0 is divided by it; any number will do",
     "return np.where(np.eye(values.shape[-1], dtype=bool), 2, apart(x, values, pairs))",
     "return np.where(np.eye(values.shape[-1], dtype=bool), -1, apart(x, values, pairs))"),
    ("columns_of", COMPARED,
     "found = [(g != 0).any(axis=-2) for g in gradients if g.dtype != object]"),
    ("diagonal", TRUE,
     "return np.where(np.eye(x.shape[-1]), x[..., None, :], 0)"),
    ("_regular", COMPARED,
     "r = r"),
    ("triangle", "the matrices are square",
     "n = a.shape[-2]"),
    ("triangle", TRUE,
     "mask = np.tri(n, k=-1 if strict else 0)"),
    ("minors", "a is square",
     "return a[(...,) + others(a.shape[-2])]"),
    ("products_of_the_others", TRUE,
     "eye = np.eye(s.shape[-1])"),
    ("products_of_the_others", "what the diagonal adds to the sums is taken off again",
     "return np.where(eye, 1, product_of_the_others(np.ones_like(plain(s)), None, rows, -1, False))"),
    ("products_of_the_others", "ones have no slope",
     "return np.where(eye, 0, product_of_the_others(np.ones_like(s), None, rows, -1, False))"),
    ("signs", "a is square, and i - j is even exactly if i + j is",
     "i = np.arange(a.shape[-2])", "return (1 - 2 * ((i[:, None] - i) % 2)).astype(a.dtype)"),
    ("_svd_rule", "where u or v is square, u u^T gu = gu, and the term is 0",
     "if True:  # u.shape[-2] > u.shape[-1]", "if u.shape[-2] >= u.shape[-1]:",
     "if True:  # v.shape[-2] > v.shape[-1]", "if v.shape[-2] >= v.shape[-1]:"),
    ("arcsinh", "a length has no sign",
     "g / np.hypot(-1, x)"),
    ("_off_origin", "what is divided by it there is 0; any number will do",
     "return np.where(r == 0, 2, r)", "return np.where(r == 0, -1, r)"),
    ("root", "the root y of x is 0 where x is 0, and only there",
     "g / (n * np.where(x == 0, np.inf, y) ** (n - 1))"),
    ("products_before", "one step more multiplies by ones",
     "while step <= len(x):"),
    ("_by_choice_of_known", "where y is nan, no x is known, and elsewhere only what equals y is chosen",
     "return np.where(y == x, _shared((x == y) | (y != y), g, x, axis, keepdims), 0)",
     "return np.where(x == y, _shared((x == y) | (y != y), g, x, axis, keepdims), 0)"),
    ("_by_choice_of_known", "y, spread, has the shape of x, and its dtype",
     "return np.where(x == x, _shared((x == y) | (y != y), g, y, axis, keepdims), 0)"),
    ("_shared", "g and x are of one dtype",
     "ties = spread(np.add.reduce(chosen.astype(g.dtype), axis=axis, keepdims=keepdims), x, axis, keepdims)"),
    ("_part", NDIM,
     "return g[along(axis % y.ndim, slice(start, start + xs[i].shape[axis]))]"),
    ("stack", NDIM,
     "g[along(axis % y.ndim, i)]"),
    ("picking.scatter", SLOWER + ": np.add.at takes any key",
     "if False:  # picks_once(key)", "if False:  # y.ndim == 1 and isinstance(key, np.ndarray)",
     "if y.ndim == 0 and isinstance(key, np.ndarray):", "if y.ndim == -1 and isinstance(key, np.ndarray):"),
    ("picks_once", SLOWER + " of scatter and setitem",
     "parts = (key,)", "parts = key if key is tuple else (key,)",
     "return all((isinstance(k, slice | int | np.integer | None | type(...)) and is_mask(k) for k in parts))"),
    ("add_picked", "the kernel takes rows that are not contiguous too",
     "add_rows(index, x.reshape(index.size, -1), y.reshape(n, -1))"),
    ("add_picked", "to NumPy, any negative length is the one to be found",
     "add_rows(index, np.ascontiguousarray(x).reshape(index.size, -2), y.reshape(n, -1))",
     "add_rows(index, np.ascontiguousarray(x).reshape(index.size, -1), y.reshape(n, -2))"),
    ("stands_in", SLOWER + " of scatter",
     "return (isinstance(k, StandIn) for k in (key if type(key) is tuple else (key,)))"),
    ("leading", "more axes than needed only take more space",
     "if True:  # any((k is ... for k in parts))", "if (k is ... for k in parts):",
     "if any((k is not ... for k in parts)):", "return shape", "return shape[:]"),
    ("_repeats_added_up", SLOWER,
     "if False:  # x.ndim == axis + 1", "if g.ndim == axis + 1:", "if y.ndim == axis + 1:", "if x.ndim == axis - 1:",
     "if x.ndim == axis + 0:", "if x.ndim == axis + -1:"),
    ("_repeats_added_up", "g and y have the dtype of x, and its shape but for this axis",
     "return np.matmul(rows, np.ones(repeats, y.dtype))", "return np.matmul(rows, np.ones(repeats, x.dtype))",
     "rows = reshape(g, (*x.shape[:axis + 1], repeats, *g.shape[axis + 1:]))",
     "rows = reshape(g, (*x.shape[:axis + 1], repeats, *y.shape[axis + 1:]))"),
    ("_written", SLOWER,
     "if True:  # not picks_once(key)"),
    ("_written", "g and y are of the shape of x",
     "last = np.empty(leading(key, g.shape), np.intp)", "last = np.empty(leading(key, y.shape), np.intp)"),
    ("_by_start", NDIM + ", and its dtype",
     "n, i = _steps(y, num, endpoint, axis)"),
    ("_by_stop", NDIM + ", and its dtype",
     "n, i = _steps(y, num, endpoint, axis)"),
    ("_matmul_by_a", SLOWER,
     "if False:  # a.ndim == b.ndim == 2", "if a.ndim == b.ndim == 0:", "if a.ndim == b.ndim == -2:",
     "if False:  # b.ndim == 2 < a.ndim", "if a.ndim == 2 < a.ndim:", "if b.ndim == 0 < a.ndim:",
     "if b.ndim == -2 < a.ndim:", "if b.ndim == 2 < b.ndim:", "if g.ndim == 2 < a.ndim:", "if y.ndim == 2 < a.ndim:",
     "if b.ndim == 2 <= a.ndim:", "if b.ndim == 2 >= a.ndim:", "if b.ndim == 2 < g.ndim:", "if b.ndim == 2 < y.ndim:"),
    ("_matmul_by_a", "with a matrix, np.dot multiplies a vector or a stack as np.matmul does",
     "if b.ndim == b.ndim == 2:", "if a.ndim != b.ndim == 2:", "return np.dot(g, b.T).reshape(a.shape)"),
    ("_matmul_by_a", MATRICES,
     "if g.ndim == b.ndim == 2:", "if y.ndim == b.ndim == 2:",
     "if a.ndim == g.ndim == 2:", "if a.ndim == y.ndim == 2:"),
    ("_matmul_by_b", SLOWER,
     "if False:  # a.ndim == b.ndim == 2", "if a.ndim == b.ndim == 0:", "if a.ndim == b.ndim == -2:",
     "if False:  # b.ndim == 2 < a.ndim", "if a.ndim == 2 < a.ndim:", "if b.ndim == 0 < a.ndim:",
     "if b.ndim == -2 < a.ndim:", "if b.ndim == 2 < b.ndim:", "if g.ndim == 2 < a.ndim:", "if y.ndim == 2 < a.ndim:",
     "if b.ndim == 2 <= a.ndim:", "if b.ndim == 2 >= a.ndim:", "if b.ndim == 2 < g.ndim:", "if b.ndim == 2 < y.ndim:"),
    ("_matmul_by_b", MATRICES,
     "if g.ndim == b.ndim == 2:", "if y.ndim == b.ndim == 2:",
     "if a.ndim == g.ndim == 2:", "if a.ndim == y.ndim == 2:"),
    ("_matmul_by_b", "a has one axis, so the new axis 1 is the last one",
     "return np.expand_dims(a, 1) * np.expand_dims(g, -2) if b.ndim > 1 else a * g",
     "return np.expand_dims(a, --1) * np.expand_dims(g, -2) if b.ndim > 1 else a * g"),
    ("_gelu_tanh_slope", "without out=, tanh takes new memory",
     "return loops.over_elements(gelu_tanh_slope_loop, x, g, out=np.tanh(t))"),
    ("_softmax_rule", "a copy that is not contiguous is copied again",
     "return loops.softmax_slope(np.array(g), y)"),
    ("_safe_softmax_slope", "a copy that is not contiguous is copied again",
     "return loops.softmax_slope(np.array(g), y)"),
    ("masked", "to the dtype that it has, astype is a copy",
     "return scores + mask.astype(scores.dtype)"),
    ("_weights", "contiguous or not, it is the same matrix",
     "scores = np.matmul(q * scale, np.swapaxes(k, -1, -2))"),
    ("_softmax_rule", NDIM + ", and so has x",
     "if loops.native(g, y) and _is_last(axis, g):", "if loops.native(g, y) and _is_last(axis, x):"),
    ("_log_softmax_rule", NDIM + ", and so has x",
     "if loops.native(g, y) and _is_last(axis, g):", "if loops.native(g, y) and _is_last(axis, x):"),
    ("_by_bias", NDIM + ", and so have x and w",
     "return np.add.reduce(g, axis=(0, *range(2, y.ndim)))", "return np.add.reduce(g, axis=(0, *range(2, x.ndim)))",
     "return np.add.reduce(g, axis=(0, *range(2, w.ndim)))"),
    ("_attention_rule", "contiguous or not, it is the same matrix",
     "g_scores = np.matmul(g, np.swapaxes(v, -1, -2))"),
    ("_cofactors_rule", SLOWER,
     "if True:  # a.shape[-1] <= SMALL"),
    ("_cofactors_rule", "whatever the order, both ways compute the same",
     "if g.shape[-1] <= SMALL:", "if y.shape[-1] <= SMALL:", "if a.shape[1] <= SMALL:", "if a.shape[-2] <= SMALL:",
     "if a.shape[-0] <= SMALL:", "if a.shape[--1] <= SMALL:", "if a.shape[-1] < SMALL:"),
    ("_cofactors_rule", SQUARE,
     "slopes = (g * signs(g))[..., None, None] * cofactors(minors(a))",
     "slopes = (g * signs(y))[..., None, None] * cofactors(minors(a))",
     "return scatter(slopes, (..., *others(g.shape[-1])), a.shape)",
     "return scatter(slopes, (..., *others(y.shape[-1])), a.shape)",
     "return scatter(slopes, (..., *others(a.shape[-2])), a.shape)",
     "return scatter(slopes, (..., *others(a.shape[-1])), g.shape)",
     "return scatter(slopes, (..., *others(a.shape[-1])), y.shape)",
     "u, s, v = svd_parts(svd_(a), g)", "u, s, v = svd_parts(svd_(a), y)"),
    ("_cofactors_rule", "signs are 1 or -1, and so are, up to rounding, determinants of orthogonal matrices",
     "slopes = (g / signs(a))[..., None, None] * cofactors(minors(a))",
     "sign = (np.linalg.det(plain(u)) * np.linalg.det(plain(v)))[..., None, None]",
     "sign = np.sign(np.linalg.det(plain(u)) / np.linalg.det(plain(v)))[..., None, None]"),
    ("_cofactors_rule", "a sign has no slope",
     "sign = np.sign(np.linalg.det(u) * np.linalg.det(plain(v)))[..., None, None]",
     "sign = np.sign(np.linalg.det(plain(u)) * np.linalg.det(v))[..., None, None]"),
    ("_cofactors_rule", TRUE + ", and the rows of a diagonal matrix have the sums of its columns",
     "eye = np.eye(s.shape[-1])",
     "sums = np.matmul(products, np.add.reduce(np.where(eye, h, 0), axis=-2)[..., None])"),
    ("_slogdet_rule", "g holds symbols if y does",
     "if g.dtype != object and np.isneginf(plain(y)).any():"),
    ("_slogdet_rule", "a holds symbols if y does; " + COMPARED,
     "if a.dtype != object and np.isneginf(plain(y)).any():", "if y.dtype != object and np.isneginf(y).any():"),
    ("linear[0]", "w is a matrix, with which np.dot multiplies a stack as it does all rows of it",
     "np.dot(g, w)",
     "np.dot(rows(g), w).reshape(x.shape)",
     "np.dot(g, w) if b.ndim == 2 else np.dot(rows(g), w).reshape(x.shape)",
     "np.dot(g, w) if w.ndim == 2 else np.dot(rows(g), w).reshape(x.shape)",
     "np.dot(g, w) if x.ndim == 2 else np.dot(rows(g), w).reshape(x.shape)",
     "np.dot(g, w) if y.ndim == 2 else np.dot(rows(g), w).reshape(x.shape)",
     "np.dot(g, w) if g.ndim != 2 else np.dot(rows(g), w).reshape(x.shape)",
     "np.dot(g, w) if g.ndim == 3 else np.dot(rows(g), w).reshape(x.shape)",
     "np.dot(g, w) if g.ndim == 0 else np.dot(rows(g), w).reshape(x.shape)",
     "np.dot(g, w) if g.ndim == -2 else np.dot(rows(g), w).reshape(x.shape)",
     "np.dot(g, w) if g.ndim == 2 else np.dot(g, w).reshape(x.shape)"),
    ("linear[2]", REMAINS,
     "g"),
    ("_gradients", "g has the shape and dtype of x, and weight has the dtype too",
     "n, m = (g.size // weight.size, weight.size)", "axes, samples = _axes(g, weight)",
     "gx, blocks = (np.empty(g.shape, x.dtype), -(-n // BLOCK))",
     "gx, blocks = (np.empty(x.shape, g.dtype), -(-n // BLOCK))",
     "gx, blocks = (np.empty(x.shape, weight.dtype), -(-n // BLOCK))",
     "sums = np.zeros((2, blocks, m), g.dtype)", "sums = np.zeros((2, blocks, m), weight.dtype)"),
    ("_gradients", "True and False are 1 and 0",
     "arrays = (loops.matrix(g, m), loops.matrix(x, m), weight.ravel(), eps, centred, gx.reshape(n, m))"),
    ("_gradients", "how many blocks are worth a thread changes no result",
     "normalise_back.over(blocks, BLOCK * m, *arrays, *sums)",
     "normalise_back.over(blocks, loops.grain(BLOCK / m), *arrays, *sums)"),
    ("_gradients", REMAINS,
     "return (gx, g * h, np.add.reduce(g, axis=samples))", "return (gx, np.add.reduce(g * h, axis=samples), g)"),
    ("_axes", REMAINS,
     "return (tuple(range(x.ndim - weight.ndim, x.ndim)), tuple(range(x.ndim - x.ndim)))",
     "return (tuple(range(x.ndim - weight.ndim, x.ndim)), tuple(range(weight.ndim - weight.ndim)))"),
    ("standardize", "of two, the last is number 1",
     "_by_sample(g, y, _centred_and_scale(x, axis, eps, True)[-1], axis, True)"),
    ("_gru_back", SLOWER,
     "kept = GATES.of(g)", "kept = GATES.of(gx)", "kept = GATES.of(start)", "kept = GATES.of(w)", "kept = GATES.of(b)"),
    ("_gru_back", "what is kept comes from kernels, and so from arrays of one kind",
     "if kept or of_one_kind(y, gx, start, w, b):"),
    ("_gru_back", KERNEL,
     "g, w = compact(g, w)", "g, w = compact(g.astype(y.dtype), w)", "g, w = compact(g.astype(y.dtype, copy=True), w)",
     "g, w = compact(g.astype(g.dtype, copy=False), w)", "g, w = compact(g.astype(gx.dtype, copy=False), w)",
     "g, w = compact(g.astype(start.dtype, copy=False), w)", "g, w = compact(g.astype(w.dtype, copy=False), w)",
     "g, w = compact(g.astype(b.dtype, copy=False), w)"),
    ("_gru_back", "gates that are not kept are computed anew",
     "gates = PARTS.of(g) or _gru_gates(gx, np.matmul(y[:-1], w.T) + b)",
     "gates = PARTS.of(gx) or _gru_gates(gx, np.matmul(y[:-1], w.T) + b)",
     "gates = PARTS.of(start) or _gru_gates(gx, np.matmul(y[:-1], w.T) + b)",
     "gates = PARTS.of(w) or _gru_gates(gx, np.matmul(y[:-1], w.T) + b)",
     "gates = PARTS.of(b) or _gru_gates(gx, np.matmul(y[:-1], w.T) + b)"),
    ("_lstm_back", SLOWER,
     "kept = GATES.of(g)", "kept = GATES.of(gx)", "kept = GATES.of(start)", "kept = GATES.of(w)"),
    ("_lstm_back", "what is kept comes from kernels, and so from arrays of one kind",
     "if kept or of_one_kind(y, gx, start, w):"),
    ("_lstm_back", KERNEL,
     "g, w = compact(g, w)", "g, w = compact(g.astype(y.dtype), w)", "g, w = compact(g.astype(y.dtype, copy=True), w)",
     "g, w = compact(g.astype(g.dtype, copy=False), w)", "g, w = compact(g.astype(gx.dtype, copy=False), w)",
     "g, w = compact(g.astype(start.dtype, copy=False), w)", "g, w = compact(g.astype(w.dtype, copy=False), w)"),
    ("_lstm_back", "gates that are not kept are computed anew",
     "gates = PARTS.of(g) or (*_lstm_gates(gx + np.matmul(y[0, :-1], w.T)), np.tanh(y[1, 1:]))",
     "gates = PARTS.of(gx) or (*_lstm_gates(gx + np.matmul(y[0, :-1], w.T)), np.tanh(y[1, 1:]))",
     "gates = PARTS.of(start) or (*_lstm_gates(gx + np.matmul(y[0, :-1], w.T)), np.tanh(y[1, 1:]))",
     "gates = PARTS.of(w) or (*_lstm_gates(gx + np.matmul(y[0, :-1], w.T)), np.tanh(y[1, 1:]))"),
    ("_rnn_back", KERNEL,
     "g, y, w = compact(g, y, w)", "g, y, w = compact(g.astype(y.dtype), y, w)",
     "g, y, w = compact(g.astype(y.dtype, copy=True), y, w)", "g, y, w = compact(g.astype(g.dtype, copy=False), y, w)",
     "g, y, w = compact(g.astype(gx.dtype, copy=False), y, w)",
     "g, y, w = compact(g.astype(start.dtype, copy=False), y, w)",
     "g, y, w = compact(g.astype(w.dtype, copy=False), y, w)"),
    ("_gru_back", "in a step, gates are matrices",
     "dz, dp = (np.concatenate([by_r, by_u, by_n], 1), np.concatenate([by_r, by_u, by_n * r], -1))",
     "dz, dp = (np.concatenate([by_r, by_u, by_n], --1), np.concatenate([by_r, by_u, by_n * r], -1))",
     "dz, dp = (np.concatenate([by_r, by_u, by_n], -1), np.concatenate([by_r, by_u, by_n * r], 1))",
     "dz, dp = (np.concatenate([by_r, by_u, by_n], -1), np.concatenate([by_r, by_u, by_n * r], --1))"),
    ("_gru_back", LENGTH,
     "(d,), (dz, dp) = loop(body, [g[-1]], [g[:-1], y, *gates], reverse=True)",
     "(d,), (dz, dp) = loop(body, [g[-1]], [g[:-1], y[:], *gates], reverse=True)"),
    ("loop", "no rule says how many steps there are, which mg.scan does",
     "length = len(xs[0])", "length = len(xs[0]) if length is None else body",
     "length = len(xs[0]) if length is None else carry", "length = len(xs[0]) if length is None else xs"),
    ("loop", "only what is compiled is kept",
     "if False:  # kept(carry + xs)", "if kept(xs + xs):", "if kept(carry + carry):"),
    ("kept", "only what is compiled is kept",
     "return mode.capture is not None and mode.levels and (not any((isinstance(x, Tensor) for x in arrays)))",
     "return mode.capture is not None and (not mode.levels) and any((isinstance(x, Tensor) for x in arrays))",
     "return mode.capture is not None and (not mode.levels) and (not (isinstance(x, Tensor) for x in arrays))",
     "return mode.capture is not None and (not mode.levels) and (not any((x for x in arrays)))"),
    ("softmax_weights", "where x = -inf, the weight is 0, whatever is subtracted; and x is so where y is",
     "return np.exp(x - np.where(x == -np.inf, 0, y))", "return np.exp(x - np.where(y == -np.inf, 1, y))"),
    ("_logistic", "either computes a sigmoid, and its derivatives",
     "return sigmoid.forward(x)", "return sigmoid(x)"),
    ("reduce.kept", "a number has no axes, whichever are kept",
     "axes = {i % (x.ndim or 2) for i in ((axis,) if isinstance(axis, int | np.integer) else axis)}",
     "axes = {i % (x.ndim or -1) for i in ((axis,) if isinstance(axis, int | np.integer) else axis)}"),
    ("run", STRICT,
     "return (carry, [np.stack(column) for column in zip(*ys)])",
     "return (carry, [np.stack(column) for column in zip(*ys, strict=False)])"),
    ("_lstm_back", "in a step, gates are matrices",
     "dz = np.concatenate(parts, 1)", "dz = np.concatenate(parts, --1)"),
    ("_lstm_back", LENGTH,
     "d, (dz,) = loop(body, [g[0, -1], g[1, -1]], [g[0, :-1], g[1, :], y[1, :-1], *gates], reverse=True)",
     "d, (dz,) = loop(body, [g[0, -1], g[1, -1]], [g[0, :-1], g[1, :-1], y[1, :], *gates], reverse=True)"),
    ("_lstm_back", "of h and c, the last is number 1",
     "step = lstm_step_back.repeated(g, y, kept[0], d[0], d[-1], dz)",
     "gates = PARTS.of(y) or (*_lstm_gates(gx + np.matmul(y[0, :-1], w.T)), np.tanh(y[-1, 1:]))",
     "d, (dz,) = loop(body, [g[0, -1], g[-1, -1]], [g[0, :-1], g[1, :-1], y[1, :-1], *gates], reverse=True)",
     "d, (dz,) = loop(body, [g[0, -1], g[1, -1]], [g[0, :-1], g[-1, :-1], y[1, :-1], *gates], reverse=True)",
     "d, (dz,) = loop(body, [g[0, -1], g[1, -1]], [g[0, :-1], g[1, :-1], y[-1, :-1], *gates], reverse=True)"),
    ("_gru_rule", REMAINS,
     "return (dz, by_start, _by_recurrent_weight(dp, y[:-1]), dp)",
     "return (dz, by_start, _by_recurrent_weight(dp, y[:-1]), np.add.reduce(dp))"),
    ("_recurrence_by_a", SHAPE + ", and so have a and b",
     "axis %= g.ndim", "axis %= a.ndim", "axis %= b.ndim",
     "return concatenate([np.zeros_like(g[along(axis, slice(1))]), products], axis)",
     "return concatenate([np.zeros_like(y[along(axis, slice(1))]), products], axis)",
     "return concatenate([np.zeros_like(b[along(axis, slice(1))]), products], axis)"),
    ("_cumprod_rule", SHAPE,
     "return (before(y, along, 1) * recurrence(x.reshape(g.shape), g, along, True)).reshape(x.shape)"),
    ("_logcumsumexp_rule", SHAPE,
     "along, x_ = (axis or 0, x.reshape(g.shape))"),
    ("_to_the_latest", SHAPE,
     "x_ = x.reshape(g.shape)"),
    ("_einsum_rule", STRICT,
     "others = [(t, x) for j, (t, x) in enumerate(zip(terms, xs)) if j != i] + [(out, g)]",
     "others = [(t, x) for j, (t, x) in enumerate(zip(terms, xs, strict=False)) if j != i] + [(out, g)]",
     "present = {axis for t, x in others for axis in zip(t, x.shape)}",
     "present = {axis for t, x in others for axis in zip(t, x.shape, strict=False)}",
     "lengths = zip(terms[i], xs[i].shape)",
     "lengths = zip(terms[i], xs[i].shape, strict=False)"),
    ("_einsum_rule", "then every index gets ones to be multiplied with, which changes nothing",
     "present = {axis for t, x in others for axis in t}"),
    ("unbroadcast", SLOWER,
     "if False:  # len(shape) == extra == 1 and g.shape[1] == shape[0]",
     "if shape == extra == 1 and g.shape[1] == shape[0]:",
     "if len(shape) == extra == 0 and g.shape[1] == shape[0]:",
     "if len(shape) == extra == -1 and g.shape[1] == shape[0]:",
     "if len(shape) == extra == 1 and g.shape == shape[0]:",
     "if len(shape) == extra == 1 and g.shape[1] == shape:"),
    ("unbroadcast", "g has two axes, so axis -1 is axis 1",
     "if len(shape) == extra == 1 and g.shape[-1] == shape[0]:"),
    ("unbroadcast", "the product with ones is the sum",
     "return np.dot(np.ones(len(g), g.dtype), g)",
     "return np.add.reduce(g, axis=0)",
     "return np.dot(np.ones(len(g), g.dtype), g) if len(g) <= 1024 else np.add.reduce(g, axis=0)",
     "return np.dot(np.ones(len(g), g.dtype), g) if len(g) < 1024 else np.add.reduce(g)",
     "return np.dot(np.ones(len(g), g.dtype), g) if len(g) < 1025 else np.add.reduce(g, axis=0)",
     "return np.dot(np.ones(len(g), g.dtype), g) if len(g) < 0 else np.add.reduce(g, axis=0)",
     "return np.dot(np.ones(len(g), g.dtype), g) if len(g) < -1024 else np.add.reduce(g, axis=0)",
     "return np.dot(np.ones(len(g), g.dtype), g) if len(g) >= 1024 else np.add.reduce(g, axis=0)"),
]  # fmt: skip
EQUIVALENT = {(rule, line): reason for rule, reason, *lines in TABLE for line in lines}


# ---- what is mutated -----------------------------------------------------------------------------------------------


class Target(NamedTuple):
    """A function to be mutated, and its source."""

    name: str
    function: FunctionType
    tree: ast.FunctionDef | ast.Lambda
    imports: list[ast.stmt]  # those of its file


def targets() -> list[Target]:
    """Every gradient rule, then the functions that only serve them, then the rules of optimizers."""
    found: dict[CodeType, Target] = {}
    for card in CARDS.values():
        rules = [card.vjp.rule] if isinstance(card.vjp, each) else [r for r in card.vjp if r is not None]
        rules = [function for rule in rules for function in within(rule)]
        for i, rule in enumerate(rules):
            name = rule.__name__ if rule.__name__ != "<lambda>" else card.name + (f"[{i}]" if len(rules) > 1 else "")
            found.setdefault(rule.__code__, target(name, rule))
    for function in (autodiff.unbroadcast, scatter.__wrapped__):  # scatter is how indexing sends gradients back
        found[function.__code__] = target(function.__name__, function)
    todo = list(found.values())
    while todo:
        for f in helpers(todo.pop()):
            if f.__code__ not in found:
                found[f.__code__] = target(f.__name__, f)
                todo.append(found[f.__code__])
    of_optimizers = [f for f in vars(optimizers).values() if isinstance(f, FunctionType)]
    named: dict[str, Target] = {}
    for rule in [*found.values(), *(target(f.__name__, f) for f in of_optimizers)]:
        name = rule.name if rule.name not in named else f"{rule.function.__module__.split('.')[-1]}.{rule.name}"
        named[name] = rule._replace(name=name)
    return list(named.values())


def within(rule: FunctionType) -> list[FunctionType]:
    """The functions that a rule made by another function closes over; else the rule itself."""
    found = [cell.cell_contents for cell in rule.__closure__ or ()]
    return [f for f in found if isinstance(f, FunctionType)] or [rule]


def helpers(rule: Target) -> Iterator[FunctionType]:
    """The functions of minigrad.ops that a rule calls, without those that users may call."""
    public = [id(value) for value in vars(minigrad.ops).values()]
    for value in globals_of(rule).values():
        if isinstance(value, FunctionType) and value.__module__.startswith("minigrad.ops") and id(value) not in public:
            yield from (f for f in within(value) if f.__name__ not in GUARDS)


def globals_of(rule: Target) -> dict[str, Any]:
    """The global names in a rule, and their values."""
    names = {node.id for node in ast.walk(rule.tree) if isinstance(node, ast.Name)}
    return {name: rule.function.__globals__[name] for name in sorted(names & rule.function.__globals__.keys())}


def target(name: str, function: FunctionType) -> Target:
    """A live function beside its source, which is found by its place and by what it compiles to."""
    code = function.__code__
    module = ast.parse(Path(code.co_filename).read_text(encoding="utf-8"))
    imports = [node for node in module.body if isinstance(node, ast.Import | ast.ImportFrom)]
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef):
            here, node.decorator_list = node.name == function.__name__, []
        else:
            here = isinstance(node, ast.Lambda) and node.lineno == code.co_firstlineno
        if here and (alone := compiled(node, imports)).co_code == code.co_code and alone.co_names == code.co_names:
            return Target(name, function, node, imports)
    raise RuntimeError(f"{code.co_filename} changed since {name} was imported from it: run this again")


def compiled(function: ast.AST, imports: list[ast.stmt], filename: str = "") -> CodeType:
    """The code of a function by itself. (The imports are never run, but of them depends how a call is compiled.)"""
    statement = ast.copy_location(ast.Expr(function), function) if isinstance(function, ast.Lambda) else function
    module = ast.fix_missing_locations(ast.Module([*imports, statement], []))  # type: ignore[list-item]
    code = compile(module, filename, "exec", __future__.annotations.compiler_flag, dont_inherit=True)
    return next(c for c in code.co_consts if isinstance(c, CodeType))


# ---- mutants -------------------------------------------------------------------------------------------------------


class Mutant(NamedTuple):
    rule: str
    line: str  # what was changed, as it then reads
    install: Callable[[], None]


SWAPS: dict[type, tuple[type, ...]] = {
    ast.Add: (ast.Sub,), ast.Sub: (ast.Add,), ast.Mult: (ast.Div,), ast.Div: (ast.Mult,), ast.Pow: (ast.Mult,),
    ast.MatMult: (ast.Mult,), ast.Mod: (ast.FloorDiv,), ast.FloorDiv: (ast.Mod,),
    ast.BitAnd: (ast.BitOr,), ast.BitOr: (ast.BitAnd,), ast.And: (ast.Or,), ast.Or: (ast.And,),
    ast.Lt: (ast.LtE, ast.GtE), ast.LtE: (ast.Lt, ast.Gt), ast.Gt: (ast.GtE, ast.LtE), ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.Is: (ast.IsNot,), ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,), ast.NotIn: (ast.In,),
}  # fmt: skip


def is_guard(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in GUARDS


def is_compilers(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func).startswith("mode.capture.")


def replacements(node: ast.AST, arguments: dict[str, list[str]]) -> Iterator[ast.AST]:
    """What may stand in place of a node."""
    yield from (swap() for swap in SWAPS.get(type(node), ()))
    match node:
        case ast.UnaryOp(operand=operand):  # -x, not x, ~x
            yield operand
        case ast.Constant(value=bool()):
            yield ast.Constant(not node.value)
        case ast.Constant(value=int() | float() as n):
            yield from (ast.Constant(m) for m in dict.fromkeys((n + 1, 1 if n == 0 else 0, -n)) if m != n)
        case ast.Constant(value=str() as text):
            yield ast.Constant(text + "?")
        case ast.Name(id=name, ctx=ast.Load()) if name in arguments:
            yield from (ast.Name(other, ast.Load()) for other in arguments[name])
        case ast.Call(func=func, args=args, keywords=keywords):
            if args and not isinstance(args[0], ast.Starred):
                yield args[0]
            if isinstance(func, ast.Attribute) and not (isinstance(func.value, ast.Name) and func.value.id == "np"):
                yield func.value  # x.f(...) -> x
            yield from (ast.Call(func, args, [k for k in keywords if k is not dropped]) for dropped in keywords)
        case ast.keyword(arg=arg, value=ast.Name() as value):
            yield ast.keyword(arg, ast.UnaryOp(ast.Not(), value))
        case ast.Subscript(value=value, ctx=ast.Load()):
            yield value
        case ast.Slice(lower=lower, upper=upper, step=step):
            yield from (ast.Slice(*(p for p in parts)) for parts in
                        ((None, upper, step), (lower, None, step), (lower, upper, None)))  # fmt: skip
        case ast.IfExp(body=body, orelse=orelse):
            yield body
            yield orelse
        case ast.If(test=test, body=statements, orelse=orelse):
            choices = {True, False}
            if any(is_guard(part) for part in ast.walk(test)):
                choices.remove(isinstance(test, ast.UnaryOp))  # `if not native(x)`: NumPy's way
            yield from (ast.If(ast.Constant(choice), statements, orelse) for choice in choices)


def places(node: ast.AST, statement: ast.AST) -> Iterator[tuple[ast.AST, str, int | None, ast.AST]]:
    """Every node below this one, as (parent, field, index in a list of them), with the statement that it is in."""
    for field, value in ast.iter_fields(node):
        if field in ("args", "annotation", "returns", "decorator_list") and not isinstance(node, ast.Call):
            continue
        for i, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
                continue  # a docstring
            if isinstance(child, ast.AST) and not is_guard(child) and not is_compilers(child):
                inside = child if isinstance(child, ast.stmt) else statement
                yield node, field, i, inside
                yield from places(child, inside)


def put(node: ast.AST, field: str, index: int | None, child: Any) -> Any:
    """Replace a child and return the one before."""
    if index is None:
        before = getattr(node, field)
        setattr(node, field, child)
    else:
        values = getattr(node, field)
        before, values[index] = values[index], child
    return before


def mutants_of(rule: Target) -> Iterator[Mutant]:
    """The function with one thing changed, for each thing and each change."""
    tree = copy.deepcopy(rule.tree)
    arguments, seen = exchangeable(rule), {ast.unparse(tree)}
    for parent, field, i, statement in list(places(tree, tree)):
        child = getattr(parent, field) if i is None else getattr(parent, field)[i]
        for other in replacements(child, arguments):
            put(parent, field, i, other)
            if ast.unparse(tree) not in seen:
                seen.add(ast.unparse(tree))
                shown = tree.body if isinstance(tree, ast.Lambda) else other if statement is child else statement
                line = ast.unparse(shown).split("\n")[0]
                if isinstance(child, ast.If):
                    line += f"  # {ast.unparse(child.test)}"
                yield Mutant(rule.name, line, installer(rule, copy.deepcopy(tree)))
            put(parent, field, i, child)
    module = sys.modules[rule.function.__module__]
    for name, value in globals_of(rule).items():
        if isinstance(value, float):  # a constant that was computed beforehand
            for n in (value + 1, 0.0, -value):
                yield Mutant(rule.name, f"{name} = {n!r}", lambda name=name, n=n: setattr(module, name, n))


def exchangeable(rule: Target) -> dict[str, list[str]]:
    """For each argument, those that might be taken for it: an array for an array, a parameter for a parameter."""
    code = rule.function.__code__
    names = list(code.co_varnames[: code.co_argcount])
    if is_optimizers(rule):
        scalars = list(kernel.read(rule.function).scalars)
        arrays = [n for n in names if n not in scalars]
        following = {n: [after] for n, after in zip(scalars, scalars[1:] + scalars[:1], strict=True)}
    else:
        parameters = {name for card in CARDS.values() for name in card.defaults}
        arrays, following = [n for n in names if n not in parameters], {}
    return following | {n: [other for other in arrays if other != n] for n in arrays}


def is_optimizers(rule: Target) -> bool:
    return rule.function.__module__ == optimizers.__name__


def installer(rule: Target, tree: ast.AST) -> Callable[[], None]:
    def install() -> None:
        """Wherever the function is used; and with its source, which a formula is read from."""
        text = ast.unparse(tree)
        statement: Any = ast.parse(text).body[0]
        linecache.cache["mutant"] = len(text), None, text.splitlines(keepends=True), "mutant"
        code = compiled(statement.value if isinstance(statement, ast.Expr) else statement, rule.imports, "mutant")
        rule.function.__code__ = code
        if is_optimizers(rule):
            kernel.read.cache_clear()

    return install


def tell(rule: Target, reached: Callable[[str], None]) -> None:
    """Have the function call `reached` with its name, whenever it runs."""
    tree = copy.deepcopy(rule.tree)
    call = ast.parse(f"_reached({rule.name!r})", mode="eval").body
    if isinstance(tree, ast.Lambda):
        tree.body = ast.Subscript(ast.Tuple([call, tree.body], ast.Load()), ast.Constant(1), ast.Load())
    else:
        tree.body.insert(0, ast.Expr(call))
    rule.function.__globals__["_reached"] = reached
    installer(rule, tree)()


# ---- running the tests ---------------------------------------------------------------------------------------------


def forked(work: Callable[[], Any]) -> tuple[int, Any]:
    """Run `work` in a process of its own, silently; its exit status (or -signal) and its pickled result, if any."""
    sys.stdout.flush()
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reader)
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 1)
            os.dup2(nowhere, 2)
            result = pickle.dumps(work())
            with os.fdopen(writer, "wb") as out:
                out.write(result)
            os._exit(0)
        finally:
            os._exit(70)
    os.close(writer)
    with os.fdopen(reader, "rb") as results:
        result = results.read()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return status, pickle.loads(result) if result else None


class Note(NamedTuple):
    """What is known of a test."""

    passes: bool
    seconds: float
    rules: set[str]  # that it reaches


class Tests:
    """A pytest plugin that, in place of running the tests once, runs them on mutants."""

    def __init__(self, study: Callable[[Tests], int]) -> None:
        self.study, self.status = study, 2
        self.items: dict[str, pytest.Item] = {}
        self.failed = False
        self.hasty = False  # about mutants, nobody reads reports, and a traceback takes longer than the test

    def pytest_collection(self) -> None:
        from hypothesis import Phase, settings

        settings.register_profile(  # the same examples for every mutant, and the first that fails will do
            "mutants", deadline=None, database=None, derandomize=True, phases=(Phase.explicit, Phase.generate)
        )
        settings.load_profile("mutants")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self.items = {item.nodeid: item for item in session.items}
        gc.collect()
        gc.freeze()  # lest the collector touch, and so copy, what forked processes share
        self.status = self.study(self)
        return True

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo) -> pytest.TestReport | None:
        if not call.excinfo or call.excinfo.errisinstance(pytest.skip.Exception):
            return None
        self.failed = True
        if not self.hasty:
            return None
        return pytest.TestReport(item.nodeid, item.location, {}, "failed", None, call.when)

    def run(self, name: str) -> bool:
        """Whether a test passes."""
        self.failed, item = False, self.items[name]
        item.ihook.pytest_runtest_protocol(item=item, nextitem=None)
        return not self.failed

    def reached(self, rules: list[Target]) -> dict[str, Note]:
        """What every test is found to do, in a process of its own."""

        def work() -> dict[str, Note]:
            ran: set[str] = set()
            notes, anyway = {}, {rule.name for rule in rules if is_optimizers(rule)}
            for rule in rules:
                if rule.name not in anyway:  # what is read before it runs cannot tell: all tests of its kind count
                    tell(rule, ran.add)
            for name in self.items:
                ran.clear()
                start = time.process_time()
                passed = self.run(name)
                seconds = time.process_time() - start
                notes[name] = Note(passed, seconds, ran | anyway if "optim/" in name else set(ran))
            return notes

        return forked(work)[1]

    def killer(self, install: Callable[[], None], tests: list[tuple[str, float]]) -> str | None:
        """The first test that notices; tests come with the time of the processor that they may take."""

        def work() -> str | None:
            _, hard = resource.getrlimit(resource.RLIMIT_DATA)
            resource.setrlimit(resource.RLIMIT_DATA, (8 << 30, hard))  # a wrong shape can ask for any amount
            signal.signal(signal.SIGPROF, signal.SIG_DFL)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            self.hasty = True
            install()
            for name, seconds in tests:
                signal.setitimer(signal.ITIMER_PROF, seconds)
                signal.setitimer(signal.ITIMER_REAL, PATIENCE * seconds)  # for what waits for ever
                if not self.run(name):
                    return name
            return None

        status, result = forked(work)
        if status in (-signal.SIGPROF, -signal.SIGALRM):
            return "no end"
        return result if status == 0 else f"the process died ({status})"


# ---- the score -----------------------------------------------------------------------------------------------------


def study(rules: list[Target], mutants: list[Mutant], verbose: bool, thorough: bool) -> Callable[[Tests], int]:
    def run(tests: Tests) -> int:
        start = time.perf_counter()
        notes = tests.reached(rules)
        broken = [name for name, note in notes.items() if not note.passes]
        if broken:
            print(f"{len(broken)} tests fail on the rules as they are:", *broken[:10], sep="\n    ")
            return 2
        print(f"{len(notes)} tests pass in {time.perf_counter() - start:.0f} s", flush=True)
        alive = []
        for number, mutant in enumerate(mutants, 1):
            mine = sorted((note.seconds, name) for name, note in notes.items() if mutant.rule in note.rules)
            known = (mutant.rule, mutant.line) in EQUIVALENT
            if known and not thorough:
                spent = accumulate(seconds for seconds, _ in mine)
                mine = [test for test, total in zip(mine, spent, strict=True) if total < BRIEFLY]
            killer = tests.killer(mutant.install, [(name, 10 + 20 * seconds) for seconds, name in mine])
            if killer is None:
                alive.append(mutant)
            if verbose or (killer is None) != known:
                verdict = f"killed by {killer}" if killer else f"survived {len(mine)} tests"
                print(f"{mutant.rule}: {mutant.line}\n    {verdict}{', but listed as equivalent' * known}", flush=True)
            elif sys.stdout.isatty():
                print(f"{number} of {len(mutants)}", end="\r", flush=True)
        return report(mutants, alive, time.perf_counter() - start)

    return run


def report(mutants: list[Mutant], alive: list[Mutant], seconds: float) -> int:
    """Print the score; the exit status."""
    listed = [m for m in mutants if (m.rule, m.line) in EQUIVALENT]
    equivalent = [m for m in alive if m in listed]
    others = len(mutants) - len(equivalent)
    killed = len(mutants) - len(alive)
    print(
        f"{len(mutants)} mutants of {len({m.rule for m in mutants})} rules in {seconds:.0f} s: {killed} killed, "
        f"{len(equivalent)} equivalent, {len(alive) - len(equivalent)} survived\n"
        f"score: {killed} of {others} that are not equivalent, {100 * killed / max(others, 1):.1f} %"
    )
    return int(len(alive) > len(equivalent) or len(equivalent) < len(listed))


def stale(mutants: list[Mutant], names: list[str]) -> list[str]:
    """Entries of EQUIVALENT for which there is no mutant any more, among the rules of these names."""
    there = {(m.rule, m.line) for m in mutants}
    return [f"{rule}: {line}" for rule, line in EQUIVALENT if (rule, line) not in there and rule in (names or [rule])]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser("mutants.py", description=textwrap.dedent(__doc__).split("\n")[0])
    parser.add_argument("--sample", type=int, metavar="N", help="take N mutants at random, the same ones every time")
    parser.add_argument("--only", nargs="+", default=[], metavar="RULE", help="the mutants of these rules")
    parser.add_argument("--tests", nargs="+", metavar="FILE", help="the tests to run in place of the usual ones")
    parser.add_argument("--list", action="store_true", help="print the mutants and run nothing")
    parser.add_argument("--thorough", action="store_true", help="run all tests on the mutants in EQUIVALENT too")
    parser.add_argument("--verbose", action="store_true", help="print for every mutant which test killed it")
    options = parser.parse_args(arguments)

    rules = {rule.name: rule for rule in targets()}
    unknown = [name for name in options.only if name not in rules]
    if unknown:
        parser.error(f"no rule is called {', '.join(unknown)}; there are {', '.join(rules)}")
    mutants = [m for name in options.only or rules for m in mutants_of(rules[name])]
    old = stale(mutants, options.only)
    if old:
        print("EQUIVALENT lists what is no mutant:", *old, sep="\n    ")
        return 1
    if options.sample is not None:
        mutants = random.Random(0).sample(mutants, min(options.sample, len(mutants)))
    if options.list:
        print(*(f"{m.rule}: {m.line}" for m in mutants), sep="\n")
        return 0

    os.environ["OMP_NUM_THREADS"] = "1"  # threads do not survive a fork
    import scipy.special  # noqa: F401  once, and not in every process

    here = Path(__file__).parent
    files = options.tests or [str(here / name) for name in TESTS]
    tests = Tests(study(list(rules.values()), mutants, options.verbose, options.thorough))
    quiet = ["-qq", "--no-header", "--no-summary", "-s", "-p", "no:cacheprovider", f"--rootdir={here.parent}"]
    pytest.main([*quiet, *files], plugins=[tests])
    return tests.status


if __name__ == "__main__":
    sys.exit(main())
