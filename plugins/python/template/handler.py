"""A wasmill handler. Begin here: this one sends every value on in upper case."""

from wasmill import Context, Message, Outputs, handler


@handler
class MyHandler:
    """Made once for each instance, before its first message. An exception keeps the pipeline from starting."""

    def __init__(self, context: Context) -> None:
        context.only(["suffix"])
        self.suffix = context.config("suffix") or ""

    def handle(self, message: Message, out: Outputs) -> None:
        """Handles one message. An exception rejects it, with the traceback as the reason."""
        out.send(message.key, message.text().upper() + self.suffix)
