#!/usr/bin/env python3
"""Plots how ksn scales from 1 to 300 million records, as measured by `cargo bench --bench peers -- --rows 12`.

    python3 benches/plot.py target/peers.json growth.svg

Three panels over the number of records: the end-to-end rate and that of the raw transport, the time per key in the
index and that of a prefetched random cache line, and the bytes per record. It needs only Python.
"""

import json
import math
import sys
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 300, 250
LEFT, TOP, RIGHT, BOTTOM = 48, 34, 24, 72
COLOURS = ["#0b6e99", "#9aa5ad", "#d9730d", "#c9b49a"]


def panels(figures):
    """Returns, for each panel, its title, its factor and its lines with their names and points."""
    grown = [f for f in figures if f["row"] == 12 and f.get("records")]

    def line(word, field):
        return sorted((f["records"], f[field]) for f in grown if word in f["what"] and f.get(field) is not None)

    return [
        ("million lookups per second, end to end", 1e-6, [
            ("ksn", line("end to end", "value")), ("raw transport", line("end to end", "peer_value"))]),
        ("nanoseconds per key, index alone", 1, [
            ("misses", line("misses", "value")), ("a random line", line("misses", "peer_value")),
            ("10 % hits", line("10 % hits", "value"))]),
        ("bytes per record in memory", 1, [("ksn", line("in memory", "value"))]),
    ]


def step(top):
    """Returns a round distance between ticks, about a quarter of `top`."""
    rough = top / 4
    power = 10 ** math.floor(math.log10(rough))
    return next(n * power for n in (1, 2, 2.5, 5, 10) if n * power >= rough)


def count(records):
    return f"{records / 1e6:g} M" if records >= 1e6 else f"{records / 1e3:g} k"


def panel(left, title, factor, lines):
    points = [p for _, line in lines for p in line]
    xs = sorted({x for x, _ in points})
    top = max(y * factor for _, y in points) * 1.1
    low, high = math.log10(xs[0]), math.log10(xs[-1])

    def x_of(x):
        share = (math.log10(x) - low) / (high - low) if high > low else 0.5
        return left + LEFT + share * (WIDTH - LEFT - RIGHT)

    def y_of(y):
        return HEIGHT - BOTTOM - y / top * (HEIGHT - TOP - BOTTOM)

    out = [f'<text x="{left + LEFT}" y="18" class="title">{escape(title)}</text>']
    tick = 0
    while tick <= top:
        y = y_of(tick)
        out.append(f'<line x1="{left + LEFT}" y1="{y:.1f}" x2="{left + WIDTH - RIGHT}" y2="{y:.1f}" class="grid"/>')
        out.append(f'<text x="{left + LEFT - 6}" y="{y + 3:.1f}" text-anchor="end">{tick:g}</text>')
        tick += step(top)
    for x in xs:
        out.append(f'<text x="{x_of(x):.1f}" y="{HEIGHT - BOTTOM + 15}" text-anchor="middle">{count(x)}</text>')
    at = left + LEFT
    for number, (name, line) in enumerate(lines):
        colour = COLOURS[number]
        path = " ".join(f"{x_of(x):.1f},{y_of(y * factor):.1f}" for x, y in line)
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for x, y in line:
            out.append(f'<circle cx="{x_of(x):.1f}" cy="{y_of(y * factor):.1f}" r="3" fill="{colour}"/>')
        out.append(f'<rect x="{at}" y="{HEIGHT - 32}" width="10" height="10" fill="{colour}"/>')
        out.append(f'<text x="{at + 14}" y="{HEIGHT - 23}">{escape(name)}</text>')
        at += 30 + 6 * len(name)
    return out


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with open(sys.argv[1], encoding="utf-8") as file:
        drawn = [p for p in panels(json.load(file)) if any(line for _, line in p[2])]
    if not drawn:
        sys.exit(f"{sys.argv[1]} has no figures of row 12: cargo bench --bench peers -- --rows 12")
    total = WIDTH * len(drawn)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {total} {HEIGHT}" width="{total}" height="{HEIGHT}">',
        "<style>text{font:11px system-ui,sans-serif;fill:#6b7075}.title{font-weight:600}"
        ".grid{stroke:#8a8f94;stroke-opacity:.25}</style>",
    ]
    for number, (title, factor, lines) in enumerate(drawn):
        out += panel(number * WIDTH, title, factor, [line for line in lines if line[1]])
    out += [f'<text x="{total / 2}" y="{HEIGHT - 6}" text-anchor="middle">SHA-256 records</text>', "</svg>"]
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        file.write("\n".join(out) + "\n")


if __name__ == "__main__":
    main()
