"""A handler, and the loop that takes it through a batch."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Final, TypeAlias, TypeVar

from wasmill import _host
from wasmill._context import Context
from wasmill._message import Batch, Message
from wasmill._outputs import Outputs
from wasmill._verdict import Retry, describe

# `object`, and not None, because what comes back is checked.
Handle: TypeAlias = Callable[[Message, Outputs], object]

Target = TypeVar("Target", bound=Callable[..., Any])

registered: Final[list[Any]] = []
"""What `@handler` stood before, in order."""


def handler(target: Target) -> Target:
    """Makes a function or a class the handler of this project; once in a project.

    A function takes a message and its outputs: `def handle(message, out)`. A class has that as a method, for a handler
    with state or settings: it is made once for each instance, before the first message, with the `Context`. An
    exception of its `__init__` keeps the pipeline from starting.

    Raises TypeError if it is neither.
    """
    check(target)
    registered.append(target)
    return target


def check(target: Any) -> None:
    """Raises TypeError unless it is a handler: now, and not for each message later."""
    name = getattr(target, "__qualname__", repr(target))
    handle = target
    arguments: list[None] = [None, None]
    stateful: bool = inspect.isclass(target)
    if stateful:
        if not callable(getattr(target, "handle", None)):
            raise TypeError(f"{name} is no handler: it has no method `handle(self, message, out)`")
        _bind(target, [None], f"{name} is no handler: it takes a context, `def __init__(self, context)`")
        handle = target.handle
        name = f"{name}.handle"
        arguments = [None, None, None]
    if inspect.iscoroutinefunction(handle) or inspect.isasyncgenfunction(handle):
        raise TypeError(f"{name} is async, which a handler cannot be: there is nothing to wait for")
    if inspect.isgeneratorfunction(handle):
        raise TypeError(f"{name} yields, so calling it does nothing: use `out.send`")
    _bind(handle, arguments, f"{name} is no handler: it takes a message and its outputs, `(message, out)`")


def _bind(target: Any, arguments: list[None], otherwise: str) -> None:
    try:
        inspect.signature(target).bind(*arguments)
    except TypeError as error:
        raise TypeError(f"{otherwise}; {error}") from None


def start(target: Any, context: Context) -> Handle:
    """Makes a handler ready for messages."""
    stateful: bool = inspect.isclass(target)
    handle: Handle = target(context).handle if stateful else target
    return handle


def handle_batch(handle: Handle, out: Outputs, batch: Batch) -> int:
    """Takes a handler through a batch; returns how many messages it reached."""
    out.begin_batch(batch)
    stride = batch.stride
    reached = batch.count
    for index in range(batch.count):
        out.index = index
        out.message = message = Message(batch, index * stride)
        try:
            result = handle(message, out)
            if result is not None:
                raise TypeError(f"a handler returns None, not {result!r}; raise Retry or Reject")
        except Retry as retry:
            out.drop_message()
            _host.current().fail(index, retry.after_ms, describe(retry))
            # Whatever came after would overtake this message; the host would discard it.
            reached = index + 1
            break
        except MemoryError:
            # Not this message's fault alone: the call traps, and the host hands the batch to a new instance.
            raise
        except (Exception, SystemExit) as error:
            out.drop_message()
            _host.current().fail(index, None, describe(error))
    out.end_batch()
    return reached
