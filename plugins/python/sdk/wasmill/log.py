"""Log lines. They appear in the host's log with the pipeline, lane and plugin they came from; the host cuts, escapes
and counts them, and drops what is past the pipeline's limit.

    from wasmill import log

    log.info(f"{message.topic}/{message.partition}/{message.offset}")
"""

from __future__ import annotations

from wasmill import _host
from wasmill._host import Level
from wasmill._verdict import encodable

__all__ = ["Level", "debug", "error", "info", "trace", "warn", "write"]


def write(level: Level, text: object) -> None:
    """Writes a line: `str(text)`."""
    _host.current().log(level, encodable(str(text)))


def trace(text: object) -> None:
    """The finest grain."""
    write(Level.TRACE, text)


def debug(text: object) -> None:
    """For whoever looks for a mistake."""
    write(Level.DEBUG, text)


def info(text: object) -> None:
    """Worth reading in normal operation."""
    write(Level.INFO, text)


def warn(text: object) -> None:
    """Something is odd, but handled."""
    write(Level.WARN, text)


def error(text: object) -> None:
    """Something went wrong."""
    write(Level.ERROR, text)
