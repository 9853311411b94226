"""Messages as a handler sees them: read from the batch that the host handed over, when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple, overload

from wasmill import _host
from wasmill._verdict import NotText

ROW: Final = 12
"""Words of a message's row in the table (wit/handler.wit, world `batches`). A later host may append columns."""
HEADER_ROW: Final = 4
"""Words of a header's row."""
ABSENT: Final = 0xFFFF_FFFF
"""The length that says "absent"."""

# Not None, which means absent.
_UNREAD: Final[Any] = object()


class Batch:
    """One call's messages, in the contract's layout."""

    __slots__ = ("count", "data", "header_count", "headers_at", "partition", "source", "stride", "table")

    def __init__(self, source: int, partition: int, data: bytes, table: list[int], stride: int, count: int) -> None:
        if stride < ROW:
            raise ValueError(f"the host's rows have {stride} words, this SDK needs {ROW}")
        self.source = source
        self.partition = partition
        self.data = data
        self.table = table
        self.stride = stride
        self.count = count
        self.headers_at = stride * count
        self.header_count = (len(table) - self.headers_at) // HEADER_ROW

    def bytes_at(self, at: int) -> bytes | None:
        """The bytes behind a start and a length in the table."""
        length = self.table[at + 1]
        if length == ABSENT:
            return None
        start = self.table[at]
        return self.data[start : start + length]


class Header(NamedTuple):
    """One header of a message. It unpacks as `name, value`."""

    name: str
    """The name. Kafka lets producers write any bytes: those that are not UTF-8 become lone surrogates, as in
    `os.fsdecode`, and are sent on as they were."""
    value: bytes | None
    """The value, if there is one."""


class Headers(Sequence[Header]):
    """The headers of a message, in order. A name may occur more than once."""

    __slots__ = ("_batch", "_first", "_length")

    def __init__(self, batch: Batch, first: int, length: int) -> None:
        self._batch = batch
        self._first = first
        self._length = length

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> Header: ...
    @overload
    def __getitem__(self, index: slice) -> list[Header]: ...
    def __getitem__(self, index: int | slice) -> Header | list[Header]:
        rows = range(self._length)[index]
        return self._header(rows) if isinstance(rows, int) else [self._header(row) for row in rows]

    def __iter__(self) -> Iterator[Header]:
        return map(self._header, range(self._length))

    def __repr__(self) -> str:
        return repr(list(self))

    def last(self, name: str) -> bytes | None:
        """The value of the last header of that name; None if there is no such header or it has no value."""
        wanted = name.encode(errors="surrogateescape")
        batch = self._batch
        first = batch.headers_at + self._first * HEADER_ROW
        for at in range(first + (self._length - 1) * HEADER_ROW, first - 1, -HEADER_ROW):
            start, length = batch.table[at : at + 2]
            if length == len(wanted) and batch.data.startswith(wanted, start):
                return batch.bytes_at(at + 2)
        return None

    def _header(self, index: int) -> Header:
        batch = self._batch
        at = batch.headers_at + (self._first + index) * HEADER_ROW
        name = batch.bytes_at(at) or b""
        return Header(name.decode(errors="surrogateescape"), batch.bytes_at(at + 2))


class Message:
    """One Kafka message.

    An absent value (a tombstone) is not an empty one, and an absent key is not an empty key: absent is None.
    """

    __slots__ = ("_at", "_batch", "_key", "_value")

    def __init__(self, batch: Batch, at: int) -> None:
        self._batch = batch
        self._at = at
        # Kept once read: `Outputs` sends these very objects on as references.
        self._key: bytes | None = _UNREAD
        self._value: bytes | None = _UNREAD

    @property
    def key(self) -> bytes | None:
        """The key."""
        key = self._key
        if key is _UNREAD:
            # `Batch.bytes_at`, without a call: this and `value` are what a handler spends its time with.
            batch = self._batch
            at = self._at
            length = batch.table[at + 1]
            if length == ABSENT:
                key = None
            else:
                start = batch.table[at]
                key = batch.data[start : start + length]
            self._key = key
        return key

    @property
    def value(self) -> bytes | None:
        """The value; None in a tombstone."""
        value = self._value
        if value is _UNREAD:
            batch = self._batch
            at = self._at
            length = batch.table[at + 3]
            if length == ABSENT:
                value = None
            else:
                start = batch.table[at + 2]
                value = batch.data[start : start + length]
            self._value = value
        return value

    def text(self) -> str:
        """The value as UTF-8 text.

        Raises NotText if it is absent or not UTF-8; uncaught, that rejects the message.
        """
        value = self.value
        if value is None:
            raise NotText("the value is absent")
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            raise NotText(f"the value is not UTF-8 from byte {error.start}") from None

    @property
    def headers(self) -> Headers:
        """The headers, in order. `headers=message.headers` sends them on without looking at them."""
        table = self._batch.table
        at = self._at
        return Headers(self._batch, table[at + 4], table[at + 5])

    def header(self, name: str) -> bytes | None:
        """The value of the last header of that name, as Kafka's own clients look it up; None if there is no such header
        or it has no value."""
        # Most messages have none, and to find that out must not cost an object.
        return self.headers.last(name) if self._batch.table[self._at + 5] else None

    @property
    def offset(self) -> int:
        """The offset in its partition. Offsets ascend, with gaps."""
        return self._long(6)

    @property
    def timestamp(self) -> int | None:
        """Milliseconds since 1970, if the message has a timestamp."""
        timestamp = self._long(8)
        return None if timestamp == -1 else timestamp

    @property
    def attempt(self) -> int:
        """1 the first time, one more after each retry."""
        return self._batch.table[self._at + 10]

    @property
    def topic(self) -> str:
        """The topic it was read from."""
        return _host.source_name(self._batch.source)

    @property
    def partition(self) -> int:
        """The partition it was read from."""
        return self._batch.partition

    def __repr__(self) -> str:
        return (
            f"<Message {self.topic}/{self.partition}@{self.offset} attempt={self.attempt}"
            f" key={self.key!r} value={self.value!r}>"
        )

    def _long(self, column: int) -> int:
        at = self._at + column
        table = self._batch.table
        unsigned = table[at] | table[at + 1] << 32
        return unsigned if unsigned < 1 << 63 else unsigned - (1 << 64)
