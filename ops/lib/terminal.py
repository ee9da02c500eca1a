"""What a person sees: colours where they are wanted, steps with their time, and nothing but plain text elsewhere."""

import os
import shutil
import sys
import time

# A terminal that cannot show a character shows a question mark in its place.
sys.stdout.reconfigure(errors="replace")

_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34", "magenta": "35",
          "cyan": "36"}


def is_terminal(stream=None):
    return (stream or sys.stdout).isatty()


def _wants_colour():
    return is_terminal() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text, *styles):
    """The text in the styles named, or as it is where colours are not wanted (NO_COLOR, no terminal)."""
    if not _wants_colour() or not styles:
        return text
    return "\033[%sm%s\033[0m" % (";".join(_CODES[style] for style in styles), text)


def can_draw():
    """Whether the output can show characters beyond ASCII."""
    return "utf" in (sys.stdout.encoding or "").lower()


def width():
    return min(shutil.get_terminal_size((100, 24)).columns, 120)


def say(text=""):
    print(text, flush=True)


def title(text):
    say()
    say(paint(text, "bold"))


class Step:
    """One long step: its name at the start, its outcome and time at the end.

    with Step("building") as step:
        ...
        step.outcome = "up to date"
    """

    def __init__(self, name):
        self.name = name
        self.outcome = "done"

    def __enter__(self):
        self._start = time.monotonic()
        say(paint("▸ " if can_draw() else "> ", "cyan") + self.name)
        return self

    def __exit__(self, kind, value, traceback):
        if kind is None:
            say(paint("  %s, %s" % (self.outcome, seconds(time.monotonic() - self._start)), "dim"))


def seconds(value):
    if value < 1:
        return "%d ms" % round(value * 1000)
    if value < 120:
        return "%.1f s" % value
    return "%d min %02d s" % divmod(round(value), 60)


def count(value):
    """1234567 as 1,234,567."""
    return format(int(value), ",")


def size(value):
    """Bytes as a person reads them."""
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:
            return "%d B" % value if unit == "B" else "%.1f %s" % (value, unit)
        value /= 1024
    return "%.1f GiB" % value
