"""The component: what the host calls, and what `componentize-py` is told to build. It wraps the handler that
`handler.py` registers.

This module is imported once, when the component is built; what is in memory afterwards is what every instance begins
with.
"""

from __future__ import annotations

import gc

import handler as _project  # noqa: F401 - imported for what it registers
from componentize_py_types import Err
from wit_world.imports import log, outcome, topics, types

from wasmill import _handler, _host, _sandbox
from wasmill._context import ConfigError, Context
from wasmill._message import Batch
from wasmill._outputs import Outputs
from wasmill._verdict import NotGranted, describe, encodable


class _Host:
    """The host's imports."""

    def __init__(self) -> None:
        self._levels = (log.Level.TRACE, log.Level.DEBUG, log.Level.INFO, log.Level.WARN, log.Level.ERROR)
        self.emit = outcome.emit
        self.fail = outcome.fail

    def log(self, level: _host.Level, text: str) -> None:
        log.write(self._levels[level], text)

    def topic_number(self, name: str) -> int:
        try:
            return topics.number(encodable(name))
        except Err as error:
            raise NotGranted(error.value) from None

    def source_name(self, source: int) -> str:
        return topics.source_name(source)


def _registered() -> _handler.Any:
    names = [target.__qualname__ for target in _handler.registered]
    if len(names) != 1:
        found = f"these are: {', '.join(names)}" if names else "there is none"
        raise SystemExit(f"handler.py must register one handler with `@handler`; {found}")
    return _handler.registered[0]


_target = _registered()
_out = Outputs()
_handle: _handler.Handle


class WitWorld:
    """The exports. `componentize-py` makes one of these for each of them, so what they share is the module's."""

    def init(self, context: types.Context) -> None:
        global _handle
        _host.connect(_Host())
        _sandbox.close()
        settings = {setting.key: setting.value for setting in context.config}
        try:
            _handle = _handler.start(_target, Context(context.pipeline, context.group, context.digest, settings))
        except ConfigError as error:
            raise Err(encodable(str(error))) from None
        except Exception as error:
            raise Err(describe(error)) from None

    def handle(self, source: int, partition: int, data: bytes, table: list[int], stride: int, count: int) -> int:
        return _handler.handle_batch(_handle, _out, Batch(source, partition, data, table, stride, count))


_sandbox.prepare()
# What is here now stays: the collector need not look at it again, nor touch its pages.
gc.collect()
gc.freeze()
