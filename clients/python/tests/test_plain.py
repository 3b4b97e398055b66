"""The face without asyncio."""

import queue
import threading
import time
import unittest

from support import KEY, PATIENCE, CallError, Redis, current, needs_redis

from orchestrator_client.plain import connect


def eventually(condition):
    until = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > until:
            raise AssertionError("it has not come true")
        time.sleep(0.005)


@needs_redis
class Plain(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.redis = Redis()
        cls.addClassCleanup(cls.redis.close)

    def join(self, name="program", **options):
        prefix = self.id().rsplit(".", 1)[1].replace("_", "-")[:60]
        client = connect(**{"redis": self.redis.url(), "key": KEY, "prefix": prefix, "name": name, **options})
        self.addCleanup(client.close)
        return client

    def pair(self, methods, **options):
        offering, calling = self.join("offering", **options), self.join("calling")
        registered = offering.register("catalog", methods)
        eventually(lambda: any(member.services for member in calling.members()))
        return offering, calling, registered

    def test_calls(self):
        threads = set()

        def echo(*values):
            threads.add(threading.current_thread().name)
            return list(values)

        async def later(value):
            threads.add(threading.current_thread().name)
            return value

        def fail():
            raise ValueError("no such thing")

        def strange():
            raise StopIteration

        _, calling, _ = self.pair({"echo": echo, "admin": {"later": later}, "fail": fail, "strange": strange})
        catalog = calling.services.catalog
        self.assertEqual(catalog.echo(1, b"\x00", {"a": [b""]}), [1, b"\x00", {"a": [b""]}])
        self.assertEqual(catalog.admin.later(b"x"), b"x")
        self.assertEqual(calling.call("catalog", "echo", 1, timeout="5s"), [1])
        self.assertEqual(calling.services["catalog"].options(timeout=2.0, retries=1).echo(), [])
        self.assertTrue(any(name.startswith("orchestrator-client_") for name in threads))
        self.assertIn("orchestrator-client-loop", threads)
        for method, name in [("fail", "ValueError"), ("strange", "RuntimeError")]:
            with self.assertRaises(CallError) as caught:
                calling.call("catalog", method)
            self.assertEqual((caught.exception.code, caught.exception.remote_name), ("service-error", name))
        with self.assertRaises(CallError) as caught:
            calling.services.nobody.get()
        self.assertEqual(caught.exception.code, "unavailable")
        with self.assertRaisesRegex(TypeError, "there is no option 'retry'"):
            calling.call("catalog", "echo", retry=1)

    def test_many_at_one_time(self):
        meeting = threading.Barrier(8)
        _, calling, _ = self.pair({"meet": lambda: meeting.wait(PATIENCE) >= 0})
        got = []
        threads = [threading.Thread(target=lambda: got.append(calling.services.catalog.meet())) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(got, [True] * 8)

    def test_a_call_for_a_call(self):
        offering, calling, _ = self.pair({"caller": lambda: current().caller})
        offering.register("door", {"through": lambda: [current().method, offering.services.catalog.caller()]})
        got = calling.services.door.options(retries=-1).through()
        self.assertEqual(got, ["through", "@program@offering"])

    def test_streams(self):
        ended = threading.Event()

        def endless():
            try:
                number = 0
                while True:
                    yield number
                    number += 1
            finally:
                ended.set()

        async def few():
            for number in range(20):
                yield bytes([number])

        def broken():
            yield 1
            raise ValueError("in the middle")

        _, calling, registered = self.pair({"endless": endless, "few": few, "broken": broken})
        self.assertEqual(list(calling.services.catalog.few()), [bytes([number]) for number in range(20)])
        for item in calling.services.catalog.endless():
            if item == 20:
                break
        self.assertTrue(ended.wait(PATIENCE))
        with calling.services.catalog.endless() as items:
            self.assertEqual(next(items), 0)
        eventually(lambda: registered.in_flight == 0)
        with self.assertRaises(CallError) as caught:
            list(calling.services.catalog.broken())
        self.assertEqual(caught.exception.remote_name, "ValueError")

    def test_events_come_in_their_order(self):
        one, two = self.join("one"), self.join("two")
        heard, changes = queue.Queue(), queue.Queue()
        off = two.on("stock.*", lambda data, about: heard.put((data, about["from"])))
        two.config("billing").watch(lambda name, value: changes.put((name, value)))
        eventually(lambda: one.emit("stock.first", -1) == 1)
        for number in range(50):
            self.assertEqual(one.emit("stock.changed", number), 1)
        got = [heard.get(timeout=PATIENCE) for _ in range(51)]
        self.assertEqual(got, [(number, "@program@one") for number in range(-1, 50)])
        off()
        eventually(lambda: one.emit("stock.changed") == 0)
        one.config("billing").set("rate", 1)
        one.config("billing").remove("rate")
        self.assertEqual([changes.get(timeout=PATIENCE) for _ in range(2)], [("rate", 1), ("rate", None)])
        self.assertIsNone(two.config("billing").get("rate"))

    def test_sending_and_the_status(self):
        got, said = queue.Queue(), queue.Queue()
        offering, calling, registered = self.pair({"take": got.put})
        self.assertIsNone(calling.services.catalog.take.send(b"x"))
        self.assertEqual(got.get(timeout=PATIENCE), b"x")
        offering.on_status(said.put)
        self.assertEqual(offering.status, "up")
        registered.close()
        with self.assertRaises(CallError):
            eventually(lambda: calling.services.catalog.take(1))

    def test_closing_leaves_nothing(self):
        before = threading.active_count()
        go_on, began = threading.Event(), threading.Event()

        def hold():
            began.set()
            go_on.wait(PATIENCE)
            return "done"

        offering, calling, _ = self.pair({"hold": hold})
        got = []
        caller = threading.Thread(target=lambda: got.append(calling.services.catalog.hold()))
        caller.start()
        self.assertTrue(began.wait(PATIENCE))
        closing = threading.Thread(target=offering.close)
        closing.start()
        eventually(lambda: not any(member.services for member in calling.members()))
        go_on.set()
        caller.join(PATIENCE)
        closing.join(PATIENCE)
        self.assertEqual(got, ["done"])
        calling.close()
        self.assertEqual(threading.active_count(), before)
        with self.assertRaisesRegex(CallError, "has closed its connection"):
            calling.services.catalog.hold()
        calling.close()

    def test_the_event_loop_cannot_wait_for_itself(self):
        offering, calling, _ = self.pair({"get": lambda: 1})

        async def wrong():
            return offering.services.catalog.get()

        offering.register("door", {"wrong": wrong})
        with self.assertRaisesRegex(CallError, "make it a plain one"):
            calling.services.door.options(retries=-1).wrong()


if __name__ == "__main__":
    unittest.main()
