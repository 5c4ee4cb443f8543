"""The figures to reach: what was measured of them, whether they are reached, and why not; for test/bench/report.

A page's goals are kept beside it in figures.json, from which README's table is made, and by which it is checked."""
import json
import pathlib
import re
import sys

NOT_MEASURED = "not measured"
BEGIN, END = "<!-- figures: by `make bench-report`, of docs/bench/figures.json -->", "<!-- end of the figures -->"
PLOTS = (("propagate", "Propagation of one Secret"), ("readpath", "Reads as multiples of tmpfs"))

# key -> what, the goal; the key is what docs/bench/reasons.md calls it
GOALS = {
    "open": ("open+read+close of a published key, warm, against tmpfs with the same links", "at most 2.0 ×"),
    "pread": ("pread of an open key, warm, against tmpfs", "at most 1.05 ×"),
    "requests": ("FUSE requests of all of open+read+close", "0"),
    "propagation-median": ("a plain watch has the event → the new bytes are readable: median", "at most 2 ms"),
    "propagation-p99": ("a plain watch has the event → the new bytes are readable: p99", "at most 10 ms"),
    "resume": ("kill -9 of the agent → serving again, 1,000 volumes: median", "at most 50 ms"),
    "kills": ("failed reads in 1,000 kills under load", "0"),
    "start": ("start with 1,000 Secrets in 110 pods, to all ready, against the bare requests", "at most 2 ×"),
    "start-processor": ("processor time of that start, against the bare requests", "no goal of its own"),
    "memory": ("memory of all processes beyond 1,000 Secrets' own bytes", "at most 12 MiB"),
    "memory-slope": ("memory for each further Secret beyond its own bytes", "at most 2 KiB"),
    "idle": ("idle, 1,000 watches: processor time of all processes", "none (at most 0.1 %)"),
    "idle-wakeups": ("idle, 1,000 watches: wake-ups a minute", "only for events, bookmarks and timers"),
    "plaintext": ("plaintext in the processes' memory after deletion", "0 bytes"),
}
# measured by commands of their own, which leave what they find with these figures
ELSEWHERE = {"kills": "`make chaos`", "plaintext": "`make canary`"}


def read_reasons(path):
    """key -> words, from a file with a heading for each."""
    if not path.exists():
        return {}
    parts = re.split(r"^## +(\S+) *\n", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    reasons = {key: words.strip() for key, words in zip(parts[1::2], parts[2::2])}
    for key in reasons:
        if key not in GOALS:
            sys.exit(f"report: {path}: there is no goal {key}; there are: {', '.join(GOALS)}")
    return reasons


class Goals:
    def __init__(self, reasons):
        self.reasons = reasons
        self.measured = {}  # key -> text, whether it is reached (None: it is not for this to say)

    def set(self, key, measured, reached=None):
        self.measured[key] = (measured, reached)

    def most(self, key, values, limit, show):
        """None of what was measured may be above the limit."""
        if values:
            self.set(key, show(max(values)), max(values) <= limit)

    def rows(self):
        """In the order of GOALS."""
        rows = []
        for key, (what, goal) in GOALS.items():
            measured, reached = self.measured.get(key, (ELSEWHERE.get(key, NOT_MEASURED), None))
            rows.append({"key": key, "what": what, "goal": goal, "measured": measured, "reached": reached})
        return rows

    def missed(self):
        """What is missed, and why."""
        return [(row, self.reasons.get(row["key"], "Nobody has said why.")) for row in self.rows() if row["reached"] is False]


def verdict(row):
    return {True: "reached", False: "**missed**", None: ""}[row["reached"]]


def table(rows):
    return ["| what | goal | measured | |", "|---|---|---|---|",
            *(f"| {r['what']} | {r['goal']} | {r['measured']} | {verdict(r)} |" for r in rows)]


def caveats(machine):
    """What is to be known of how it was measured, whoever reads the figures."""
    said = []
    if machine.get("busy", 0) > 0.1 * machine.get("processors", 1):
        said.append("**Something else was running on this machine: the times say little.**")
    if machine.get("quick"):
        said.append("**Measured with `--quick`, which only shows that everything is measured.**")
    return said


# ---- README's part

def readme_part(kept, folder):
    """The lines between the marks; kept: what figures.json has, folder: where the page is, as README names it."""
    machine = kept["machine"]
    lines = [BEGIN, f"Measured on {machine['date']}, commit {machine['commit']}: {machine['processor']}, {machine['processors']} "
             f"processors, Linux {machine['kernel']}, {machine['system']}, {machine['server']}.", *caveats(machine), ""]
    lines += table([r for r in kept["goals"] if r["measured"] != NOT_MEASURED])
    for name, words in PLOTS:
        if name in kept["plots"]:
            lines += ["", f"![{words}]({folder}/{name}.svg)"]
    missed = [r["what"] for r in kept["goals"] if r["reached"] is False]
    lines += ["", f"[{folder}]({folder}/README.md) has all figures and plots{', and why a goal is missed' if missed else ''}.", END]
    return "\n".join(lines)


def split_readme(readme):
    """What is before README's part, the part, and what is behind it."""
    text = readme.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        sys.exit(f"report: {readme} has not one part from {BEGIN} to {END}")
    before, _, rest = text.partition(BEGIN)
    part, _, after = rest.partition(END)
    return before, BEGIN + part + END, after


def keep(kept, out):
    (out / "figures.json").write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def part_of(readme, out):
    """What README's part has to be."""
    kept = json.loads((out / "figures.json").read_text(encoding="utf-8"))
    return readme_part(kept, pathlib.Path(out).resolve().relative_to(readme.resolve().parent))


def write_readme(readme, out):
    before, _, after = split_readme(readme)
    readme.write_text(before + part_of(readme, out) + after, encoding="utf-8")


def check_readme(readme, out):
    """Neither README's figures nor the page's goals are by hand."""
    _, part, _ = split_readme(readme)
    if part != part_of(readme, out):
        sys.exit(f"report: the figures in {readme} are not those of {out}/figures.json: `make bench-report` writes both")
    kept = json.loads((out / "figures.json").read_text(encoding="utf-8"))
    if "\n".join(table(kept["goals"])) not in (out / "README.md").read_text(encoding="utf-8"):
        sys.exit(f"report: the goals in {out}/README.md are not those of {out}/figures.json: `make bench-report` writes both")
    for name in kept["plots"]:
        if not (out / f"{name}.svg").exists():
            sys.exit(f"report: {out}/{name}.svg is missing")
