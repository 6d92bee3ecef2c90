"""The reading of the graph by Numba: functions and training steps as native code."""

from .assembly import Code
from .function import compile
from .step import CompiledStep, Epoch, compile_step
from .trace import CaptureError
from .trust import CompiledDiffers
from .values import NoNative

__all__ = ["CaptureError", "Code", "CompiledDiffers", "CompiledStep", "Epoch", "NoNative", "compile", "compile_step"]
