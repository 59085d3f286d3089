"""Profiles and rooflines as SVG drawings, readable on light and on dark pages."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from nbdl.profiling.recorder import BACKWARD, FORWARD, KERNEL, OPERATION, UPDATE, Event
from nbdl.svg import drawing

WIDTH, MARGIN, ROW, MEMORY, LETTER = 960, 12, 20, 70, 6.3
SMALLEST = 0.25  # pixels: what is narrower is not drawn

STYLE = """
  text { font-size: 11px } .title { font-size: 14px } .on { fill: #ffffff } .axis { stroke: #9ca3af; fill: none }
  .area { fill: #7c3aed; opacity: 0.35 }
  .forward { fill: #2563eb } .backward { fill: #c2570c } .update { fill: #047857 }
  .layer { opacity: 0.45 } .operation { opacity: 0.75 } .kernel { opacity: 1 }
  .roof { stroke: #dc2626; stroke-width: 2; fill: none } .dot { stroke: #ffffff }
  @media (prefers-color-scheme: dark) { .dot { stroke: #111827 } }
"""


def draw_flame(events: Sequence[Event], seconds: float, title: str) -> str:
    """What `profile.flame` returns."""
    deepest = max((event.depth for event in events), default=0)
    top = 58
    floor = top + (deepest + 1) * ROW
    height = floor + MEMORY + 2 * MARGIN + 14
    scale = (WIDTH - 2 * MARGIN) / max(seconds, 1e-12)
    parts = []
    for place, phase in enumerate((FORWARD, BACKWARD, UPDATE)):
        left = MARGIN + 90 * place
        parts.append(f'<rect class="{phase}" x="{left}" y="36" width="10" height="10"/>')
        parts.append(f'<text x="{left + 14}" y="45">{phase}</text>')
    parts.append(f'<text x="{WIDTH - MARGIN}" y="45" text-anchor="end">{_time(seconds)}</text>')
    for event in events:
        x, width = MARGIN + event.start * scale, event.seconds * scale
        if width < SMALLEST:
            continue
        y = top + event.depth * ROW
        parts.append(
            f'<g><title>{escape(_told(event))}</title><rect class="{event.phase} {event.kind}" x="{x:.2f}" y="{y}" '
            f'width="{max(width - 0.4, SMALLEST):.2f}" height="{ROW - 2}" rx="1.5"/>'
        )
        if len(event.name) * LETTER < width - 6:
            parts.append(f'<text class="on" x="{x + 3:.2f}" y="{y + ROW - 7}">{escape(event.name)}</text>')
        parts.append("</g>")
    parts += _memory(events, scale, floor + MARGIN)
    return drawing(WIDTH, height, title, parts, STYLE, MARGIN)


def _memory(events: Sequence[Event], scale: float, top: float) -> list[str]:
    """The bytes alive after each operation, as an area."""
    marks = sorted((event.stop, event.bytes_live) for event in events if event.kind != KERNEL)
    most = max((live for _, live in marks), default=0)
    if not most:
        return []
    bottom = top + MEMORY
    points, last = [f"{MARGIN},{bottom}"], float(bottom)
    for stop, live in marks:
        x, y = MARGIN + stop * scale, bottom - live / most * (MEMORY - 14)
        points += [f"{x:.1f},{last:.1f}", f"{x:.1f},{y:.1f}"]
        last = y
    points.append(f"{WIDTH - MARGIN},{last:.1f} {WIDTH - MARGIN},{bottom}")
    return [
        f'<polygon class="area" points="{" ".join(points)}"/>',
        f'<text x="{MARGIN}" y="{bottom + 14}">results alive after each operation, at most {most / 1e6:.2f} MB</text>',
    ]


def _told(event: Event) -> str:
    """What is shown of an event when a pointer is held over it."""
    text = f"{event.name} ({event.phase}): {_time(event.seconds)}"
    if event.kind != KERNEL and event.seconds:
        text += f", {1 - event.kernel_seconds / event.seconds:.0%} outside kernels"
    if event.kind == OPERATION and event.work.total:
        rate = event.work.total / max(event.seconds, 1e-9) / 1e9
        text += f"; {event.work.total / 1e6:.3f} MFLOP, {rate:.1f} GFLOP/s"
    return text


def _time(seconds: float) -> str:
    return f"{1e6 * seconds:.0f} µs" if seconds < 1e-3 else f"{1e3 * seconds:.2f} ms"


def draw_roofline(peak: float, bandwidth: float, points: Sequence[tuple[str, str, float, float]], title: str) -> str:
    """What `Roofline.draw` returns: points of name, phase, operations a byte, operations a second."""
    left, top, width, height = 64, 48, WIDTH - 64 - MARGIN, 380
    ridge = peak / bandwidth
    low_x = min([intensity for _, _, intensity, _ in points] + [ridge]) / 3
    high_x = max([intensity for _, _, intensity, _ in points] + [ridge]) * 5
    high_y = peak * 2.5
    low_y = min([rate for *_, rate in points] + [peak / 100]) / 2

    def to_x(intensity: float) -> float:
        return left + math.log(intensity / low_x) / math.log(high_x / low_x) * width

    def to_y(rate: float) -> float:
        return top + height - math.log(rate / low_y) / math.log(high_y / low_y) * height

    parts = []
    for exponent in range(math.ceil(math.log10(low_x)), math.floor(math.log10(high_x)) + 1):
        x = to_x(10.0**exponent)
        parts.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{top + height}" y2="{top + height + 5}"/>')
        parts.append(f'<text x="{x:.1f}" y="{top + height + 18}" text-anchor="middle">{10.0**exponent:g}</text>')
    for exponent in range(math.ceil(math.log10(low_y)), math.floor(math.log10(high_y)) + 1):
        y = to_y(10.0**exponent)
        parts.append(f'<line class="axis" x1="{left - 5}" x2="{left}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{10.0**exponent / 1e9:g}</text>')
    parts += [
        f'<path class="axis" d="M{left} {top} V{top + height} H{left + width}"/>',
        f'<text x="{left + width / 2:.0f}" y="{top + height + 38}" text-anchor="middle">operations a byte moved</text>',
        f'<text x="{left - 52}" y="{top - 8}">GFLOP/s</text>',
        f'<path class="roof" d="M{to_x(low_x):.1f} {to_y(max(bandwidth * low_x, low_y)):.1f} '
        f'L{to_x(ridge):.1f} {to_y(peak):.1f} H{left + width}"/>',
        f'<text x="{left + width - 4}" y="{to_y(peak) - 6:.1f}" text-anchor="end">'
        f"product of matrices: {peak / 1e9:.0f} GFLOP/s</text>",
        f'<text x="{to_x(ridge * 0.25):.1f}" y="{to_y(bandwidth * ridge * 0.25) - 8:.1f}" text-anchor="end">'
        f"copy: {bandwidth / 1e9:.1f} GB/s</text>",
    ]
    taken: list[tuple[float, float]] = []
    for name, phase, intensity, rate in points:
        x, y = to_x(intensity), to_y(rate)
        parts.append(
            f"<g><title>{escape(name)}, {phase}: {intensity:.2f} operations a byte, {rate / 1e9:.2f} GFLOP/s</title>"
            f'<circle class="{phase} dot" cx="{x:.1f}" cy="{y:.1f}" r="5"/></g>'
        )
        beside = y + 4
        while any(abs(beside - other_y) < 12 and abs(x - other_x) < 90 for other_x, other_y in taken):
            beside += 12  # labels that would overlap move down
        taken.append((x, beside))
        parts.append(f'<text x="{x + 9:.1f}" y="{beside:.1f}">{escape(name)}</text>')
    return drawing(WIDTH, top + height + 56, title, parts, STYLE, MARGIN)
