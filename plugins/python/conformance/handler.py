"""The reference handler: what the header `do` says, or without one the setting `do`, so that a test of the host can ask
for anything."""

import json

from wasmill import ConfigError, Context, Message, Outputs, Reject, Retry, Topic, handler, log


def absent_or_length(payload: bytes | None) -> str:
    return "absent" if payload is None else str(len(payload))


@handler
class Reference:
    def __init__(self, context: Context) -> None:
        refusal = context.config("fail")
        if refusal is not None:
            raise ConfigError(refusal)
        self.context = context
        # The command of messages without one of their own.
        standing = context.config("do")
        self.standing = "forward" if standing is None else standing
        self.count = 0

    def handle(self, message: Message, out: Outputs) -> None:
        handled, self.count = self.count, self.count + 1
        named = message.header("do")
        command = self.standing if named is None else named.decode()
        match command:
            case "forward":
                out.forward(message)
            case "drop":
                pass
            case "copy":
                out.send(
                    copy(message.key),
                    copy(message.value),
                    headers=[(name, copy(value)) for name, value in message.headers],
                    timestamp=message.timestamp,
                    partition=message.partition,
                )
            case "upper":
                out.send(message.key, None if message.value is None else message.value.upper())
            case "many":
                for number in range(int(argument(message))):
                    out.send(None, str(number))
            case "to":
                out.send(message.key, message.value, topic=Topic(argument(message)))
            case "tombstone":
                out.send(message.key, None)
            case "empty":
                out.send("", "", headers=[("", ""), ("n", None)])
            case "describe":
                out.send(None, describe(message))
            case "retry":
                if message.attempt >= int(argument(message)):
                    out.forward(message)
                else:
                    after = message.header("after")
                    seconds = int(after) / 1000 if after else 0
                    raise Retry(f"attempt {message.attempt}", after=seconds)
            case "reject":
                raise Reject((message.value or b"").decode(errors="replace"))
            case "log":
                log.write(log.Level[argument(message).upper()], message.text())
            case "config":
                name = argument(message)
                value = self.context.config(name)
                if value is None:
                    raise Reject(f"no setting {name}")
                out.send(None, value)
            case "context":
                context = self.context
                out.send(None, f"pipeline={context.pipeline} group={context.group} digest={context.digest}")
            case "count":
                out.send(None, str(handled))
            case "json":
                out.send(None, name_in(message.value))
            case "crash":
                raise RuntimeError(message.text())
            case _:
                raise Reject(f"unknown command {command}")


def argument(message: Message) -> str:
    return (message.header("arg") or b"").decode()


def copy(payload: bytes | None) -> bytes | None:
    """Equal bytes in another object, which are sent as a copy."""
    return None if payload is None else bytes(bytearray(payload))


def describe(message: Message) -> str:
    timestamp = "none" if message.timestamp is None else message.timestamp
    headers = ",".join(
        f"{name.encode(errors='surrogateescape').decode(errors='replace')}:{absent_or_length(value)}"
        for name, value in message.headers
    )
    return (
        f"topic={message.topic} partition={message.partition} offset={message.offset} timestamp={timestamp}"
        f" attempt={message.attempt} key={absent_or_length(message.key)} value={absent_or_length(message.value)}"
        f" headers={headers}"
    )


def name_in(value: bytes | None) -> str:
    """The text of the field `name` of a JSON object, through `json.loads`."""
    try:
        parsed = json.loads(value or b"")
    except ValueError:
        parsed = None
    name = parsed.get("name") if isinstance(parsed, dict) else None
    if not isinstance(name, str):
        raise Reject("no name")
    return name
