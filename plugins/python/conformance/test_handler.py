"""A look at the reference handler without the host; `wasmill`'s own tests drive the component."""

import unittest

from handler import Reference
from wasmill.testing import Harness, Level, Sample, ack, reject, retry


def run(do, value=None, arg=None, **sample):
    headers = [("do", do)] if arg is None else [("do", do), ("arg", arg)]
    harness = Harness(Reference, config={"a": "1"}, grant=["granted"])
    return harness.run(Sample(value, headers=headers + sample.pop("headers", []), **sample))


class ReferenceTest(unittest.TestCase):
    def test_outputs(self):
        for do, value, arg, expected in [
            ("forward", "v", None, [b"v"]),
            ("drop", "v", None, []),
            ("copy", b"\xff", None, [b"\xff"]),
            ("upper", b"a\xe9b", None, [b"A\xe9B"]),
            ("upper", None, None, [None]),
            ("many", None, "3", [b"0", b"1", b"2"]),
            ("to", "v", "granted", [b"v"]),
            ("tombstone", "v", None, [None]),
            ("empty", "v", None, [b""]),
            ("config", None, "a", [b"1"]),
            ("context", None, None, [b"pipeline=test group=test digest=" + b"0" * 64]),
            ("count", None, None, [b"0"]),
            ("json", '{"name": "n\\u00f6"}', None, ["nö".encode()]),
        ]:
            with self.subTest(do=do):
                result = run(do, value, arg, key="k")
                self.assertEqual(result.outcomes, [ack()])
                self.assertEqual([output.value for output in result.outputs], expected)

    def test_copy_sets_everything(self):
        [output] = run("copy", "v", key="k", timestamp=7, headers=[("n", None), ("n", "")]).outputs
        self.assertEqual((output.key, output.value, output.timestamp, output.partition), (b"k", b"v", 7, 0))
        self.assertEqual(output.headers, [("do", b"copy"), ("n", None), ("n", b"")])

    def test_empty(self):
        [output] = run("empty", "v", key="k").outputs
        self.assertEqual((output.key, output.value, output.headers), (b"", b"", [("", b""), ("n", None)]))

    def test_describe(self):
        [output] = run("describe", None, key="kk", offset=5, headers=[("n", None), ("m", "12")]).outputs
        self.assertEqual(
            output.text,
            "topic=input partition=0 offset=5 timestamp=none attempt=1 key=2 value=absent headers=do:8,n:absent,m:2",
        )

    def test_verdicts(self):
        for do, value, arg, expected in [
            ("retry", None, "2", retry("attempt 1")),
            ("reject", b"no\xff", None, reject("no\ufffd")),
            ("config", None, "b", reject("no setting b")),
            ("json", "{", None, reject("no name")),
            ("json", b"\xff", None, reject("no name")),
            ("json", '{"name": 1}', None, reject("no name")),
            ("what", None, None, reject("unknown command what")),
        ]:
            with self.subTest(do=do):
                self.assertEqual(run(do, value, arg).outcomes, [expected])
        self.assertEqual(run("retry", "v", "2", attempt=2).outcomes, [ack()])
        after = run("retry", None, "2", headers=[("after", "1500")]).outcomes
        self.assertEqual(after, [retry("attempt 1", after=1.5)])
        self.assertTrue(run("crash", "boom").outcomes[0].reason.endswith("RuntimeError: boom"))
        self.assertIn("`nowhere`", run("to", "v", "nowhere").outcomes[0].reason)
        self.assertEqual(run("log", "line", "warn").log, [(Level.WARN, "line")])


if __name__ == "__main__":
    unittest.main()
