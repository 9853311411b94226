"""Verdicts, errors, settings and the testing helper, through the loop that the component runs."""

import unittest
from datetime import timedelta

from wasmill import ConfigError, Context, NotGranted, Reject, Retry, Topic, _handler, handler, log
from wasmill.testing import Harness, Level, Sample, ack, not_reached, reject, retry


def obey(message, out):
    """Sends the value on, unless it is a command."""
    out.send(message.key, message.value)
    match message.text().split(" "):
        case ["retry", seconds]:
            raise Retry("later", after=float(seconds))
        case ["reject", reason]:
            raise Reject(reason)
        case ["crash"]:
            raise KeyError("nö")
        case ["return"]:
            return Reject("not raised")


class VerdictTest(unittest.TestCase):
    def test_a_rejected_message_loses_its_outputs_and_nothing_else(self):
        run = Harness(obey).run("one", "reject no", "two")
        self.assertEqual(run.outcomes, [ack(), reject("no"), ack()])
        self.assertEqual(run.values(), ["one", "two"])
        self.assertFalse(run.all_acknowledged())

    def test_a_retry_stops_the_batch(self):
        run = Harness(obey).run("one", "retry 0.07", "two")
        self.assertEqual(run.outcomes, [ack(), retry("later", after=timedelta(milliseconds=70)), not_reached()])
        self.assertEqual(run.values(), ["one"])

    def test_an_exception_rejects_with_its_traceback(self):
        [outcome] = Harness(obey).run("crash").outcomes
        self.assertEqual(outcome.verdict, "reject")
        self.assertTrue(outcome.reason.startswith("Traceback (most recent call last):\n"), outcome.reason)
        self.assertTrue(outcome.reason.endswith("\nKeyError: 'nö'"), outcome.reason)
        self.assertIn("in obey", outcome.reason)
        self.assertNotIn("handle_batch", outcome.reason)

    def test_a_traceback_is_cut_at_its_beginning(self):
        def crash(message, out):
            raise ValueError("é" * 5000 + "end")

        [outcome] = Harness(crash).run("x").outcomes
        self.assertTrue(outcome.reason.endswith("ééend"))
        self.assertLessEqual(len(outcome.reason.encode()), 4096)

    def test_a_reason_may_be_long_and_hold_anything(self):
        reason = "\x00\n" + "x" * 100_000

        def refuse(message, out):
            raise Reject(reason if message.offset == 0 else "\ud800")

        self.assertEqual(Harness(refuse).run("a", "b").outcomes, [reject(reason), reject("?")])

    def test_what_is_returned_is_not_a_verdict(self):
        [outcome] = Harness(obey).run("return").outcomes
        self.assertIn("raise Retry or Reject", outcome.reason)

    def test_memory_that_is_gone_is_not_the_message_s_fault(self):
        def greedy(message, out):
            raise MemoryError

        with self.assertRaises(MemoryError):
            Harness(greedy).run("x")

    def test_a_delay_is_rounded_up_and_bounded(self):
        for after, milliseconds in [
            (0, 0),
            (0.07, 70),
            (0.0001, 1),
            (2, 2000),
            (timedelta(microseconds=1001), 2),
            (timedelta.max, 0xFFFF_FFFF),
            (1e300, 0xFFFF_FFFF),
            (float("inf"), 0xFFFF_FFFF),
        ]:
            self.assertEqual(Retry("why", after=after).after_ms, milliseconds, after)
        for after in (-1, float("nan"), timedelta(seconds=-1)):
            with self.assertRaises(ValueError):
                Retry("why", after=after)


class Limited:
    def __init__(self, context: Context) -> None:
        context.only(["limit", "topic"])
        self.limit = context.parse("limit", int, 100)
        self.topic = Topic(context.config("topic") or "granted")
        log.info(f"limit {self.limit}")
        self.seen = 0

    def handle(self, message, out):
        self.seen += 1
        out.send(None, str(self.seen), topic=self.topic)
        log.warn(self.seen)


class StateTest(unittest.TestCase):
    def test_state_lasts_from_batch_to_batch(self):
        instance = Harness(Limited, grant=["other", "granted"]).start()
        run = instance.handle("a", "b")
        self.assertEqual(run.values(), ["1", "2"])
        self.assertEqual(run.outputs[0].topic, "granted")
        self.assertEqual(run.log, [(Level.INFO, "limit 100"), (Level.WARN, "1"), (Level.WARN, "2")])
        run = instance.handle("c")
        self.assertEqual((run.values(), run.log), (["3"], [(Level.WARN, "3")]))

    def test_a_topic_that_is_not_granted_keeps_it_from_starting(self):
        with self.assertRaisesRegex(NotGranted, "topic `granted` is not granted"):
            Harness(Limited).start()

    def test_settings(self):
        for config, text in [
            ({"limt": "1"}, "config `limt` is unknown; hint: this handler knows `limit`, `topic`"),
            ({"limit": "x"}, "config `limit`: `x` is not usable: invalid literal for int"),
        ]:
            with self.assertRaisesRegex(ConfigError, f"^{text}"):
                Harness(Limited, config=config, grant=["granted"]).start()
        context = Context("p", "g", "d", {"a": "1"})
        self.assertEqual((context.config("a"), context.config("b")), ("1", None))
        self.assertEqual((context.parse("a", int), context.parse("b", int)), (1, None))
        with self.assertRaisesRegex(ConfigError, "^config `b` is missing$"):
            context.require("b")
        with self.assertRaisesRegex(ConfigError, "^config `a` is unknown; this handler has no settings$"):
            context.only([])


class HandlerTest(unittest.TestCase):
    def tearDown(self):
        _handler.registered.clear()

    def test_what_is_no_handler_is_refused_at_once(self):
        async def waits(message, out): ...

        def yields(message, out):
            yield

        class NoMethod: ...

        class NoContext:
            def handle(self, message, out): ...

        class Waits:
            def __init__(self, context): ...
            async def handle(self, message, out): ...

        for target, text in [
            (waits, "async"),
            (yields, "yields"),
            (lambda message: None, r"\(message, out\)"),
            (NoMethod, "no method"),
            (NoContext, "context"),
            (Waits, "Waits.handle is async"),
            ("text", "not callable|not a callable"),
        ]:
            with self.assertRaisesRegex(TypeError, text):
                handler(target)
        self.assertEqual(_handler.registered, [])

    def test_a_handler_stays_what_it_is(self):
        self.assertIs(handler(obey), obey)
        self.assertIs(handler(Limited), Limited)
        self.assertEqual(_handler.registered, [obey, Limited])


class HarnessTest(unittest.TestCase):
    def test_an_output_says_all_of_itself(self):
        def send(message, out):
            out.forward(message, topic=Topic("b"))
            out.send("k", None, headers=[("n", "1"), ("n", "2"), ("m", None)], timestamp=5, partition=3)

        run = Harness(send, grant=["a", "b"]).run(Sample("v", headers={"h": "w"}, timestamp=9))
        first, second = run.outputs
        self.assertEqual((first.topic, first.key, first.value, first.text), ("b", None, b"v", "v"))
        self.assertEqual((first.headers, first.timestamp, first.partition), ([("h", b"w")], 9, None))
        self.assertEqual((second.topic, second.key, second.value), (None, b"k", None))
        self.assertEqual((second.header("n"), second.header("m"), second.header("x")), (b"2", None, None))
        self.assertEqual((second.timestamp, second.partition, second.message), (5, 3, 0))


if __name__ == "__main__":
    unittest.main()
