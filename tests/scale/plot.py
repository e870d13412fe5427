# SPDX-License-Identifier: Apache-2.0
"""A drawing of a run: panels below each other over one axis of time, with its phases. SVG, written by hand."""
import math
from xml.sax.saxutils import escape

WIDTH, LEFT, RIGHT, TOP, PANEL, GAP, BOTTOM = 1180, 64, 24, 128, 150, 50, 58
TEXT = '#222'
TINTS = ('#ffffff', '#eef2f6')
STYLE = '''text { font: 12px sans-serif; fill: %s } .title { font-size: 17px; font-weight: bold } .name { font-size: 13px; font-weight: bold }
.grid { stroke: #d5d9de; stroke-width: 1 } .axis { stroke: #555; stroke-width: 1 } .edge { stroke: #9aa3ad; stroke-width: 1; stroke-dasharray: 3 3 }
.line { fill: none; stroke-width: 1.8; stroke-linejoin: round } .missing { fill: #f2c14e; fill-opacity: .35 }
.mark { stroke: #b3261e; stroke-width: 1.5 } .marktext { fill: #b3261e }''' % TEXT


def nice(most):
    """A step of an axis that gives about four lines."""
    raw = max(most, 1) / 4
    power = 10 ** math.floor(math.log10(raw))
    return max(1, next(k * power for k in (1, 2, 2.5, 5, 10) if k * power >= raw - 1e-9))


def number(x):
    return '%d' % x if x == int(x) else '%g' % x


class Drawing:
    def __init__(self, title, subtitle, end):
        self.title, self.subtitle, self.end = title, subtitle, end
        self.parts, self.panels, self.height = [], 0, TOP

    def x(self, t):
        return LEFT + (WIDTH - LEFT - RIGHT) * t / self.end

    def add(self, text, *values):
        self.parts.append(text % values)

    def text(self, x, y, text, anchor='start', css=''):
        self.add('<text x="%.1f" y="%.1f" text-anchor="%s" class="%s">%s</text>', x, y, anchor, css, escape(text))

    def phases(self, phases, panels):
        """[(name, begin, end)]: tinted behind all panels, numbered above them."""
        bottom = TOP + panels * (PANEL + GAP) - GAP
        for k, (name, begin, end) in enumerate(phases):
            self.add('<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="%s"/>', self.x(begin), TOP, self.x(end) - self.x(begin), bottom - TOP,
                     TINTS[k % 2])
            self.add('<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" class="edge"/>', self.x(begin), self.x(begin), TOP - 62, bottom)
            for row, word in enumerate(('%d %s' % (k + 1, name)).split('|')):
                self.text(min(self.x(begin) + 4, WIDTH - 4 - 7 * len(word)), TOP - 52 + 14 * row, word)

    def panel(self, name, unit, series, missing=(), marks=()):
        """series: [(label, colour, fill, step, [(t, value or None)])]."""
        top = TOP + self.panels * (PANEL + GAP)
        bottom = top + PANEL
        self.panels += 1
        self.height = bottom
        most = max((v for *_, points in series for _, v in points if v is not None), default=1)
        step = nice(most)
        high = step * max(1, math.ceil(most / step))

        def y(v):
            return bottom - PANEL * v / high
        for begin, end in missing:
            self.add('<rect x="%.1f" y="%d" width="%.1f" height="%d" class="missing"/>', self.x(begin), top, self.x(end) - self.x(begin), PANEL)
        for k in range(round(high / step) + 1):
            self.add('<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" class="grid"/>', LEFT, WIDTH - RIGHT, y(k * step), y(k * step))
            self.text(LEFT - 8, y(k * step) + 4, number(k * step), 'end')
        for _, colour, fill, stepped, points in series:
            for run in runs(points):
                self.curve(run, colour, fill, stepped, y, bottom)
        for t, word in marks:
            self.add('<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" class="mark"/>', self.x(t), self.x(t), top, bottom)
            self.text(self.x(t) + 4, top + 12, word, css='marktext')
        self.add('<path d="M%d %dV%dH%d" fill="none" class="axis"/>', LEFT, top, bottom, WIDTH - RIGHT)
        self.text(LEFT, top - 8, '%s (%s)' % (name, unit) if unit else name, css='name')
        self.legend(series, top - 8)

    def curve(self, run, colour, fill, stepped, y, bottom):
        path, last = ['M%.1f %.1f' % (self.x(run[0][0]), y(run[0][1]))], run[0][1]
        for t, v in run[1:]:
            if stepped and v != last:
                path.append('H%.1fV%.1f' % (self.x(t), y(v)))
            elif not stepped:
                path.append('L%.1f %.1f' % (self.x(t), y(v)))
            last = v
        path = ''.join(path) + 'H%.1f' % self.x(run[-1][0])
        if fill:
            self.add('<path d="%sV%dH%.1fZ" fill="%s" fill-opacity=".25"/>', path, bottom, self.x(run[0][0]), colour)
        dash = '' if fill is not None else ' stroke-dasharray="5 4"'
        self.add('<path d="%s" class="line" stroke="%s"%s/>', path, colour, dash)

    def legend(self, series, y):
        x = WIDTH - RIGHT
        for label, colour, fill, *_ in reversed(series):
            x -= 6.6 * len(label)
            self.text(x, y, label)
            x -= 28
            dash = ' stroke-dasharray="5 4"' if fill is None else ''
            if fill:
                self.add('<rect x="%.1f" y="%d" width="22" height="8" fill="%s" fill-opacity=".25"/>', x, y - 4, colour)
            self.add('<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" class="line" stroke="%s"%s/>', x, x + 22, y - 4, y - 4, colour, dash)
            x -= 18

    def write(self, path, notes=()):
        step = next(s for s in (5, 10, 15, 20, 30, 60, 120, 300, 1e9) if self.end / s <= 16)
        for k in range(int(self.end / step) + 1):
            self.add('<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" class="axis"/>', self.x(k * step), self.x(k * step), self.height, self.height + 5)
            self.text(self.x(k * step), self.height + 19, number(k * step), 'middle')
        self.text((LEFT + WIDTH - RIGHT) / 2, self.height + 36, 'time (s)', 'middle')
        for row, note in enumerate(notes):
            self.text(LEFT, self.height + 36 + 16 * (row + 1), note)
        height = self.height + BOTTOM + 16 * len(notes)
        with open(path, 'w', encoding='utf-8') as f:
            f.write('<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d">\n<title>%s</title>\n<style>%s</style>\n'
                    '<rect width="100%%" height="100%%" fill="#fff"/>\n' % (WIDTH, height, WIDTH, height, escape(self.title), STYLE))
            f.write('<text x="%d" y="26" class="title">%s</text>\n<text x="%d" y="46">%s</text>\n' % (LEFT, escape(self.title), LEFT,
                                                                                                 escape(self.subtitle)))
            f.write('\n'.join(self.parts) + '\n</svg>\n')


def runs(points):
    """Without the gaps."""
    run = []
    for t, v in points:
        if v is None:
            if run:
                yield run
            run = []
        else:
            run.append((t, v))
    if run:
        yield run
