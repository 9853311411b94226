"""The other side: the host's imports in a component, the harness in a test. Nothing else here asks where it runs."""

from __future__ import annotations

from enum import IntEnum
from typing import Protocol


class Level(IntEnum):
    """How important a log line is, numbered as in the contract."""

    TRACE = 0
    DEBUG = 1
    INFO = 2
    WARN = 3
    ERROR = 4


class Host(Protocol):
    """The imports of the contract (wit/handler.wit)."""

    def emit(self, data: bytes, table: list[int], stride: int, count: int) -> None: ...
    def fail(self, message: int, retry_after: int | None, reason: str) -> None: ...
    def log(self, level: Level, text: str) -> None: ...
    def topic_number(self, name: str) -> int:
        """Raises NotGranted."""
        ...

    def source_name(self, source: int) -> str: ...


_host: Host | None = None
_numbers: dict[str, int] = {}
_sources: dict[int, str] = {}


def connect(host: Host) -> None:
    """Says who the host is, and forgets what another one said."""
    global _host
    _host = host
    _numbers.clear()
    _sources.clear()


def current() -> Host:
    """The host."""
    if _host is None:
        raise RuntimeError("there is no host yet: topics and the log are there from `__init__` on, not on import")
    return _host


def topic_number(name: str) -> int:
    """The number of an output topic, asked once for each name. Raises NotGranted."""
    number = _numbers.get(name)
    if number is None:
        number = _numbers[name] = current().topic_number(name)
    return number


def source_name(source: int) -> str:
    """The name of a source topic, asked once for each number."""
    name = _sources.get(source)
    if name is None:
        name = _sources[source] = current().source_name(source)
    return name
