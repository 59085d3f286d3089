"""Register tiles of depthwise convolutions, in LLVM IR: sliding windows over channels-last memory, vectors of channels.

`slide_window` keeps a few neighbouring pixels of the result in registers while the taps of the window go by;
`correlate_window` keeps up to 3 x 3 taps of the gradient of the weights while the pixels go by. Both run over a
rectangle of pixels for which the same taps lie inside of the image.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from nbdl.runtime.simd import (
    _at,
    _declare,
    _function,
    _integer,
    _load,
    _masked_load,
    _masked_store,
    _opaque,
    _prefetch,
    _splat,
    _store,
    _suffix,
    lanes,
    vector_unit,
)

PIXELS = 8
"""Neighbouring pixels of the result that `slide_window` keeps in registers; a power of two."""

TAPS = 3
"""Taps a side that `correlate_window` keeps in registers."""

_INT = ir.IntType(64)


class _Channels:
    """Loads and stores of one vector of channels: a whole one, or the first lanes of the last one."""

    def __init__(self, builder: ir.IRBuilder, vector: ir.VectorType, first: ir.Value, mask: ir.Value | None) -> None:
        self.builder, self.vector, self.first, self.mask = builder, vector, first, mask

    def load(self, address: ir.Value) -> ir.Value:
        address = _at(self.builder, address, self.first)
        if self.mask is None:
            return _load(self.builder, address, self.vector)
        return _masked_load(self.builder, address, self.mask, self.vector)

    def store(self, value: ir.Value, address: ir.Value) -> None:
        address = _at(self.builder, address, self.first)
        if self.mask is None:
            _store(self.builder, value, address)
        else:
            _masked_store(self.builder, value, address, self.mask)


def _for_channels(
    builder: ir.IRBuilder, vector: ir.VectorType, channels: ir.Value, body: Callable[[_Channels], None]
) -> None:
    """Emits the body for each whole vector of channels, and once more for the rest."""
    count = vector.count
    whole = builder.sdiv(channels, _integer(count))
    with cgutils.for_range(builder, whole) as loop:
        body(_Channels(builder, vector, builder.mul(loop.index, _integer(count)), None))
    first = builder.mul(whole, _integer(count))
    rest = builder.sub(channels, first)
    with builder.if_then(builder.icmp_signed(">", rest, _integer(0))):
        lane = ir.Constant(ir.VectorType(_INT, count), list(range(count)))
        mask = builder.icmp_signed("<", lane, _splat(builder, rest, count))
        body(_Channels(builder, vector, first, mask))


def _call_once(
    context, builder, signature, arguments, stem: str, emit: Callable[[ir.Function, ir.VectorType], None]
) -> ir.Value:
    """Calls the function of that name and vector type, which is emitted when it is first called."""
    element = signature.args[-1].dtype
    vector = ir.VectorType(context.get_value_type(element), lanes(element))
    name = f"nbdl_{vector_unit().name}_{stem}_{_suffix(vector)}"
    function = _function(builder.module, name, [value.type for value in arguments])
    if not function.blocks:
        emit(function, vector)
    builder.call(function, arguments)
    return context.get_dummy_value()


def _multiply_add(builder: ir.IRBuilder, vector: ir.VectorType, values: Sequence[ir.Value]) -> ir.Value:
    return builder.call(_declare(builder.module, f"llvm.fmuladd.{_suffix(vector)}", vector, [vector] * 3), values)


# ---------------------------------------------------------------- the result


@intrinsic
def slide_window(
    typing_context, lines, pixels, channels, taps, across, x_line, x_pixel, x_down, x_across, weight_down,
    y_line, y_pixel, x, weight, bias, floor, y,
):  # fmt: skip
    """For i in range(lines), j in range(pixels), and all channels c, the window over taps r and s:

        y[i, j, c] = max(floor, bias[c] + sum over r in range(taps), s in range(across) of x[...] * weight[r, s, c])

    x is read at i * x_line + j * x_pixel + r * x_down + s * x_across + c,
    the weights at r * weight_down + s * channels + c, y is written at i * y_line + j * y_pixel + c. A null `bias`
    stands for zeros. NaN passes through the maximum.
    """
    signature = types.void(*(types.int64,) * 12, x, weight, bias, y.dtype, y)

    def codegen(context, builder, signature, arguments):
        return _call_once(context, builder, signature, arguments, "slide", _emit_slide)

    return signature, codegen


def _emit_slide(function: ir.Function, vector: ir.VectorType) -> None:
    builder = ir.IRBuilder(function.append_basic_block())
    (
        lines, pixels, channels, taps, across, x_line, x_pixel, x_down, x_across, weight_down, y_line, y_pixel,
        x, weight, bias, floor, y,
    ) = function.args  # fmt: skip

    floors = _splat(builder, floor, vector.count)

    def block(part: _Channels, count: int, x_now: ir.Value, y_now: ir.Value) -> None:
        """One vector of channels of `count` neighbouring pixels."""
        start = cgutils.alloca_once_value(builder, ir.Constant(vector, [0.0] * vector.count))
        with builder.if_then(builder.icmp_unsigned("!=", builder.ptrtoint(bias, _INT), _integer(0))):
            builder.store(part.load(bias), start)
        if count == PIXELS:
            ahead = _at(builder, x_now, builder.mul(builder.sub(taps, _integer(1)), x_down))
            for i in range(count):
                for base, step in ((ahead, x_pixel), (y_now, y_pixel)):
                    _prefetch(
                        builder, _at(builder, _at(builder, base, builder.mul(step, _integer(count + i))), part.first)
                    )
        sums = [cgutils.alloca_once(builder, vector) for _ in range(count)]
        for total in sums:
            builder.store(builder.load(start, typ=vector), total)

        def add_tap(source: ir.Value, factors: ir.Value) -> None:
            """Adds one tap's products. An opaque base for each three pixels: two registers and a scale address them."""
            factor = part.load(factors)
            for i, total in enumerate(sums):
                if i % 3 == 0:
                    group = _opaque(builder, _at(builder, source, builder.mul(x_pixel, _integer(i))))
                value = part.load(_at(builder, group, builder.mul(x_pixel, _integer(i % 3))))
                added = _multiply_add(builder, vector, [value, factor, builder.load(total, typ=vector)])
                builder.store(added, total)

        with cgutils.for_range(builder, taps) as down:
            x_row = _at(builder, x_now, builder.mul(down.index, x_down))
            weight_row = _at(builder, weight, builder.mul(down.index, weight_down))
            with builder.if_else(builder.icmp_signed("==", across, _integer(3))) as (three, others):
                with three:
                    for s in range(3):
                        shift = builder.mul(channels, _integer(s))
                        add_tap(
                            _at(builder, x_row, builder.mul(x_across, _integer(s))), _at(builder, weight_row, shift)
                        )
                with others, cgutils.for_range(builder, across) as along:
                    shift = builder.mul(along.index, channels)
                    add_tap(_at(builder, x_row, builder.mul(along.index, x_across)), _at(builder, weight_row, shift))
        for i, total in enumerate(sums):
            value = builder.load(total, typ=vector)
            value = builder.select(builder.fcmp_ordered(">", floors, value), floors, value)
            part.store(value, _at(builder, y_now, builder.mul(y_pixel, _integer(i))))

    def blocks(count: int, first: ir.Value, x_line_start: ir.Value, y_line_start: ir.Value) -> None:
        x_now = _at(builder, x_line_start, builder.mul(first, x_pixel))
        y_now = _at(builder, y_line_start, builder.mul(first, y_pixel))
        _for_channels(builder, vector, channels, lambda part: block(part, count, x_now, y_now))

    with cgutils.for_range(builder, lines) as line:
        x_line_start = _at(builder, x, builder.mul(line.index, x_line))
        y_line_start = _at(builder, y, builder.mul(line.index, y_line))
        with cgutils.for_range(builder, builder.sdiv(pixels, _integer(PIXELS))) as piece:
            blocks(PIXELS, builder.mul(piece.index, _integer(PIXELS)), x_line_start, y_line_start)
        done = builder.and_(pixels, _integer(-PIXELS))
        count = PIXELS // 2
        while count:
            with builder.if_then(builder.icmp_signed("!=", builder.and_(pixels, _integer(count)), _integer(0))):
                blocks(count, done, x_line_start, y_line_start)
            done = builder.add(done, builder.and_(pixels, _integer(count)))
            count //= 2
    builder.ret_void()


# ---------------------------------------------------------------- the gradient of the weights


@intrinsic
def correlate_window(
    typing_context, lines, pixels, channels, taps, across, x_line, x_pixel, x_down, x_across, weight_down,
    y_line, y_pixel, x, weight, y,
):  # fmt: skip
    """weight[r, s, c] += sum over i in range(lines), j in range(pixels) of x[...] * y[i, j, c].

    The arguments are those of `slide_window`; taps and across go from 1 to TAPS.
    """
    integers = (types.int64,) * 12
    signature = types.void(*integers, x, weight, y)

    def codegen(context, builder, signature, arguments):
        return _call_once(context, builder, signature, arguments, "correlate", _emit_correlate)

    return signature, codegen


def _emit_correlate(function: ir.Function, vector: ir.VectorType) -> None:
    builder = ir.IRBuilder(function.append_basic_block())
    (
        lines, pixels, channels, taps, across, x_line, x_pixel, x_down, x_across, weight_down, y_line, y_pixel,
        x, weight, y,
    ) = function.args  # fmt: skip

    def run(down: int, along: int, part: _Channels) -> None:
        window = [(r, s) for r in range(down) for s in range(along)]
        rows = [builder.mul(x_down, _integer(r)) for r in range(down)]
        places = {
            (r, s): _at(
                builder,
                weight,
                builder.add(builder.mul(weight_down, _integer(r)), builder.mul(channels, _integer(s))),
            )
            for r, s in window
        }
        sums = {place: cgutils.alloca_once(builder, vector) for place in window}
        for place in window:
            builder.store(part.load(places[place]), sums[place])
        with cgutils.for_range(builder, lines) as line:
            x_line_start = _at(builder, x, builder.mul(line.index, x_line))
            y_line_start = _at(builder, y, builder.mul(line.index, y_line))
            with cgutils.for_range(builder, pixels) as pixel:
                gradient = part.load(_at(builder, y_line_start, builder.mul(pixel.index, y_pixel)))
                source = _at(builder, x_line_start, builder.mul(pixel.index, x_pixel))
                for r, s in window:
                    offset = builder.add(rows[r], builder.mul(x_across, _integer(s)))
                    value = part.load(_at(builder, source, offset))
                    added = _multiply_add(builder, vector, [value, gradient, builder.load(sums[r, s], typ=vector)])
                    builder.store(added, sums[r, s])
        for place in window:
            part.store(builder.load(sums[place], typ=vector), places[place])

    done = function.append_basic_block()
    choice = builder.switch(builder.add(builder.mul(taps, _integer(TAPS + 1)), across), done)
    for down in range(1, TAPS + 1):
        for along in range(1, TAPS + 1):
            case = function.append_basic_block()
            choice.add_case(_integer(down * (TAPS + 1) + along), case)
            builder.position_at_end(case)
            _for_channels(builder, vector, channels, functools.partial(run, down, along))
            builder.branch(done)
    builder.position_at_end(done)
    builder.ret_void()
