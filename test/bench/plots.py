"""Plots as SVG, by gnuplot; for test/bench/report."""
import math
import subprocess
import sys

# on white and on black
GREY, BLUE, ORANGE, GREEN, RED, VIOLET, CYAN = "#768390", "#3b82f6", "#e08a00", "#16a36a", "#e0525c", "#9061f9", "#0e9fb5"
COLOURS = [BLUE, ORANGE, GREEN, RED, VIOLET, CYAN]


def plot(path, commands, blocks, width=760, height=380):
    """commands: gnuplot's; $d0, $d1... are the blocks, rows of words. Neither background nor black: it is read on both."""
    text = [f'set terminal svg size {width},{height} dynamic font "sans-serif,13"', f'set output "{path}"',
            f'set border 3 lc rgb "{GREY}"', f'set tics nomirror textcolor rgb "{GREY}"', f'set key textcolor rgb "{GREY}"',
            f'set title textcolor rgb "{GREY}"', f'set xlabel textcolor rgb "{GREY}"', f'set ylabel textcolor rgb "{GREY}"',
            f'set grid ytics lc rgb "{GREY}" lw 0.3', "set style fill solid 0.85 noborder", "set datafile missing \"-\""]
    for i, rows in enumerate(blocks):
        text += [f"$d{i} << E"] + [" ".join(str(word) for word in row) for row in rows] + ["E"]
    done = subprocess.run(["gnuplot"], input="\n".join(text + commands) + "\n", capture_output=True, text=True, check=False)
    if done.returncode != 0 or not path.exists() or path.stat().st_size == 0:
        sys.exit(f"report: gnuplot: {done.stderr.strip()}")


def lines_plot(path, title, x, y, series, log="xy"):
    """series: name -> points."""
    drawn = [f'$d{i} using 1:2 with linespoints lw 2 pt 7 ps 0.6 lc rgb "{COLOURS[i % len(COLOURS)]}" title "{name}"'
             for i, name in enumerate(series)]
    plot(path, [f'set title "{title}"', f'set xlabel "{x}"', f'set ylabel "{y}"', "set key above", "set yrange [*:*]"]
         + ([f"set logscale {log}"] if log else []) + ["plot " + ", ".join(drawn)], list(series.values()))


def floor(rows):
    """A power of ten that is clearly below all: of a bar that begins there something is seen."""
    least = min((v for values in rows.values() for v in values if v), default=1)
    return 10.0 ** math.floor(math.log10(least / 2))


def bars_plot(path, title, y, names, rows, log=False, stacked=False, line=None, width=760):
    """rows: label -> a value (None: there is none) for each of the names; line: a level with its word."""
    words = ['"' + "" + '"'] + [f'"{n}"' for n in names]
    data = [words] + [[f'"{label}"'] + ["-" if v is None else v for v in values] for label, values in rows.items()]
    drawn = [f'$d0 using {i + 2}{":xtic(1)" if i == 0 else ""} lc rgb "{COLOURS[i % len(COLOURS)]}" title columnheader({i + 2})'
             for i in range(len(names))]
    if line:
        drawn.append(f'{line[0]} with lines lw 1.5 dt 2 lc rgb "{GREY}" title "{line[1]}"')
    plot(path, [f'set title "{title}"', f'set ylabel "{y}"', f"set style histogram {'rowstacked' if stacked else 'clustered gap 1'}",
                "set style data histograms", "set boxwidth 0.85", "set key above",
                f"set logscale y; set yrange [{floor(rows)}:*]" if log else "set yrange [0:*]", "plot " + ", ".join(drawn)], [data], width)
