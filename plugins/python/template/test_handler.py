import sys
import unittest

sys.path.insert(0, "../sdk")

from handler import MyHandler
from wasmill.testing import Harness, ack, reject


class MyHandlerTest(unittest.TestCase):
    def test_sends_upper_case_with_the_suffix(self) -> None:
        run = Harness(MyHandler, config={"suffix": "!"}).run("hello")
        self.assertEqual(run.outcomes, [ack()])
        self.assertEqual(run.values(), ["HELLO!"])

    def test_rejects_what_is_no_text(self) -> None:
        run = Harness(MyHandler).run(b"\xff")
        self.assertEqual(run.outcomes, [reject("the value is not UTF-8 from byte 0")])


if __name__ == "__main__":
    unittest.main()
