"""What Python finds inside the sandbox, where there are no files, no clock and no randomness.

A component built with `--stub-wasi` traps when CPython asks the system for any of these, and a trap tells nobody why.
So the usual ways there are closed in Python: they raise what they raise where a system lacks the thing, and the message
is rejected with a traceback. What is printed goes to the log.
"""

from __future__ import annotations

import _io
import builtins
import importlib
import io
import linecache
import logging
import os
import random
import sys
import time
import traceback
from collections.abc import Callable
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType, SimpleNamespace
from typing import Any, NoReturn

from wasmill import log

# What the standard library imports when it is first used.
_IMPORTED_LATE = (
    "_strptime",
    "encodings.ascii",
    "encodings.cp1252",
    "encodings.idna",
    "encodings.latin_1",
    "encodings.punycode",
    "encodings.utf_16",
    "encodings.utf_16_be",
    "encodings.utf_16_le",
    "encodings.utf_32",
    "encodings.utf_8_sig",
)


def prepare() -> None:
    """Reads what is needed of files. Called while the component is built, when the project is imported."""
    for name in _IMPORTED_LATE:
        importlib.import_module(name)
    for module in list(sys.modules.values()):
        path = _source(module)
        if path:
            lines = linecache.getlines(path)
            # Without a modification time they are not checked against the file.
            linecache.cache[path] = (sum(map(len, lines)), None, lines, path)


def close() -> None:
    """Closes the sandbox. Called by each instance: `componentize-py` imports more, after the project's modules."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if finder is not PathFinder]
    sys.meta_path.append(_NothingMore())
    no_files = _refusing(OSError, "a handler has no files")
    for name in ("open", "stat", "lstat", "listdir", "scandir", "mkdir", "remove", "rename", "rmdir"):
        setattr(os, name, no_files)
    builtins.open = io.open = io.open_code = _io.open_code = no_files
    # Without columns a traceback has no carets. To place them it parses the line, and at a line that is only part of a
    # statement CPython goes and looks for the file.
    traceback._get_code_position = lambda _code, _at: (None,) * 4  # type: ignore[attr-defined]
    no_clock = _refusing(OSError, "a handler has no clock; `message.timestamp` is there")
    for name in ("time", "monotonic", "perf_counter", "process_time", "thread_time"):
        setattr(time, name, no_clock)
        setattr(time, f"{name}_ns", no_clock)
    time.sleep = no_clock
    no_randomness = _refusing(NotImplementedError, "a handler has no randomness; `random` always has the same seed")
    os.urandom = no_randomness
    random._urandom = no_randomness  # type: ignore[attr-defined]
    sys.stdout = _Lines(log.info)
    sys.stderr = _Lines(log.error)
    _log_through_the_host()


def _refusing(error: type[Exception], text: str) -> Callable[..., NoReturn]:
    def refuse(*_arguments: Any, **_keywords: Any) -> NoReturn:
        raise error(text)

    return refuse


class _NothingMore:
    """The last finder: says why a module is not there."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        raise ModuleNotFoundError(f"{name} is not in the component: import it at the top of a module", name=name)


class _Lines(io.TextIOBase):
    """Standard output or error: each line is a line of the log."""

    def __init__(self, write_line: Callable[[str], None]) -> None:
        self._write_line = write_line
        self._rest = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._write_line(line)
        return len(text)

    def flush(self) -> None:
        if self._rest:
            self._write_line(self._rest)
            self._rest = ""


def _source(module: ModuleType) -> str | None:
    path = getattr(module, "__file__", None)
    # Of the project only: the standard library's own lines help nobody.
    return path if path and path.endswith(".py") and not path.startswith(("/python/", "/bundled/", "/world/")) else None


class _ToTheHost(logging.Handler):
    """Passes the records of `logging` on to the host's log."""

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        if record.levelno >= logging.ERROR:
            log.error(text)
        elif record.levelno >= logging.WARNING:
            log.warn(text)
        elif record.levelno >= logging.INFO:
            log.info(text)
        else:
            log.debug(text)


def _log_through_the_host() -> None:
    # A record wants to know when it was made, which the host's log knows better.
    logging.time = SimpleNamespace(**{**vars(time), "time_ns": lambda: 0})  # type: ignore[attr-defined]
    logging.logThreads = logging.logProcesses = False
    root = logging.root
    if not root.handlers:
        root.addHandler(_ToTheHost())
        root.setLevel(logging.DEBUG)
    # What `basicConfig` made writes to a stream that is no longer there.
    for old in [handler for handler in root.handlers if type(handler) is logging.StreamHandler]:
        new = _ToTheHost(old.level)
        new.setFormatter(old.formatter)
        root.removeHandler(old)
        root.addHandler(new)
