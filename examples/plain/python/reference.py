"""A handler of world `messages` without an SDK, made by componentize-py from wit/handler.wit alone: the reference handler
of plugins/CONFORMANCE.md, which does what the header `do` of a message says.

`wit_world` is what componentize-py makes of the contract. An error of the contract's results is raised as `Err`.
"""

import json

from componentize_py_types import Err
from wit_world.imports import log
from wit_world.imports.plain import Failure_Reject, Failure_Retry, Header, Message, Output
from wit_world.imports.types import Context

# What an instance remembers. The exports of a world are methods of a class, of which each call has a new object.
_context: Context
_count = 0


class WitWorld:
    """The exports."""

    def init(self, context: Context) -> None:
        global _context
        _context = context
        refusal = setting("fail")
        if refusal is not None:
            raise Err(refusal)

    def handle(self, message: Message) -> list[Output]:
        try:
            return answer(message)
        except Err:
            raise
        except Exception as error:
            # `--stub-wasi` leaves no standard error for a traceback. What is logged in a call that traps goes with the reason.
            log.write(log.Level.ERROR, repr(error))
            raise


def answer(message: Message) -> list[Output]:
    global _count
    count, _count = _count, _count + 1
    command, argument = text(header(message, "do") or b"forward"), text(header(message, "arg"))
    match command:
        case "forward":
            return [output(message.key, message.value, headers=message.headers)]
        case "drop":
            return []
        case "copy":
            partition, timestamp = message.partition, message.timestamp
            return [Output(None, partition, timestamp, message.key, message.value, message.headers)]
        case "upper":
            return [output(message.key, None if message.value is None else message.value.upper())]
        case "many":
            return [say(number) for number in range(int(argument))]
        case "to":
            return [output(message.key, message.value, topic=argument)]
        case "tombstone":
            return [output(message.key, None)]
        case "empty":
            return [output(b"", b"", headers=[Header("", b""), Header("n", None)])]
        case "describe":
            return [say(describe(message))]
        case "json":
            return [say(name_in(message.value))]
        case "retry":
            if message.attempt < int(argument):
                after = int(text(header(message, "after")) or 0)
                raise Err(Failure_Retry((after, f"attempt {message.attempt}")))
            return [output(message.key, message.value, headers=message.headers)]
        case "reject":
            raise reject(text(message.value))
        case "crash":
            raise RuntimeError(text(message.value))
        case "log":
            log.write(log.Level[argument.upper()], text(message.value))
            return []
        case "config":
            value = setting(argument)
            if value is None:
                raise reject(f"no setting {argument}")
            return [say(value)]
        case "context":
            return [say(f"pipeline={_context.pipeline} group={_context.group} digest={_context.digest}")]
        case "count":
            return [say(count)]
    raise reject(f"unknown command {command}")


def setting(name: str) -> str | None:
    return next((one.value for one in _context.config if one.key == name), None)


def header(message: Message, name: str) -> bytes | None:
    """The value of the last header of that name."""
    return next((one.value for one in reversed(message.headers) if one.name == name), None)


def text(data: bytes | None) -> str:
    return (data or b"").decode(errors="replace")


def output(
    key: bytes | None, value: bytes | None, *, topic: str | None = None, headers: list[Header] | None = None
) -> Output:
    return Output(topic, None, None, key, value, headers or [])


def say(what: object) -> Output:
    return output(None, str(what).encode())


def reject(reason: str) -> Err:
    return Err(Failure_Reject(reason))


def size(data: bytes | None) -> str:
    return "absent" if data is None else str(len(data))


def describe(message: Message) -> str:
    timestamp = "none" if message.timestamp is None else message.timestamp
    headers = ",".join(f"{one.name}:{size(one.value)}" for one in message.headers)
    return (
        f"topic={message.topic} partition={message.partition} offset={message.offset} timestamp={timestamp}"
        f" attempt={message.attempt} key={size(message.key)} value={size(message.value)} headers={headers}"
    )


def name_in(value: bytes | None) -> str:
    """The text of the field `name` of a JSON object."""
    try:
        document = json.loads(value or b"")
    except ValueError:
        document = None
    name = document.get("name") if isinstance(document, dict) else None
    if not isinstance(name, str):
        raise reject("no name")
    return name
