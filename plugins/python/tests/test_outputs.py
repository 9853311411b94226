"""What is emitted, word by word: what is sent as a reference, and what as a copy."""

import unittest

from wasmill import _host
from wasmill._message import ABSENT, Batch, Message
from wasmill._outputs import ROW, Outputs, Topic

# Two messages: key `ab`, value `cdef`, header `n` without a value; key `cd`, value absent, no headers.
DATA = b"abcdefncd"
TABLE = [
    *(0, 2, 2, 4, 0, 1, 0, 0, 0, 0, 1, 0),
    *(7, 2, 0, ABSENT, 1, 0, 1, 0, 0, 0, 1, 0),
    *(6, 1, 0, ABSENT),
]  # fmt: skip


class Host:
    """Keeps what is emitted."""

    def __init__(self) -> None:
        self.emitted = []

    def emit(self, data, table, stride, count):
        self.emitted.append((data, table, stride, count))

    def topic_number(self, name):
        return 7


class OutputsTest(unittest.TestCase):
    def setUp(self):
        self.host = Host()
        _host.connect(self.host)
        self.batch = Batch(0, 0, DATA, TABLE, ROW, 2)
        self.message = Message(self.batch, 0)
        self.out = Outputs()
        self.out.begin_batch(self.batch)
        self.out.message, self.out.index = self.message, 0

    def emitted(self):
        """Bytes, rows and header rows of all that was sent."""
        self.out.flush()
        [(data, table, stride, count)] = self.host.emitted
        rows = [table[at : at + stride] for at in range(0, stride * count, stride)]
        return data, rows, table[stride * count :]

    def test_what_the_message_gave_out_is_sent_as_a_reference(self):
        self.out.forward(self.message)
        self.out.send(self.message.key, self.message.value)
        self.out.send(self.message.key, None, headers=self.message.headers)
        data, rows, headers = self.emitted()
        self.assertEqual((data, headers), (b"", []))
        self.assertEqual([row[2:8] for row in rows], [[0, 2, 2, 4, 0, 1], [0, 2, 2, 4, 0, 0], [0, 2, 0, ABSENT, 0, 1]])

    def test_equal_bytes_elsewhere_are_sent_as_a_copy(self):
        value = self.message.value
        self.out.send(None, bytes(bytearray(value)))
        data, [row], _ = self.emitted()
        self.assertEqual((data, row[2:6]), (b"cdef", [0, ABSENT, len(DATA), 4]))

    def test_another_message_of_the_batch_is_sent_as_it_is(self):
        other = Message(self.batch, ROW)
        self.out.forward(other)
        self.out.send(other.key, other.value)
        data, rows, _ = self.emitted()
        self.assertEqual(data, b"cd")
        self.assertEqual(rows[0][:8], [0, 0, 7, 2, 0, ABSENT, 1, 0])
        self.assertEqual(rows[1][2:6], [len(DATA), 2, 0, ABSENT])

    def test_a_message_of_an_earlier_batch_is_copied(self):
        self.out.begin_batch(Batch(0, 0, b"", [0, ABSENT, 0, ABSENT, 0, 0, 0, 0, 0, 0, 1, 0], ROW, 1))
        self.out.message, self.out.index = Message(self.batch, ROW), 0
        self.out.forward(self.message)
        data, [row], headers = self.emitted()
        self.assertEqual((data, row[2:8]), (b"abcdefn", [0, 2, 2, 4, 0, 1]))
        self.assertEqual(headers, [6, 1, 0, ABSENT])

    def test_what_may_change_later_is_copied_at_once(self):
        value = bytearray(b"one")
        self.out.send(memoryview(b"key"), value)
        value[:] = b"two"
        data, [row], _ = self.emitted()
        self.assertEqual((data, row[2:6]), (b"keyone", [9, 3, 12, 3]))

    def test_absent_and_empty_differ(self):
        self.out.send(None, b"")
        self.out.send("", None)
        data, rows, _ = self.emitted()
        self.assertEqual((data, rows[0][2:6], rows[1][2:6]), (b"", [0, ABSENT, 9, 0], [9, 0, 0, ABSENT]))

    def test_headers_are_rows_of_the_call_behind_those_of_the_batch(self):
        self.out.send(None, None, headers={"a": b"1"})
        self.out.send(None, None, headers=[*self.message.headers, ("é", None)])
        data, rows, headers = self.emitted()
        self.assertEqual(data, "a1né".encode())
        self.assertEqual([row[6:8] for row in rows], [[1, 1], [2, 2]])
        self.assertEqual(headers, [9, 1, 10, 1, 11, 1, 0, ABSENT, 12, 2, 0, ABSENT])

    def test_topic_timestamp_and_partition(self):
        self.out.send(None, None, topic=Topic("orders"), timestamp=(1 << 32) + 5, partition=3)
        self.out.send(None, None, timestamp=0, partition=0)
        _, rows, _ = self.emitted()
        self.assertEqual([rows[0][1], *rows[0][8:]], [7, 5, 1, 3, 3])
        self.assertEqual([rows[1][1], *rows[1][8:]], [0, 0, 0, 0, 3])

    def test_what_the_host_would_trap_for_is_an_error_here(self):
        for key, value, options, error in [
            (1, None, {}, TypeError),
            (None, ["v"], {}, TypeError),
            (None, None, {"timestamp": -1}, ValueError),
            (None, None, {"timestamp": 1.5}, TypeError),
            (None, None, {"partition": -1}, ValueError),
            (None, None, {"partition": 1.0}, TypeError),
            (None, None, {"partition": 1 << 31}, ValueError),
            (None, "\ud800", {}, UnicodeEncodeError),
        ]:
            with self.subTest(key=key, value=value, options=options), self.assertRaises(error):
                self.out.send(key, value, **options)

    def test_an_error_that_the_handler_catches_leaves_whole_rows(self):
        for headers in ({"a": 1}, [("a", "1"), ("b", 1)], [("a",)]):
            with self.assertRaises((TypeError, ValueError)):
                self.out.send("key", "value", headers=headers)
        self.out.send(None, None, headers={"n": None})
        _, [row], headers = self.emitted()
        at = (row[6] - self.batch.header_count) * 4
        self.assertEqual((len(headers) % 4, headers[at + 1], headers[at + 3], row[7]), (0, 1, ABSENT, 1))

    def test_a_dropped_message_leaves_the_others_as_they_are(self):
        self.out.send(None, "first", headers={"a": "b"})
        self.out.message, self.out.index = Message(self.batch, ROW), 1
        self.out.send(None, "second", headers={"c": "d"})
        self.out.drop_message()
        self.out.send(None, "third")
        data, rows, headers = self.emitted()
        self.assertEqual([row[0] for row in rows], [0, 1])
        self.assertEqual(rows[0][4:8], [9, 5, 1, 1])
        self.assertEqual(headers[:4], [14, 1, 15, 1])
        start, length = rows[1][4:6]
        self.assertEqual(data[start - 9 :][:length], b"third")

    def test_much_is_handed_over_before_the_end(self):
        self.out.send(None, bytes(700_000))
        self.out.send(None, bytes(700_000))
        self.assertEqual(len(self.host.emitted), 1)
        self.out.send(None, b"x")
        self.out.drop_message()
        self.out.flush()
        self.assertEqual(len(self.host.emitted), 1)
        for _ in range(20_000):
            self.out.forward(self.message)
        self.assertEqual(len(self.host.emitted), 2)


if __name__ == "__main__":
    unittest.main()
