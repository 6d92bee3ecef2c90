"""These tests go over what the other folders' tests list: every card, every composed function, every layer."""

import sys
from pathlib import Path

tests = Path(__file__).parents[1]
sys.path[:0] = [str(tests), str(tests / "nn")]
