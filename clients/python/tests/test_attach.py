"""Attaching: against a small server that speaks as an orchestrator does."""

import asyncio
import os
import tempfile
import unittest

from support import PATIENCE, CallError, connect, current, eventually

from orchestrator_client import plain
from orchestrator_client.values import NOTHING, decode, encode, frame, parse_line


class Orchestrator:
    """One end of the protocol: remembers what it was told, and answers the calls of its one service, `stock`."""

    def __init__(self, path):
        self.path = path
        self.heard = []
        self.values = {}
        self.writer = None
        self.room = {}
        self.refuses = False
        self.tasks = set()

    async def start(self):
        self.server = await asyncio.start_unix_server(self.serve, self.path)

    async def close(self):
        self.server.close()
        self.hang_up()
        for task in self.tasks:
            task.cancel()
        if self.tasks:
            await asyncio.wait(self.tasks)

    def hang_up(self):
        if self.writer is not None:
            self.writer.close()
            self.writer = None

    def of(self, kind):
        return [message for message, _ in self.heard if message["type"] == kind]

    def say(self, message, payload=NOTHING):
        self.writer.write(frame(message, payload))

    async def serve(self, reader, writer):
        self.tasks.add(asyncio.current_task())
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"GET /v1/attach HTTP/1.1\r\n") and b"Upgrade: orchestrator-link\r\n" in head
            if self.refuses:
                body = b'{"error":{"kind":"ended","message":"the project has ended"}}'
                writer.write(b"HTTP/1.1 410 Gone\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
                return writer.close()
            writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: orchestrator-link\r\n\r\n")
            self.writer = writer
            while True:
                message, size = parse_line(await reader.readline())
                data = await reader.readexactly(size)
                value = decode(data, message.get("json"))
                self.heard.append((message, value))
                getattr(self, message["type"].replace("-", "_"), lambda *_: None)(message, value)
        except (ConnectionError, EOFError, ValueError):
            pass
        finally:
            writer.close()

    def offer(self, message, _):
        answer = {"rev": message["rev"], "name": "shop"}
        if any(one["name"] == "nowhere" for one in message["services"]):
            why = {"code": "denied", "message": "nowhere is not in the manifest; add services.nowhere.elsewhere: true"}
            return self.say({"type": "refused", "rev": message["rev"], "error": why})
        self.say({"type": "accepted", **answer})

    def call(self, message, values):
        number, method = message["id"], message["method"]
        if method == "echo":
            self.say({"type": "reply", "id": number}, encode(values))
        elif method == "count":
            self.room[number] = [8, 0]
            self.say({"type": "stream", "id": number})
            self.items(number)
        elif method == "fail":
            error = {"code": "service-error", "message": "no", "service": "stock", "method": "fail", "name": "E", "stack": "s"}
            self.say({"type": "error", "id": number, "error": error})

    def items(self, number):
        left = self.room[number]
        while left[0] and left[1] < 20:
            self.say({"type": "item", "id": number}, encode(left[1]))
            left[0], left[1] = left[0] - 1, left[1] + 1
        if left[1] == 20:
            left[1] += 1
            self.say({"type": "end", "id": number})

    def credit(self, message, _):
        self.room[message["id"]][0] += message["items"]
        self.items(message["id"])

    def send(self, message, _):
        self.say({"type": "reply", "id": message["id"]})

    subscribe = unsubscribe = watch_config = send

    def emit(self, message, value):
        self.say({"type": "reply", "id": message["id"]}, encode(3))

    def get_config(self, message, _):
        value = self.values.get((message["service"], message["name"]))
        self.say({"type": "reply", "id": message["id"]}, encode(value))

    def set_config(self, message, value):
        name = {"type": "config", "service": message["service"], "name": message["name"]}
        self.values[message["service"], message["name"]] = value
        self.say(name, encode(value) if "payload" in message else NOTHING)
        self.say({"type": "reply", "id": message["id"]})


class Attaching(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.server = Orchestrator(os.path.join(folder.name, "control.sock"))
        await self.server.start()
        self.addAsyncCleanup(self.server.close)

    async def attach(self, **options):
        client = await connect(socket=self.server.path, **options)
        self.addAsyncCleanup(client.close)
        return client

    async def fails(self, code, awaitable):
        with self.assertRaises(CallError) as caught:
            await awaitable
        self.assertEqual(caught.exception.code, code, str(caught.exception))
        return caught.exception

    async def test_calls(self):
        client = await self.attach(name="reports")
        self.assertEqual((client.project, client.status), ("shop", "up"))
        self.assertEqual(self.server.heard[0][0], {"type": "offer", "rev": 1, "name": "reports", "services": []})
        stock = client.services.stock
        self.assertEqual(await stock.echo(1, b"\x00\x01", {"a": b""}), [1, b"\x00\x01", {"a": b""}])
        await stock.options(timeout="2s", retries=-1, attempt=0.5, key=7).echo()
        await stock.admin.reset.send()
        plainly, chosen = self.server.of("call")
        self.assertEqual(plainly, {**plainly, "service": "stock", "method": "echo"})
        self.assertNotIn("timeout", plainly)
        self.assertTrue(0 < chosen["timeout"] <= 2000)
        self.assertEqual((chosen["retries"], chosen["attempt"], chosen["key"]), (-1, 500, "7"))
        self.assertEqual(self.server.of("send")[0]["method"], "admin.reset")
        error = await self.fails("service-error", stock.fail())
        self.assertEqual((error.remote_name, error.remote_stack, error.message), ("E", "s", "no"))

    async def test_the_time_that_a_call_has(self):
        client = await self.attach()
        await self.fails("timeout", client.services.stock.options(timeout=0.05).never())
        await eventually(lambda: self.server.of("cancel"))

    async def test_cancelling(self):
        client = await self.attach()
        call = asyncio.ensure_future(client.services.stock.never())
        await eventually(lambda: self.server.of("call"))
        call.cancel()
        await eventually(lambda: self.server.of("cancel") == [{"type": "cancel", "id": self.server.of("call")[0]["id"]}])

    async def test_streams(self):
        client = await self.attach()
        got = [item async for item in client.services.stock.count()]
        self.assertEqual(got, list(range(20)))
        async for item in client.services.stock.count():
            break
        await eventually(lambda: self.server.of("cancel"))

    async def test_events(self):
        client = await self.attach()
        heard = []
        off = await client.on("stock.*", lambda data, about: heard.append((data, about["from"])))
        await client.on("order.placed", lambda data: heard.append(data), group="mail")
        said = [{key: one[key] for key in one if key != "id"} for one in self.server.of("subscribe")]
        self.assertIn({"type": "subscribe", "event": "order.placed", "group": "mail"}, said)
        self.server.say({"type": "event", "event": "stock.changed", "from": "web", "all": True, "groups": []}, encode(b"x"))
        self.server.say({"type": "event", "event": "order.placed", "from": "web", "groups": ["mail"]}, encode(1))
        self.server.say({"type": "event", "event": "order.placed", "from": "web", "groups": ["other"]}, encode(2))
        await eventually(lambda: len(self.server.of("taken")) == 3)
        self.assertEqual(heard, [(b"x", "web"), 1])
        await off()
        self.assertEqual(self.server.of("unsubscribe")[0]["event"], "stock.*")
        self.assertEqual(await client.emit("stock.changed", {"a": b"b"}), 3)
        self.assertEqual([value for message, value in self.server.heard if message["type"] == "emit"], [{"a": b"b"}])

    async def test_configuration(self):
        client = await self.attach()
        config = client.config("billing")
        heard = []
        await config.watch(lambda name, value: heard.append((name, value)))
        await config.set("rate", {"a": 1})
        self.assertEqual(await config.get("rate"), {"a": 1})
        await config.remove("rate")
        self.assertIsNone(await config.get("rate"))
        await eventually(lambda: heard == [("rate", {"a": 1}), ("rate", None)])
        self.assertEqual(self.server.of("watch-config")[0]["service"], "billing")
        self.assertNotIn("payload", self.server.of("set-config")[1])

    async def test_services(self):
        client = await self.attach()
        seen = []

        async def charge(amount, data):
            seen.append(current().caller)
            return [await client.services.stock.echo(amount), data]

        def fail():
            raise ValueError("no such thing")

        def ticks():
            yield from range(12)

        registered = await client.register("billing", {"charge": charge, "fail": fail, "ticks": ticks}, max_in_flight=2)
        offer = self.server.of("offer")[-1]
        self.assertEqual(offer["services"], [{"name": "billing", "methods": ["charge", "fail", "ticks"]}])
        ask = {"type": "invoke", "service": "billing", "from": "web", "timeout": 5000}
        self.server.say({**ask, "id": 1, "method": "charge"}, encode([5, b"\xff"]))
        await eventually(lambda: self.server.of("reply"))
        self.assertEqual(self.server.heard[-1][1], [[5], b"\xff"])
        self.assertEqual(self.server.of("call")[0]["within"], 1)
        self.assertEqual(seen, ["web"])
        self.server.say({**ask, "id": 2, "method": "fail"})
        await eventually(lambda: self.server.of("error"))
        (error,) = self.server.of("error")
        self.assertEqual((error["id"], error["error"]["name"], error["error"]["message"]), (2, "ValueError", "no such thing"))
        self.assertNotIn("code", error)
        self.server.say({**ask, "id": 3, "method": "other"})
        await eventually(lambda: len(self.server.of("error")) == 2)
        self.assertEqual(self.server.of("error")[1]["code"], "not-found")
        self.server.say({**ask, "id": 4, "method": "ticks"})
        await eventually(lambda: len(self.server.of("item")) == 8)
        self.server.say({"type": "credit", "id": 4, "items": 4})
        await eventually(lambda: self.server.of("end"))
        self.server.say({**ask, "id": 5, "method": "charge", "one_way": True}, encode([1, 2]))
        await eventually(lambda: len(self.server.of("reply")) == 2)
        self.assertIsNone(self.server.heard[-1][1])
        await registered.close()
        self.assertEqual(self.server.of("offer")[-1]["services"], [])

    async def test_a_service_that_is_not_in_the_manifest(self):
        client = await self.attach()
        error = await self.fails("denied", client.register("nowhere", {"get": lambda: 1}))
        self.assertIn("elsewhere", error.message)
        await client.register("billing", {"get": lambda: 1})
        self.assertEqual([one["name"] for one in self.server.of("offer")[-1]["services"]], ["billing"])

    async def test_the_orchestrator_hangs_up_and_comes_back(self):
        client = await self.attach()
        said = []
        client.on_status(said.append)
        await client.register("billing", {"get": lambda: 1})
        await client.on("a", lambda: None, group="g")
        await client.config("billing").watch(lambda: None)
        call = asyncio.ensure_future(client.services.stock.never())
        patient = asyncio.ensure_future(client.services.stock.options(retries=1).later())
        await eventually(lambda: len(self.server.of("call")) == 2)
        self.server.heard.clear()
        self.server.hang_up()
        error = await self.fails("unavailable", call)
        self.assertIn("connection to the orchestrator was lost", error.message)
        await eventually(lambda: said == ["down", "up"])
        await eventually(lambda: self.server.of("call"))
        self.assertEqual([one["name"] for one in self.server.of("offer")[0]["services"]], ["billing"])
        await eventually(lambda: self.server.of("subscribe") and self.server.of("watch-config"))
        self.server.say({"type": "reply", "id": self.server.of("call")[0]["id"]}, encode("late, but here"))
        self.assertEqual(await patient, "late, but here")

    async def test_one_that_does_not_let_anybody_attach(self):
        self.server.refuses = True
        error = await self.fails("unavailable", connect(socket=self.server.path)._connected())
        self.assertIn("it answers 410 Gone: the project has ended", error.message)

    async def test_closing(self):
        before = asyncio.all_tasks()
        client = await self.attach()
        await client.register("billing", {"get": lambda: 1})
        await client.on("a", lambda: None)
        await client.close()
        self.assertEqual(self.server.of("offer")[-1]["services"], [])
        self.assertEqual(len(self.server.of("unsubscribe")), 1)
        await asyncio.wait(self.server.tasks)
        self.assertEqual(asyncio.all_tasks(), before)

    async def test_the_plain_face(self):
        def work():
            with plain.connect(socket=self.server.path) as client:
                return client.services.stock.echo(b"x"), client.emit("a"), client.members()[0].name

        done = await asyncio.wait_for(asyncio.get_running_loop().run_in_executor(None, work), PATIENCE)
        self.assertEqual(done, ([b"x"], 3, "shop"))


if __name__ == "__main__":
    unittest.main()
