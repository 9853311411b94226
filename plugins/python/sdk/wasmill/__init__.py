"""Write a wasmill handler in Python: a function over a message.

    from wasmill import Message, Outputs, handler

    @handler
    def upper(message: Message, out: Outputs) -> None:
        out.send(message.key, message.text().upper())

Returning acknowledges the message. `raise Retry("why")` has it handed over again, `raise Reject("why")` gives it up;
any other exception rejects it, with the traceback as the reason.

A handler is called once for each message, in offset order for each partition, by one thread. An instance serves one or
more partitions and is thrown away after a trap or when its partitions move, so its state is a cache: nothing that must
survive may live only there.
"""

from wasmill import log
from wasmill._context import ConfigError, Context
from wasmill._handler import handler
from wasmill._message import Header, Headers, Message
from wasmill._outputs import Outputs, Payload, Topic
from wasmill._verdict import NotGranted, NotText, Reject, Retry

__all__ = [
    "ConfigError",
    "Context",
    "Header",
    "Headers",
    "Message",
    "NotGranted",
    "NotText",
    "Outputs",
    "Payload",
    "Reject",
    "Retry",
    "Topic",
    "handler",
    "log",
]
