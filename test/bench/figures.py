"""What test/bench/run has measured, and a little arithmetic; for test/bench/report."""
import json
import sys


def read_lines(path):
    figures = []
    for number_of, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            figures.append(json.loads(line))
        except ValueError as e:
            sys.exit(f"report: {path}:{number_of}: {e}")
    return figures


class Figures:
    """Objects by their "bench"; each can be asked for by its members.

    NAME.jsonl has a part's figures, NAME.took.jsonl says of which run they are. Of a part of another commit than the last run's, or
    of the other form (--quick), nothing is taken: strangers has the note of each. What says nothing is taken to be the last run's."""

    def __init__(self, folder):
        self.all, self.strangers = [], []
        files = {path.name.removesuffix(".jsonl"): read_lines(path) for path in sorted(folder.glob("*.jsonl"))}
        machine = next(iter(files.get("machine", [])), {})
        for name, figures in files.items():
            part = name.removesuffix(".took")
            note = next(iter(files.get(part + ".took", [])), {})
            if not machine or all(note[k] == machine.get(k) for k in ("commit", "quick") if k in note):
                self.all += figures
            elif name == part:
                self.strangers.append(note)

    def of(self, bench, **members):
        return [f for f in self.all if f["bench"] == bench and all(f.get(k) == v for k, v in members.items())]


def line_through(points):
    """Least squares: slope, value at 0, and the largest deviation of a point from the line as a part of the largest value."""
    n = len(points)
    if len({x for x, _ in points}) < 2:
        return None
    mean_x, mean_y = sum(x for x, _ in points) / n, sum(y for _, y in points) / n
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)
    base = mean_y - slope * mean_x
    most = max(abs(y) for _, y in points)
    return slope, base, max(abs(slope * x + base - y) for x, y in points) / most if most else 0


def steps(points):
    """Slopes from one x to the next; of several points at the same x the mean counts."""
    by_x = {}
    for x, y in points:
        by_x.setdefault(x, []).append(y)
    means = [(x, sum(ys) / len(ys)) for x, ys in sorted(by_x.items())]
    return [(y1 - y0) / (x1 - x0) for (x0, y0), (x1, y1) in zip(means, means[1:])]


def shape_of(points):
    """In a word: whether the points lie on a line, or how they leave it. The last slope is half as much again as the first one, or more:
    faster. Off by more than a tenth of the largest value, but not faster: slower. Two points have no shape."""
    off, slopes = line_through(points)[2], steps(points)
    if len(slopes) < 2:
        return ""
    if slopes[-1] > max(1.5 * slopes[0], 0):
        return "**faster than a line**"
    return "a line" if off <= 0.1 else "slower than a line"


def number(value, digits=3):
    """Three digits that count, without an exponent."""
    if value == 0:
        return "0"
    decimals = max(0, digits - len(str(int(abs(value)))) if abs(value) >= 1 else digits)
    text = f"{value:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def msec(nsec):
    return nsec / 1e6
