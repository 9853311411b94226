"""What a handler says of a message. Returning normally acknowledges it; these exceptions say otherwise."""

from __future__ import annotations

import traceback
from datetime import timedelta
from typing import Final

_LONGEST_DELAY: Final = 0xFFFF_FFFF
_TRACEBACK_BYTES: Final = 4096


class Reject(Exception):
    """Gives the message up for good: it goes to the pipeline's dead letters, or wherever `on_exhausted` says.

    Nothing that was sent for it is published. The text is the reason shown there.
    """


class NotText(Reject):
    """The value is absent or not UTF-8. Uncaught, it rejects the message."""


class NotGranted(Reject):
    """The pipeline does not grant a topic. From a handler's `__init__` it keeps the pipeline from starting."""


class Retry(Exception):
    """Has the message handed over again, as attempt + 1; after `retry.attempts` it is given up.

    No later message of its partition is handled in between, and nothing that was sent for it is published.

    `after` is how long to wait at least, as a `timedelta` or in seconds. The pipeline's `retry.backoff` is waited in
    any case, `retry.max_delay` is the most.
    """

    def __init__(self, reason: str = "", *, after: timedelta | float = 0) -> None:
        super().__init__(reason)
        self.after_ms: Final = _milliseconds(after)


def _milliseconds(delay: timedelta | float) -> int:
    """Whole milliseconds, rounded up, as many as the contract can say."""
    if not isinstance(delay, timedelta):
        # As a timedelta, because 0.07 s are 70 ms, and 0.07 * 1000 is a little more.
        delay = timedelta(seconds=min(delay, _LONGEST_DELAY // 1000 + 1))
    if delay < timedelta(0):
        raise ValueError(f"a delay of {delay}")
    return min(-(delay // timedelta(milliseconds=-1)), _LONGEST_DELAY)


def describe(error: BaseException) -> str:
    """The reason that an exception gives: the text of the SDK's own ones, else the end of the traceback."""
    if isinstance(error, (Reject, Retry)):
        return encodable(str(error))
    # The first frame is the SDK's own.
    place = error.__traceback__ and error.__traceback__.tb_next
    text = "".join(traceback.format_exception(type(error), error, place)).rstrip("\n")
    tail = text.encode(errors="replace")[-_TRACEBACK_BYTES:]
    return tail.decode(errors="ignore")


def encodable(text: str) -> str:
    """The text as the host can take it: lone surrogates, which have no UTF-8, become `?`."""
    return text if text.isascii() else text.encode(errors="replace").decode()
