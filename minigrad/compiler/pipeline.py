"""Numba's compiler, without what generated code does not need: most of the time that it takes.

The functions of generated code are called by each other only, and become one object file (see native.py). So none of
them needs machine code of its own, nor wrappers for Python; and each is optimised once, where it stays a function, and
not again with all that call it.
"""

from __future__ import annotations

from typing import Any

import numba
from numba.core import typed_passes, types, untyped_passes
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import PassManager, register_pass
from numba.core.lowering import Lower

__all__ = ["Apart", "Inner", "njit"]

# Passes for what generated code does not have: closures, contexts, literals, exceptions.
NEEDLESS = {
    untyped_passes.WithLifting, untyped_passes.InlineClosureLikes, untyped_passes.RewriteDynamicRaises,
    untyped_passes.MakeFunctionToJitFunction, untyped_passes.InlineInlinables, untyped_passes.FindLiterallyCalls,
    untyped_passes.LiteralUnroll, untyped_passes.LiteralPropagationSubPipelinePass, typed_passes.InlineOverloads,
    typed_passes.DumpParforDiagnostics,
}  # fmt: skip


class Part(JITCodeLibrary):
    """A function's code as LLVM has it, to be linked into that of another."""

    def _optimize_functions(self, module: Any) -> None:
        pass

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        self._ensure_finalized()
        return 0


class OptimisedPart(Part):
    _optimize_functions = JITCodeLibrary._optimize_functions
    _optimize_final_module = JITCodeLibrary._optimize_final_module


@register_pass(mutates_CFG=True, analysis_only=False)
class Lowering(typed_passes.BaseNativeLowering):
    """From Numba's form of a function to LLVM's, and no further."""

    _name: Any = "lowering"
    lowering_class: Any = Lower

    def run_pass(self, state: Any) -> bool:
        state.flags.no_compile = True
        super().run_pass(state)
        entry: Any = [].append  # Numba knows functions by their entry, a builtin function: a new one for each will do
        state.targetctx.insert_user_function(entry, state.cr.fndesc, [state.library])
        state.cr = state.cr._replace(cfunc=entry)
        return True


class LowerSeparate(Lower):
    """Code for a function that stays one: in the body of another, LLVM would work on it again."""

    def setup_function(self, description: Any) -> None:
        super().setup_function(description)
        self.function.attributes.add("noinline")


@register_pass(mutates_CFG=True, analysis_only=False)
class LoweringSeparate(Lowering):
    _name = "lowering_separate"
    lowering_class = LowerSeparate


class Inner(CompilerBase):
    """The compiler of functions that become part of others, and of the one that calls all."""

    library: type[Part] = Part
    lowering: Any = Lowering

    def define_pipelines(self) -> list[PassManager]:
        state = self.state
        state.flags.no_rewrites = True
        state.library = self.library(state.targetctx.codegen(), state.func_id.func_qualname)
        whole, lean = DefaultPassBuilder.define_nopython_pipeline(state), PassManager("lean")
        for kind, why in whole.passes:
            if kind not in NEEDLESS:
                lean.add_pass(self.lowering if kind is typed_passes.NativeLowering else kind, why)
        lean.finalize()
        return [lean]


class Apart(Inner):
    """The compiler of functions that stay such, and whose arguments are different arrays.

    LLVM may know that, and asks no questions at run time then.
    """

    library = OptimisedPart
    lowering = LoweringSeparate

    def define_pipelines(self) -> list[PassManager]:
        self.state.flags.noalias, self.state.flags.forceinline = True, False
        return super().define_pipelines()


def njit(pipeline_class: type[CompilerBase] = Inner, **options: Any) -> Any:
    """Decorator: Numba's, with the compiler above. A number is its type: there is no new function for each literal."""

    def decorated(python_function: Any) -> Any:
        function = numba.njit(pipeline_class=pipeline_class, **options)(python_function)
        resolved = function.get_call_template
        function.get_call_template = lambda args, kws: resolved([*map(types.unliteral, args)], kws)
        return function

    return decorated
