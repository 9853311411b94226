"""What a handler emits, written straight into the layout of the contract (`outcome.emit` in wit/handler.wit).

Bytes are immutable, so the objects that the message itself gave out are sent as references into the batch: passing a
key or a value on copies nothing, neither here nor in the host.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import index
from typing import ClassVar, Final, TypeAlias

from wasmill import _host
from wasmill._message import ABSENT, HEADER_ROW, Batch, Headers, Message

ROW: Final = 12
"""Words of an output's row."""

_TIMESTAMP_GIVEN: Final = 1
_PARTITION_GIVEN: Final = 2
_WORD: Final = 0xFFFF_FFFF

# Past either of these the outputs so far go to the host: a handler that emits without end then meets the pipeline's
# output limit, which says so, and not that of its memory.
_FLUSH_BYTES: Final = 1 << 20
_FLUSH_WORDS: Final = ROW * (16 << 10)

_NO_BATCH: Final = Batch(0, 0, b"", [], ROW, 0)
_NO_MESSAGE: Final = Message(_NO_BATCH, 0)

# The columns from the headers on, and those behind them, where nothing is given.
_NOTHING_ELSE: Final = (0, 0, 0, 0, 0, 0)
_NOT_GIVEN: Final = (0, 0, 0, 0)

Payload: TypeAlias = bytes | bytearray | memoryview | str | None
"""A key or a value to send. Text is sent as UTF-8; None is absent."""


class Topic:
    """An output topic, as the host numbers it. Valid as long as the instance."""

    __slots__ = ("name", "number")

    name: str
    """The topic's name; empty for the pipeline's default output, whatever its name is."""
    number: int
    """The number by which the host knows it."""

    DEFAULT: ClassVar[Topic]
    """The pipeline's default output."""

    def __init__(self, name: str) -> None:
        """An output topic by name. Ask in the handler's `__init__`: a topic that the pipeline's `output` does not grant
        raises NotGranted, with the host's text, and then keeps the pipeline from starting."""
        self.name = name
        self.number = _host.topic_number(name)

    def __repr__(self) -> str:
        return f"Topic({self.name!r})" if self.number else "Topic.DEFAULT"


HeadersToSend: TypeAlias = Headers | Mapping[str, Payload] | Iterable[tuple[str, Payload]]
"""Those of a message (`message.headers`), a dict, or pairs of name and value."""

Topic.DEFAULT = Topic.__new__(Topic)
Topic.DEFAULT.name = ""
Topic.DEFAULT.number = 0


class Outputs:
    """What the handler emits for the message at hand. It is published, in order, if and when the message is
    acknowledged."""

    __slots__ = ("_batch", "_headers", "_limit", "_next", "_parts", "_rows", "index", "message")

    def __init__(self) -> None:
        self._batch = _NO_BATCH
        # The message at hand and its row: set by the loop that takes the handler through the batch.
        self.message = _NO_MESSAGE
        self.index = 0
        self._rows: list[int] = []
        self._headers: list[int] = []
        # Bytes of this call; where the next of them start, counted on from those of the batch; and where that is far.
        self._parts: list[bytes] = []
        self._next = self._limit = 0

    def send(
        self,
        key: Payload,
        value: Payload,
        *,
        topic: Topic = Topic.DEFAULT,
        headers: HeadersToSend | None = None,
        timestamp: int | None = None,
        partition: int | None = None,
    ) -> None:
        """Sends key and value, to the pipeline's default output unless `topic` says otherwise.

        `headers` are those of a message (`message.headers`), a dict, or pairs of name and value. `timestamp` is in
        milliseconds since 1970; without it the output has that of its message. Without `partition` the key decides, as
        in Kafka's own clients; one that the topic does not have makes the host give the message up.
        """
        # Key and value spelt out: shared in a method, this would take a quarter longer.
        message = self.message
        if key is None:
            key_start, key_length = 0, ABSENT
        elif key is message._key:
            table = self._batch.table
            key_start = table[message._at]
            key_length = table[message._at + 1]
        else:
            key_start, key_length = self._put(key)
        if value is None:
            value_start, value_length = 0, ABSENT
        elif value is message._value:
            table = self._batch.table
            value_start = table[message._at + 2]
            value_length = table[message._at + 3]
        else:
            value_start, value_length = self._put(value)
        rest = _NOTHING_ELSE
        if headers is not None or timestamp is not None or partition is not None:
            rest = self._rest(headers, timestamp, partition)
        rows = self._rows
        rows += (self.index, topic.number, key_start, key_length, value_start, value_length)
        rows += rest
        if self._next > self._limit or len(rows) > _FLUSH_WORDS:
            self.flush()

    def forward(self, message: Message, *, topic: Topic = Topic.DEFAULT) -> None:
        """Sends the message on as it is, headers included."""
        batch = message._batch
        if batch is not self._batch:
            # One that the handler kept from an earlier call.
            self.send(message.key, message.value, topic=topic, headers=message.headers, timestamp=message.timestamp)
            return
        at = message._at
        rows = self._rows
        rows += (self.index, topic.number)
        rows += batch.table[at : at + 6]
        rows += _NOT_GIVEN
        if len(rows) > _FLUSH_WORDS:
            self.flush()

    def begin_batch(self, batch: Batch) -> None:
        """Prepares for a batch. Not for handlers, like what follows."""
        self._batch = batch
        self._clear()

    def end_batch(self) -> None:
        """Hands over what is left, and lets go of the batch before the next one arrives."""
        self.flush()
        self._batch = _NO_BATCH
        self.message = _NO_MESSAGE

    def drop_message(self) -> None:
        """Takes back what was sent for the message at hand, as far as the host does not have it."""
        # Its bytes stay, and nothing refers to them: to know where they began would cost every message.
        rows = self._rows
        while rows and rows[-ROW] == self.index:
            del rows[-ROW:]

    def flush(self) -> None:
        """Hands the outputs so far to the host."""
        if self._rows:
            count = len(self._rows) // ROW
            _host.current().emit(b"".join(self._parts), self._rows + self._headers, ROW, count)
        self._clear()

    def _clear(self) -> None:
        self._rows.clear()
        self._headers.clear()
        self._parts.clear()
        self._next = len(self._batch.data)
        self._limit = self._next + _FLUSH_BYTES

    def _put(self, payload: Payload) -> tuple[int, int]:
        """Start and length of bytes to send."""
        if type(payload) is not bytes:
            if payload is None:
                return 0, ABSENT
            payload = _as_bytes(payload)
        start = self._next
        length = len(payload)
        self._next = start + length
        self._parts.append(payload)
        return start, length

    def _rest(
        self, headers: HeadersToSend | None, timestamp: int | None, partition: int | None
    ) -> tuple[int, int, int, int, int, int]:
        """The columns of a row from the headers on."""
        first_header, header_count = (0, 0) if headers is None else self._put_headers(headers)
        flags = low = high = number = 0
        if timestamp is not None:
            milliseconds = index(timestamp)
            if not 0 <= milliseconds < 1 << 63:
                raise ValueError(f"timestamp {timestamp} is not milliseconds since 1970")
            flags |= _TIMESTAMP_GIVEN
            low, high = milliseconds & _WORD, milliseconds >> 32
        if partition is not None:
            number = index(partition)
            if not 0 <= number < 1 << 31:
                raise ValueError(f"{partition} is no partition")
            flags |= _PARTITION_GIVEN
        return first_header, header_count, low, high, number, flags

    def _put_headers(self, headers: HeadersToSend) -> tuple[int, int]:
        """First row and number of headers to send."""
        if isinstance(headers, Headers) and headers._batch is self._batch:
            return headers._first, headers._length
        pairs = headers.items() if isinstance(headers, Mapping) else headers
        before = len(self._headers) // HEADER_ROW
        for name, value in pairs:
            # As `Header.name` decodes it.
            self._headers += (*self._put(name.encode(errors="surrogateescape")), *self._put(value))
        return self._batch.header_count + before, len(self._headers) // HEADER_ROW - before


def _as_bytes(payload: object) -> bytes:
    if isinstance(payload, str):
        return payload.encode()
    if isinstance(payload, (bytes, bytearray, memoryview)):
        # A copy: the handler may change them later.
        return bytes(payload)
    raise TypeError(f"keys and values are bytes, text or None, not {type(payload).__name__}")
