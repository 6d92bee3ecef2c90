"""What generated code needs and Numba has no word for: a few instructions of LLVM as functions."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

INT = ir.IntType(64)


@intrinsic
def shift(typingctx: Any, pointer: Any, by: Any) -> Any:
    """The pointer to so many elements further on."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.gep(args[0], [context.cast(builder, args[1], signature.args[1], types.int64)])

    return pointer(pointer, by), generate


@intrinsic
def place(typingctx: Any, words: Any, i: Any, kind: Any) -> Any:
    """The i-th of some words, which is the address of numbers of this kind."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        addresses = builder.bitcast(args[0], context.get_value_type(signature.return_type).as_pointer())
        return builder.load(builder.gep(addresses, [context.cast(builder, args[1], signature.args[1], types.int64)]))

    return types.CPointer(kind.dtype)(words, i, kind), generate


def extremum(name: str, comparison: str) -> Any:
    @intrinsic
    def function(typingctx: Any, a: Any, b: Any) -> Any:
        """The larger (smaller) of two numbers, nan if one is: as NumPy has it, and vectors in sums of loops too."""

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            kind = args[0].type
            if isinstance(kind, ir.IntType):
                compare = builder.icmp_signed if a.signed else builder.icmp_unsigned
                return builder.select(compare(comparison, *args), *args)
            return builder.call(declared(builder, f"llvm.{name}.{bits(kind)}", kind, 2), args)

        return (a(a, a), generate) if isinstance(a, types.Float | types.Integer) and a == b else None

    return function


def bits(kind: Any) -> str:
    return "f32" if kind == ir.FloatType() else "f64"


def declared(builder: Any, name: str, kind: Any, count: int) -> Any:
    """A function of so many floats of a kind that gives one, under its name in LLVM or C."""
    return cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind] * count), name)


def function_of(name: str, count: int = 1, own: bool = False) -> Any:
    """A function of floats: of C's library, or LLVM's `own`."""

    def typed(*xs: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            kind = args[0].type
            full = f"llvm.{name}.{bits(kind)}" if own else name + "f" * (kind == ir.FloatType())
            return builder.call(declared(builder, full, kind, count), args)

        return xs[0](*xs), generate

    return intrinsic((lambda typingctx, x: typed(x)) if count == 1 else (lambda typingctx, a, b: typed(a, b)))


def accumulation(instruction: str) -> Any:
    @intrinsic
    def function(typingctx: Any, total: Any, x: Any) -> Any:
        """A sum (product) with one more term, in whatever order: LLVM may take several terms at a time."""

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            if isinstance(signature.return_type, types.Integer):
                return getattr(builder, instruction)(*args)
            return getattr(builder, f"f{instruction}")(*args, flags=("reassoc", "nsz", "contract"))

        return (total(total, x), generate) if total == x and isinstance(total, types.Number) else None

    return function


plus, times = accumulation("add"), accumulation("mul")
largest, smallest = extremum("maximum", ">"), extremum("minimum", "<")
floor, ceil, trunc, rint = (function_of(name, own=True) for name in ("floor", "ceil", "trunc", "rint"))
exp2, log2, log10, cbrt, lgamma = (function_of(name) for name in ("exp2", "log2", "log10", "cbrt", "lgamma"))
fmod, atan2 = function_of("fmod", 2), function_of("atan2", 2)


@intrinsic
def call_host(typingctx: Any, address: Any, i: Any) -> Any:
    """Call the C function of an integer at this address."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        function = builder.inttoptr(args[0], ir.FunctionType(ir.VoidType(), [INT]).as_pointer())
        builder.call(function, [args[1]])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


@intrinsic
def draw_uint32(typingctx: Any, address: Any, state: Any) -> Any:
    """The next number of a generator: by the C function at this address, of the generator's state."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        function = builder.inttoptr(args[0], ir.FunctionType(ir.IntType(32), [INT]).as_pointer())
        return builder.call(function, [args[1]])

    return types.uint32(types.int64, types.int64), generate


@intrinsic
def count(typingctx: Any, counter: Any) -> Any:
    """Add 1 to a number that several threads count with."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.atomic_rmw("add", args[0], ir.Constant(INT, 1), "acq_rel")
        return context.get_dummy_value()

    return types.void(types.CPointer(types.int64)), generate


@intrinsic
def take(typingctx: Any, counter: Any, turn: Any) -> Any:
    """Set a number to `turn` if it is one less, which only one of several threads finds: whether it was this one."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        before = builder.sub(args[1], ir.Constant(INT, 1))
        return builder.extract_value(builder.cmpxchg(args[0], before, args[1], "acq_rel", "acquire"), 1)

    return types.boolean(types.CPointer(types.int64), types.int64), generate


@intrinsic
def look(typingctx: Any, counter: Any) -> Any:
    """The number that several threads count with, as it is now."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load_atomic(args[0], "acquire", 8)

    return types.int64(types.CPointer(types.int64)), generate


@intrinsic
def give_way(typingctx: Any) -> Any:
    """Sleep for a moment: other threads have this processor meanwhile."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(ir.IntType(32), [ir.IntType(32)])
        builder.call(cgutils.get_or_insert_function(builder.module, kind, "usleep"), [ir.Constant(ir.IntType(32), 1)])
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def type_of(typingctx: Any, like: Any, number: Any) -> Any:
    """A number in the type of another."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return context.cast(builder, args[1], signature.args[1], signature.args[0])

    return like(like, number), generate


@intrinsic
def bits_of(typingctx: Any, like: Any, number: Any) -> Any:
    """The bits of a number as one of the type of another, which has as many."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[1], args[0].type)

    return like(like, number), generate
