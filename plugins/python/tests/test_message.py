"""What a handler sees of a message, and what a later host may change of the layout."""

import unittest

from wasmill import Message, NotText
from wasmill._message import Batch
from wasmill.testing import Harness, Sample, ack


def seen(sample, look):
    """What `look` says of a message."""
    result = []
    run = Harness(lambda message, out: result.append(look(message))).run(sample)
    assert run.outcomes == [ack()], run.outcomes
    return result[0]


class MessageTest(unittest.TestCase):
    def test_absent_is_not_empty(self):
        def both(message):
            return message.key, message.value

        self.assertEqual(seen(Sample(), both), (None, None))
        self.assertEqual(seen(Sample(b"", key=""), both), (b"", b""))

    def test_text(self):
        self.assertEqual(seen("hé", Message.text), "hé")
        for value, text in [
            (None, "the value is absent"),
            (b"ab\xff", "the value is not UTF-8 from byte 2"),
            (b"a\xe2\x82", "the value is not UTF-8 from byte 1"),
            (b"\xed\xa0\x80", "the value is not UTF-8 from byte 0"),
        ]:
            with self.subTest(value=value), self.assertRaisesRegex(NotText, f"^{text}$"):
                Message.text(Message(Batch(0, 0, value or b"", row(value), 12, 1), 0))

    def test_numbers(self):
        def numbers(message):
            return message.offset, message.timestamp, message.attempt, message.partition, message.topic

        self.assertEqual(seen(Sample(), numbers), (0, None, 1, 0, "input"))
        sample = Sample(offset=(1 << 63) - 1, timestamp=-2, attempt=7)
        self.assertEqual(seen(sample, numbers), ((1 << 63) - 1, -2, 7, 0, "input"))
        self.assertEqual(seen(Sample(timestamp=1 << 32), numbers)[1], 1 << 32)

    def test_headers_keep_order_and_duplicates_and_the_last_one_counts(self):
        sample = Sample(headers=[("a", "1"), ("b", None), ("", ""), ("a", "2"), ("A", "3")])
        pairs = [("a", b"1"), ("b", None), ("", b""), ("a", b"2"), ("A", b"3")]
        self.assertEqual(seen(sample, lambda message: list(message.headers)), pairs)
        self.assertEqual(seen(sample, lambda message: message.headers[-2:]), pairs[-2:])
        self.assertEqual(seen(sample, lambda message: message.headers[0]), pairs[0])
        self.assertEqual(seen(sample, lambda message: len(message.headers)), 5)
        for name, value in [("a", b"2"), ("b", None), ("", b""), ("A", b"3"), ("c", None)]:
            self.assertEqual(seen(sample, lambda message, name=name: message.header(name)), value)

    def test_a_header_name_is_any_bytes(self):
        name = b"\xff".decode(errors="surrogateescape")
        run = Harness(lambda message, out: out.send(None, None, headers=list(message.headers))).run(
            Sample(headers={name: "v"})
        )
        self.assertEqual(run.outputs[0].headers, [(name, b"v")])
        self.assertEqual(seen(Sample(headers={name: "v"}), lambda message: message.header(name)), b"v")

    def test_rows_may_grow(self):
        table = [*row(b"one"), 99, 99, *row(b"two", start=3), 99, 99, 6, 1, 0, 3]
        table[14 + 5] = 1
        batch = Batch(0, 0, b"onetwon", table, 14, 2)
        message = Message(batch, 14)
        self.assertEqual(message.value, b"two")
        self.assertEqual(list(message.headers), [("n", b"one")])
        with self.assertRaisesRegex(ValueError, "11 words"):
            Batch(0, 0, b"", [0] * 11, 11, 1)

    def test_a_message_that_is_kept_stays_as_it_is(self):
        kept = []
        Harness(lambda message, out: kept.append(message)).run("one", "two")
        self.assertEqual([message.value for message in kept], [b"one", b"two"])


def row(value, start=0):
    return [0, 0xFFFF_FFFF, start, 0xFFFF_FFFF if value is None else len(value), 0, 0, 0, 0, 0, 0, 1, 0]


if __name__ == "__main__":
    unittest.main()
