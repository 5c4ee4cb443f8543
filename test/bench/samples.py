#!/usr/bin/env python3
"""What perf report says, as JSON lines: perf report ... -F sample,pid,dso,sym -t '|' | samples.py CASE N FREQUENCY KEEPER

N is how many things were done, FREQUENCY how many samples a second were taken, KEEPER the pid of the daemon's keeper. One line for
the whole: microseconds of processor time for each thing, by process and by side (the program's or the kernel's); and one for
each of the functions with the most samples, in percent of all."""
import collections
import json
import sys

sys.dont_write_bytecode = True  # beside the sources
from look import processes  # noqa: E402

SHOWN = 20


def main():
    case, n, frequency = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    names = {pid: name for name, pid in processes(int(sys.argv[4])).items()}
    functions, sides = collections.Counter(), collections.Counter()
    for line in sys.stdin:
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) != 4 or not cells[0].isdigit():
            continue
        samples, where = int(cells[0]), names.get(int(cells[1].partition(":")[0]), "another")
        kernel = cells[3].startswith("[k]")
        symbol = cells[3][4:].strip()
        functions[where, f"in {cells[2]}" if symbol.startswith("0x") else symbol, kernel] += samples
        sides[f"{where}, {'kernel' if kernel else 'program'}"] += samples
    total = sum(sides.values())
    if total == 0:
        sys.exit("samples: there are none")
    each = 1e6 / frequency / n
    print(json.dumps({"bench": "samples", "what": "total", "case": case, "n": n, "samples": total, "us_each": total * each,
                      "us_each_of": {side: samples * each for side, samples in sides.most_common()}}))
    for (where, function, kernel), samples in functions.most_common(SHOWN):
        print(json.dumps({"bench": "samples", "what": "function", "case": case, "process": where, "function": function,
                          "kernel": kernel, "percent": 100 * samples / total}))


if __name__ == "__main__":
    main()
