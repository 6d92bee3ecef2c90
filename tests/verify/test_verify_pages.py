"""The block of docs/verify/your-gradient.md that needs PyTorch, and so is no doctest, runs here."""

from pathlib import Path

import numpy as np
import pytest

import minigrad as mg

PAGE = Path(__file__).parents[2] / "docs" / "verify" / "your-gradient.md"


def test_a_gradient_from_torch_agrees():
    pytest.importorskip("torch")
    block = PAGE.read_text(encoding="utf-8").split("<!-- torch -->\n```python\n")[1].split("```")[0]
    names = {"np": np, "mg": mg}
    exec(block, names)
    assert names["report"].verdict == "agrees"
