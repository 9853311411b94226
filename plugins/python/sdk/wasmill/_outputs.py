"""What a handler emits, written straight into the layout of the contract (`outcome.emit` in wit/handler.wit).

Bytes are immutable, so the objects that the message itself gave out are sent as references into the batch: passing a key
or a value on copies nothing, neither here nor in the host.
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

# Past either of these the outputs so far go to the host: a handler that emits without end then meets the pipeline's output
# limit, which says so, and not that of its memory.
_FLUSH_BYTES: Final = 1 << 20
_FLUSH_WORDS: Final = ROW * (16 << 10)

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


Topic.DEFAULT = Topic.__new__(Topic)
Topic.DEFAULT.name = ""
Topic.DEFAULT.number = 0


class Outputs:
    """What the handler emits for the message at hand. It is published, in order, if and when the message is acknowledged."""

    __slots__ = ("_base", "_batch", "_headers", "_index", "_mark", "_message", "_next", "_parts", "_rows")

    _batch: Batch
    _message: Message

    def __init__(self) -> None:
        self._rows: list[int] = []
        self._headers: list[int] = []
        # Bytes of this call, and the start of the next of them: all lie behind the `_base` bytes of the batch.
        self._parts: list[bytes] = []
        self._base = self._next = 0
        # The row of the message at hand, and where its outputs begin in the three lists and in the bytes.
        self._index = 0
        self._mark = (0, 0, 0, 0)

    def send(
        self,
        key: Payload,
        value: Payload,
        *,
        topic: Topic = Topic.DEFAULT,
        headers: Headers | Mapping[str, Payload] | Iterable[tuple[str, Payload]] | None = None,
        timestamp: int | None = None,
        partition: int | None = None,
    ) -> None:
        """Sends key and value, to the pipeline's default output unless `topic` says otherwise.

        `headers` are those of a message (`message.headers`), a dict, or pairs of name and value. `timestamp` is in
        milliseconds since 1970; without it the output has that of its message. Without `partition` the key decides, as in
        Kafka's own clients; one that the topic does not have makes the host give the message up.
        """
        key_start, key_length = self._put(key)
        value_start, value_length = self._put(value)
        first_header, header_count = (0, 0) if headers is None else self._put_headers(headers)
        flags = 0
        if timestamp is None:
            timestamp = 0
        else:
            flags |= _TIMESTAMP_GIVEN
            timestamp = index(timestamp)
            if not 0 <= timestamp < 1 << 63:
                raise ValueError(f"timestamp {timestamp} is not milliseconds since 1970")
        if partition is None:
            partition = 0
        else:
            flags |= _PARTITION_GIVEN
            partition = index(partition)
            if not 0 <= partition < 1 << 31:
                raise ValueError(f"{partition} is no partition")
        self._rows += (
            self._index,
            topic.number,
            key_start,
            key_length,
            value_start,
            value_length,
            first_header,
            header_count,
            timestamp & _WORD,
            timestamp >> 32,
            partition,
            flags,
        )
        if self._next - self._base > _FLUSH_BYTES or len(self._rows) > _FLUSH_WORDS:
            self.flush()

    def forward(self, message: Message, *, topic: Topic = Topic.DEFAULT) -> None:
        """Sends the message on as it is, headers included."""
        batch = message._batch
        if batch is not self._batch:
            # One that the handler kept from an earlier call.
            self.send(
                message.key, message.value, topic=topic, headers=message.headers, timestamp=message.timestamp
            )
            return
        at = message._at
        self._rows += (self._index, topic.number, *batch.table[at : at + 6], 0, 0, 0, 0)
        if len(self._rows) > _FLUSH_WORDS:
            self.flush()

    def begin_batch(self, batch: Batch) -> None:
        """Prepares for a batch. Not for handlers, like what follows."""
        self._batch = batch
        self._base = len(batch.data)
        self._clear()

    def begin_message(self, message: Message, index: int) -> None:
        """Prepares for the message in that row."""
        self._message = message
        self._index = index
        self._mark = (len(self._rows), len(self._headers), len(self._parts), self._next)

    def drop_message(self) -> None:
        """Takes back what was sent for the message at hand, as far as the host does not have it."""
        rows, headers, parts, self._next = self._mark
        del self._rows[rows:], self._headers[headers:], self._parts[parts:]

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
        self._next = self._base
        self._mark = (0, 0, 0, self._base)

    def _put(self, payload: Payload) -> tuple[int, int]:
        """Start and length of bytes to send."""
        if payload is None:
            return 0, ABSENT
        message = self._message
        if payload is message._key:
            at = message._at
            return self._batch.table[at], self._batch.table[at + 1]
        if payload is message._value:
            at = message._at
            return self._batch.table[at + 2], self._batch.table[at + 3]
        if isinstance(payload, str):
            payload = payload.encode()
        elif isinstance(payload, (bytearray, memoryview)):
            # The handler may change them later.
            payload = bytes(payload)
        elif not isinstance(payload, bytes):
            raise TypeError(f"keys and values are bytes, text or None, not {type(payload).__name__}")
        start, length = self._next, len(payload)
        self._parts.append(payload)
        self._next = start + length
        return start, length

    def _put_headers(
        self, headers: Headers | Mapping[str, Payload] | Iterable[tuple[str, Payload]]
    ) -> tuple[int, int]:
        """First row and number of headers to send."""
        if isinstance(headers, Headers) and headers._batch is self._batch:
            return headers._first, headers._length
        pairs = headers.items() if isinstance(headers, Mapping) else headers
        before = len(self._headers) // HEADER_ROW
        for name, value in pairs:
            # As `Header.name` decodes it.
            self._headers += self._put(name.encode(errors="surrogateescape"))
            self._headers += self._put(value)
        return self._batch.header_count + before, len(self._headers) // HEADER_ROW - before
