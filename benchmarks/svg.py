"""A line chart with two logarithmic axes, as SVG. Just enough for what run.py draws."""

import math
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 760, 440
LEFT, RIGHT, TOP, BOTTOM = 70, 130, 40, 50
COLOURS = ["#0b6e99", "#d1495b", "#66a182", "#edae49", "#8d5a97", "#7a6c5d", "#444444", "#2e86ab"]

Points = list[tuple[float, float]]


class Axis:
    """Powers of ten from the least value's to the greatest's."""

    def __init__(self, values: list[float], start: float, end: float) -> None:
        self.low = math.floor(math.log10(min(values)))
        self.high = max(math.ceil(math.log10(max(values))), self.low + 1)
        self.start, self.end = start, end

    def at(self, value: float) -> float:
        part = (math.log10(value) - self.low) / (self.high - self.low)
        return self.start + part * (self.end - self.start)

    def ticks(self) -> list[float]:
        return [10.0**power for power in range(self.low, self.high + 1)]


def line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" {style}/>'


def text(x: float, y: float, what: str, style: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(what)}</text>'


def time_label(ns: float) -> str:
    for unit, size in [("s", 1e9), ("ms", 1e6), ("µs", 1e3)]:
        if ns >= size:
            return f"{ns / size:g} {unit}"
    return f"{ns:g} ns"


def grid(x: Axis, y: Axis) -> list[str]:
    faint = 'stroke="#ddd"'
    parts = []
    for tick in x.ticks():
        at = x.at(tick)
        parts.append(line(at, y.start, at, y.end, faint))
        parts.append(text(at, y.start + 18, f"{tick:,.0f}", 'text-anchor="middle"'))
    for tick in y.ticks():
        at = y.at(tick)
        parts.append(line(x.start, at, x.end, at, faint))
        parts.append(text(x.start - 6, at + 4, time_label(tick), 'text-anchor="end"'))
    return parts


def labels(series: dict[str, Points], x: Axis, y: Axis) -> dict[str, float]:
    """Where each line's name stands, at the height of its last point, but not on another one."""
    places: dict[str, float] = {}
    lowest = -math.inf
    for name in sorted(series, key=lambda name: y.at(series[name][-1][1])):
        lowest = places[name] = max(y.at(series[name][-1][1]) + 4, lowest + 14)
    return places


def curve(points: Points, x: Axis, y: Axis, colour: str) -> list[str]:
    path = " ".join(f"{x.at(a):.1f},{y.at(b):.1f}" for a, b in points)
    dots = [f'<circle cx="{x.at(a):.1f}" cy="{y.at(b):.1f}" r="2.5"/>' for a, b in points]
    return [
        f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>',
        f'<g fill="{colour}">{"".join(dots)}</g>',
    ]


def chart(title: str, x_title: str, series: dict[str, Points]) -> str:
    """The times (ns) of each series against a number."""
    x = Axis([a for points in series.values() for a, _ in points], LEFT, WIDTH - RIGHT)
    y = Axis([b for points in series.values() for _, b in points], HEIGHT - BOTTOM, TOP)
    middle = 'text-anchor="middle"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        text((x.start + x.end) / 2, 22, title, f'{middle} font-size="14"'),
        text((x.start + x.end) / 2, HEIGHT - 10, x_title, middle),
        *grid(x, y),
    ]
    places = labels(series, x, y)
    for (name, points), colour in zip(series.items(), COLOURS, strict=False):
        parts += curve(points, x, y, colour)
        parts.append(text(x.end + 8, places[name], name, f'fill="{colour}" font-weight="bold"'))
    return "\n".join([*parts, "</svg>"]) + "\n"
