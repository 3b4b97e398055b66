"""What happens when somebody dies: a program under load, one that says nothing, and Redis itself."""

import asyncio
import collections
import os
import tempfile
import time
import unittest

from support import CallError, FabricCase, Program, Redis, eventually, redis, sees


class Dying(FabricCase):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.journal = os.path.join(folder.name, "journal")

    def program(self, name, **options):
        program = Program(self.redis, self.prefix, name, self.journal, **options)
        self.addCleanup(program.close)
        return program

    def runs(self):
        with open(self.journal) as lines:
            return collections.Counter(line.strip() for line in lines)

    async def test_a_program_that_is_killed_under_load(self):
        programs = [self.program(f"one{number}") for number in range(3)]
        calling = await self.join("calling")
        await eventually(sees(calling, "work", 3))
        answered, lost = [], []

        async def caller(first, **options):
            for number in range(first, first + 40):
                try:
                    answered.append((await calling.services.work.options(**options).run(number))[1])
                except CallError as error:
                    self.assertEqual(error.code, "unavailable")
                    lost.append(number)

        # Numbers from 10,000 on are called without retries.
        patient = [caller(index * 40, retries=1) for index in range(12)]
        strict = [caller(10_000 + index * 40) for index in range(12)]
        load = asyncio.gather(*patient, *strict)
        await eventually(lambda: len(answered) > 100)
        programs[0].kill()
        await load
        self.assertEqual(len(answered) + len(lost), 960)
        self.assertTrue(all(number >= 10_000 for number in lost), lost)
        runs = self.runs()
        self.assertTrue(all(runs[str(number)] == 1 for number in answered if number >= 10_000))
        self.assertTrue(all(runs[str(number)] <= 1 for number in lost))
        self.assertTrue(all(1 <= runs[str(number)] <= 2 for number in answered if number < 10_000))

    async def test_a_call_to_one_that_is_gone_already(self):
        one, two = self.program("one"), self.program("two")
        calling = await self.join("calling")
        await eventually(sees(calling, "work", 2))
        first = [member for member in calling.members() if member.name == "one"][0]
        one.kill()
        with redis.Redis(port=self.redis.port) as admin:
            channel = f"{self.prefix}:0:to:{first.session}"
            await eventually(lambda: admin.pubsub_numsub(channel)[0][1] == 0, "the end of a subscription")
        # Nothing has run there, so that the other one is asked at once, without a retry.
        self.assertEqual({(await calling.services.work.run(number))[0] for number in range(4)}, {"two"})
        two.kill()
        await self.fails("unavailable", calling.services.work.run(5))

    async def test_a_stream_of_one_that_dies(self):
        one = self.program("one", timeout=0.6)
        calling = await self.join("calling")
        await eventually(sees(calling, "work"))
        items = await calling.services.work.ticks()
        self.assertEqual(await items.__anext__(), 0)
        one.kill()
        with self.assertRaises(CallError) as caught:
            async for _ in items:
                pass
        self.assertEqual(caught.exception.code, "unavailable")

    async def test_one_that_says_nothing_and_comes_back(self):
        one = self.program("one", timeout=0.6)
        calling = await self.join("calling", timeout=0.6)
        await eventually(sees(calling, "work"))
        (before,) = calling.members()
        call = asyncio.ensure_future(calling.services.work.forever())
        await eventually(lambda: os.path.exists(self.journal) and self.runs()["forever"] == 1)
        one.stop()
        error = await self.fails("unavailable", call)
        self.assertIn("one was lost before it answered", error.message)
        self.assertEqual(calling.members(), [])
        one.go_on()
        await eventually(sees(calling, "work"))
        self.assertNotEqual(calling.members()[0].session, before.session)
        self.assertEqual(await calling.services.work.run(1), ["one", 1])


class RedisDying(FabricCase):
    async def test_it_is_killed_and_started_again(self):
        server = Redis()
        self.addCleanup(server.close)
        offering, calling = [await self.join(name, redis=server.url()) for name in ("offering", "calling")]
        heard, changes, said, runs = [], [], [], []

        async def hold():
            runs.append(1)
            await asyncio.Event().wait()

        registered = await offering.register("catalog", {"hold": hold, "get": lambda: 1})
        await offering.on("stock.*", heard.append)
        await offering.config("catalog").watch(lambda name, value: changes.append((name, value)))
        await calling.config("catalog").set("rate", 1)
        await eventually(lambda: changes == [("rate", 1)])
        calling.on_status(said.append)
        await eventually(sees(calling, "catalog"))
        held = asyncio.ensure_future(calling.services.catalog.hold())
        await eventually(lambda: len(runs) == 1)
        members = offering.members()
        server.kill()

        error = await self.fails("unavailable", held)
        self.assertIn("connection to Redis", error.message)
        await eventually(lambda: calling.status == offering.status == "down")
        await eventually(lambda: registered.in_flight == 0)
        await self.fails("unavailable", calling.services.catalog.get())
        await self.fails("unavailable", calling.emit("stock.changed"))
        await self.fails("unavailable", calling.config("catalog").get("rate"))
        await self.fails("timeout", calling.services.catalog.options(retries=-1, timeout=0.1).get())
        patient = asyncio.ensure_future(calling.services.catalog.options(retries=1).get())
        # What is registered and listened to meanwhile is there afterwards.
        await offering.register("later", {"get": lambda: 2})
        await offering.on("order.*", heard.append)

        server.start()
        self.assertEqual(await patient, 1)
        await eventually(lambda: calling.status == offering.status == "up")
        await eventually(sees(calling, "later"))
        self.assertEqual(said, ["down", "up"])
        self.assertEqual(await calling.services.later.get(), 2)
        self.assertNotEqual(offering.members()[0].session, members[0].session)
        self.assertEqual(await calling.emit("stock.changed", 1), 1)
        self.assertEqual(await calling.emit("order.placed", 2), 1)
        await eventually(lambda: sorted(heard) == [1, 2])
        # The new Redis is empty, so that the value was removed while nobody could hear it.
        await eventually(lambda: changes == [("rate", 1), ("rate", None)])
        self.assertEqual(len(runs), 1)

    async def test_connections_that_are_cut(self):
        offering, calling, _ = await self.pair({"get": lambda: 1})
        with redis.Redis(port=self.redis.port) as admin:
            for kind in ("pubsub", "normal"):
                before = {one.session for one in offering.members() + calling.members()}
                admin.client_kill_filter(_type=kind, skipme=True)

                def healed(before=before):
                    now = offering.members() + calling.members()
                    return len(now) == 2 and not before & {one.session for one in now} and sees(calling, "catalog")()

                await eventually(healed)
                self.assertEqual(await calling.services.catalog.options(retries=-1).get(), 1)

    async def test_a_program_that_holds_itself_up(self):
        offering, calling = [await self.join(name, timeout=0.3) for name in ("offering", "calling")]
        await offering.register("catalog", {"get": lambda: 1})
        for _ in range(3):
            await eventually(sees(calling, "catalog"))
            before = calling._session.id
            # Nothing goes on in this process while it does something else.
            time.sleep(0.5)
            await eventually(lambda before=before: calling.status == offering.status == "up" and calling._session.id != before)
        self.assertEqual(await calling.services.catalog.options(retries=-1).get(), 1)

    async def test_closing_while_it_is_down(self):
        server = Redis()
        self.addCleanup(server.close)
        client = await self.join(redis=server.url())
        await client.register("catalog", {"get": lambda: 1})
        await client.on("a", lambda: None)
        server.kill()
        await client.close()
        self.assertEqual(asyncio.all_tasks(), {asyncio.current_task()})


if __name__ == "__main__":
    unittest.main()
