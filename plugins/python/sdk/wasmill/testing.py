"""Runs a handler in an ordinary unit test, on this machine. The `Harness` stands in for the host, gives the handler its
context and `Sample`s, and keeps what came of them in a `Run`.

    from wasmill.testing import Harness, Sample, ack, reject

    run = Harness(MyHandler, config={"suffix": "!"}).run("hello", Sample(None, key="k"))
    assert run.values() == ["HELLO!"]
    assert run.outcomes == [ack(), reject("the value is absent")]

What it does not show is what only the sandbox does: limits, deadlines, and what a component lacks of the standard
library.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from wasmill import _host
from wasmill._context import Context
from wasmill._handler import check, handle_batch, start
from wasmill._host import Level
from wasmill._message import ABSENT, HEADER_ROW, ROW, Batch
from wasmill._outputs import Outputs
from wasmill._verdict import NotGranted, Retry

__all__ = [
    "Harness",
    "Instance",
    "Level",
    "Outcome",
    "Output",
    "Run",
    "Sample",
    "ack",
    "not_reached",
    "reject",
    "retry",
]

_WORD: Final = 0xFFFF_FFFF


@dataclass(frozen=True, slots=True)
class Sample:
    """A message to hand over. Text becomes UTF-8; None is absent."""

    value: bytes | str | None = None
    key: bytes | str | None = None
    headers: Mapping[str, bytes | str | None] | Iterable[tuple[str, bytes | str | None]] = ()
    """A dict, or pairs of name and value."""
    offset: int | None = None
    """Else one more than that of the message before, from 0."""
    timestamp: int | None = None
    """Milliseconds since 1970."""
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a message. Compare it with `ack()`, `retry(...)`, `reject(...)` or `not_reached()`."""

    verdict: str
    """`ack`, `retry`, `reject` or `not reached`."""
    reason: str | None = None
    """The text given, for a retry and a rejection."""
    after: timedelta | None = None
    """How long to wait at least, for a retry."""


def ack() -> Outcome:
    """Acknowledged."""
    return Outcome("ack")


def retry(reason: str, *, after: timedelta | float = 0) -> Outcome:
    """To be handed over again, after at least so long: a `timedelta` or seconds."""
    return Outcome("retry", reason, timedelta(milliseconds=Retry(after=after).after_ms))


def reject(reason: str) -> Outcome:
    """Given up for good."""
    return Outcome("reject", reason)


def not_reached() -> Outcome:
    """Not reached, because an earlier message asked for a retry. It is handed over again, its attempt unchanged."""
    return Outcome("not reached")


@dataclass(frozen=True, slots=True)
class Output:
    """A message to be published."""

    message: int
    """Which message of the batch it was sent for."""
    topic: str | None
    """None is the pipeline's default output."""
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]
    timestamp: int | None
    """Milliseconds since 1970: the one given, else the message's."""
    partition: int | None
    """The one given."""

    @property
    def text(self) -> str:
        """The value as text."""
        assert self.value is not None, "the output is a tombstone"
        return self.value.decode()

    def header(self, name: str) -> bytes | None:
        """The value of the last header of that name."""
        return next((value for known, value in reversed(self.headers) if known == name), None)


@dataclass(frozen=True, slots=True)
class Run:
    """What became of a batch."""

    outcomes: list[Outcome]
    """What was said of each message, in order."""
    outputs: list[Output]
    """What would be published, in order: outputs of acknowledged messages."""
    log: list[tuple[Level, str]]
    """The log lines, in order; in the first batch of an instance also those of `__init__`."""

    def values(self) -> list[str]:
        """The values of the outputs as text, in order."""
        return [output.text for output in self.outputs]

    def all_acknowledged(self) -> bool:
        """Whether every message was acknowledged."""
        return all(outcome.verdict == "ack" for outcome in self.outcomes)


class Harness:
    """A handler about to be tested, and what the pipeline would tell it."""

    def __init__(
        self,
        target: Callable[..., Any],
        *,
        config: Mapping[str, str] | None = None,
        grant: Iterable[str] = (),
        pipeline: str = "test",
        group: str = "test",
        topic: str = "input",
        partition: int = 0,
    ) -> None:
        """`target` is a function or a class, as for `@handler`. `config` is the pipeline's table of that name, `grant`
        are the output topics it grants, `topic` and `partition` are where the messages come from."""
        check(target)
        self._target = target
        self._context = Context(pipeline, group, "0" * 64, dict(sorted((config or {}).items())))
        self._recorder = _Recorder(list(grant), topic)
        self._partition = partition

    def start(self) -> Instance:
        """Starts the handler, for tests of more than one batch. Raises what its `__init__` raises."""
        _host.connect(self._recorder)
        return Instance(start(self._target, self._context), self._recorder, self._partition)

    def run(self, *samples: Sample | str | bytes) -> Run:
        """Starts the handler and hands it the messages as one batch. Text or bytes are a message with that value."""
        return self.start().handle(*samples)


class Instance:
    """A started handler. One at a time: the last one started has the host's ear."""

    def __init__(self, handle: Callable[..., Any], recorder: _Recorder, partition: int) -> None:
        self._handle = handle
        self._recorder = recorder
        self._partition = partition
        self._out = Outputs()
        self._next_offset = 0

    def handle(self, *samples: Sample | str | bytes) -> Run:
        """Hands over a batch. Text or bytes are a message with that value."""
        messages = [sample if isinstance(sample, Sample) else Sample(sample) for sample in samples]
        batch = self._batch(messages)
        recorder = self._recorder
        reached = handle_batch(self._handle, self._out, batch)
        outcomes = [recorder.outcome(index) if index < reached else not_reached() for index in range(len(messages))]
        outputs = [
            output
            for emission in recorder.emissions
            for output in _outputs(batch, messages, recorder.granted, *emission)
            if outcomes[output.message].verdict == "ack"
        ]
        run = Run(outcomes, outputs, recorder.lines)
        recorder.forget()
        return run

    def _batch(self, samples: list[Sample]) -> Batch:
        data = bytearray()
        rows: list[int] = []
        headers: list[int] = []

        def put(payload: bytes | str | None) -> tuple[int, int]:
            if payload is None:
                return 0, ABSENT
            payload = payload.encode(errors="surrogateescape") if isinstance(payload, str) else payload
            data.extend(payload)
            return len(data) - len(payload), len(payload)

        for sample in samples:
            offset = self._next_offset if sample.offset is None else sample.offset
            self._next_offset = offset + 1
            timestamp = -1 if sample.timestamp is None else sample.timestamp
            pairs = list(sample.headers.items() if isinstance(sample.headers, Mapping) else sample.headers)
            rows += (*put(sample.key), *put(sample.value), len(headers) // HEADER_ROW, len(pairs))
            rows += (
                offset & _WORD,
                offset >> 32 & _WORD,
                timestamp & _WORD,
                timestamp >> 32 & _WORD,
                sample.attempt,
                0,
            )
            for name, value in pairs:
                headers += (*put(name), *put(value))
        return Batch(0, self._partition, bytes(data), rows + headers, ROW, len(samples))


class _Recorder:
    """The harness's stand-in for the host's imports: it writes down what a handler says."""

    def __init__(self, granted: list[str], source: str) -> None:
        self.granted = granted
        self._source = source
        self.forget()

    def forget(self) -> None:
        self.emissions: list[tuple[bytes, list[int], int, int]] = []
        self.lines: list[tuple[Level, str]] = []
        self._failures: dict[int, Outcome] = {}

    def outcome(self, message: int) -> Outcome:
        return self._failures.get(message, ack())

    def emit(self, data: bytes, table: list[int], stride: int, count: int) -> None:
        self.emissions.append((data, table, stride, count))

    def fail(self, message: int, retry_after: int | None, reason: str) -> None:
        outcome = reject(reason) if retry_after is None else retry(reason, after=timedelta(milliseconds=retry_after))
        self._failures.setdefault(message, outcome)

    def log(self, level: Level, text: str) -> None:
        self.lines.append((level, text))

    def topic_number(self, name: str) -> int:
        try:
            return self.granted.index(name) + 1
        except ValueError:
            raise NotGranted(
                f"topic `{name}` is not granted; hint: `Harness(grant=...)` names those that are"
            ) from None

    def source_name(self, source: int) -> str:
        return self._source


def _outputs(
    batch: Batch, samples: list[Sample], granted: list[str], data: bytes, table: list[int], stride: int, count: int
) -> Iterable[Output]:
    """Reads an emission as the host does."""
    everything = batch.data + data
    header_rows = batch.table[batch.headers_at :] + table[stride * count :]

    def payload(start: int, length: int) -> bytes | None:
        if length == ABSENT:
            return None
        assert start + length <= len(everything), "an output refers to bytes that are not there"
        return everything[start : start + length]

    def header(index: int) -> tuple[str, bytes | None]:
        name, name_length, value, value_length = header_rows[index * HEADER_ROW : (index + 1) * HEADER_ROW]
        return (payload(name, name_length) or b"").decode(errors="surrogateescape"), payload(value, value_length)

    for at in range(0, stride * count, stride):
        message, topic, key, key_length, value, value_length, first, headers, low, high, partition, flags = table[
            at : at + ROW
        ]
        yield Output(
            message,
            granted[topic - 1] if topic else None,
            payload(key, key_length),
            payload(value, value_length),
            [header(index) for index in range(first, first + headers)],
            low | high << 32 if flags & 1 else samples[message].timestamp,
            partition if flags & 2 else None,
        )
