#!/usr/bin/python3
"""A terminal's screen as SVG: commands are run one after the other on a pseudo-terminal, and shown with what they print.

    terminal.py --columns N --title TEXT --out FILE <COMMANDS

COMMANDS has a command of sh a line. A line that begins with "@" is run and not shown; one with "#" is shown as a comment. The
exit status is 1 if a command that should not ("? COMMAND" may) fails; what they print is on stdout as well, as text.
"""
import argparse
import fcntl
import html
import os
import pty
import re
import struct
import subprocess
import sys
import termios

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

# Readable on a light page and on a dark one: the window has its own background. No font is fetched.
THEME = TerminalTheme((13, 17, 23), (201, 209, 217), [
    (72, 79, 88), (255, 123, 114), (63, 185, 80), (210, 153, 34), (88, 166, 255), (188, 140, 255), (57, 197, 207), (177, 186, 196)], [
    (110, 118, 129), (255, 161, 152), (86, 211, 100), (227, 179, 65), (121, 192, 255), (210, 168, 255), (86, 212, 221), (240, 246, 252)])
SVG = """<svg class="terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg" role="img">
    <style>
    .{unique_id}-matrix {{
        font-family: ui-monospace, "DejaVu Sans Mono", "Liberation Mono", Menlo, Consolas, monospace;
        font-size: {char_height}px;
        line-height: {line_height}px;
    }}
    .{unique_id}-title {{
        font-size: 18px;
        font-weight: bold;
        font-family: sans-serif;
    }}
    {styles}
    </style>
    <defs>
    <clipPath id="{unique_id}-clip-terminal">
      <rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
    </clipPath>
    {lines}
    </defs>
    {chrome}
    <g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
    {backgrounds}
    <g class="{unique_id}-matrix">
    {matrix}
    </g>
    </g>
</svg>
"""


def run(command, columns):
    """What COMMAND prints on a terminal of COLUMNS, and its exit status."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(columns)}
    with subprocess.Popen(["sh", "-c", command], stdin=theirs, stdout=theirs, stderr=theirs, close_fds=True, env=environment,
                          start_new_session=True) as child:
        os.close(theirs)
        printed = bytearray()
        while True:
            try:
                some = os.read(ours, 65536)
            except OSError:  # EIO: nobody has the other end any more
                break
            if not some:
                break
            printed += some
        os.close(ours)
    return printed.decode().replace("\r\n", "\n"), child.returncode


def words(match):
    """A run of text as its words, each where it belongs: not all that shows SVG keeps spaces, or stretches text to a length."""
    before, x, after, length, rest, text = match.groups()
    text = html.unescape(text)
    width = float(length) / len(text)
    return "".join(
        f'<text{before}x="{float(x) + word.start() * width:g}"{after}textLength="{len(word[0]) * width:g}"{rest}>'
        f"{html.escape(word[0].replace(chr(160), ' '), quote=False)}</text>"
        for word in re.finditer("[^\u00a0]+(\u00a0[^\u00a0]+)*", text))


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--columns", type=int, default=100)
    arguments.add_argument("--title", default="")
    arguments.add_argument("--out", required=True)
    arguments = arguments.parse_args()
    screen = Text()
    failed = False
    for line in sys.stdin.read().splitlines():
        may_fail, hidden = line.startswith("? "), line.startswith("@")
        command = line.removeprefix("? ").removeprefix("@").strip()
        if not command or command.startswith("#"):
            screen.append(command + "\n", style="bright_black italic")
            continue
        printed, status = run(command, arguments.columns)
        sys.stdout.write(f"$ {command}\n{printed}")
        if status != 0 and not may_fail:
            sys.stderr.write(f"terminal.py: exit status {status} of: {command}\n")
            failed = True
        if not hidden:
            screen.append("# ", style="bold green").append(command + "\n", style="bold")
            screen.append_text(Text.from_ansi(printed))
            screen.append("\n")
    screen.rstrip()
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        console = Console(record=True, width=arguments.columns, file=nowhere, force_terminal=True, color_system="truecolor", legacy_windows=False)
        console.print(screen, soft_wrap=False)
        svg = console.export_svg(title=arguments.title, theme=THEME, code_format=SVG, unique_id="t")
    svg = re.sub(r'<text( class="t-r[^>]*?)x="([^"]*)"([^>]*?)textLength="([^"]*)"([^>]*)>([^<]+)</text>', words, svg)
    with open(arguments.out, "w", encoding="utf-8") as file:
        file.write("\n".join(line.rstrip() for line in svg.splitlines()) + "\n")
    return 1 if failed else 0


sys.exit(main())
