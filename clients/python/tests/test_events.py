"""Events in the fabric, with groups and without, and the configuration."""

import asyncio
import unittest

from support import KEY, FabricCase, eventually, redis


def hears(client, event, count=1):
    """Whether so many others listen to an event of exactly this name or pattern."""

    def listeners():
        members = client._session.members.values() if client._session else ()
        return [one for member in members for one in member.hears if one.event == event]

    return lambda: len(listeners()) == count


class Events(FabricCase):
    async def test_everybody_who_listens_hears(self):
        telling, one, two = await self.join("telling"), await self.join("one"), await self.join("two")
        heard = []
        off = await one.on("stock.*", lambda data, about: heard.append(("one", data, about)))
        await two.on("*", lambda data: heard.append(("two", data)))
        await eventually(hears(telling, "stock.*"))
        await eventually(hears(telling, "*"))
        self.assertEqual(await telling.emit("stock.changed", {"sku": b"apple"}), 2)
        await eventually(lambda: len(heard) == 2)
        about = {"event": "stock.changed", "from": "@program@telling"}
        self.assertIn(("one", {"sku": b"apple"}, about), heard)
        self.assertIn(("two", {"sku": b"apple"}), heard)
        self.assertEqual(await telling.emit("stock"), 1)
        await eventually(lambda: heard[2:] == [("two", None)])
        await off()
        await eventually(hears(telling, "stock.*", 0))
        self.assertEqual(await telling.emit("stock.changed"), 1)

    async def test_the_own_handlers_hear_it_too(self):
        client = await self.join()
        heard = []
        await client.on("a.b", heard.append)
        self.assertEqual(await client.emit("a.b", 1), 1)
        await eventually(lambda: heard == [1])

    async def test_of_a_group_one_hears(self):
        telling = await self.join("telling")
        heard = {}
        for number, name in enumerate(["mail", "mail", "mail", "print"]):
            client = await self.join(name)
            heard[number] = []
            await client.on("order.*", heard[number].append, group="g")
        await eventually(hears(telling, "order.*", 4))
        for number in range(12):
            # One of the three that are called `mail`, and the one called `print`.
            self.assertEqual(await telling.emit("order.placed", number), 2)
        await eventually(lambda: len(heard[3]) == 12 and sum(map(len, heard.values())) == 24)
        self.assertEqual([len(heard[number]) for number in range(3)], [4, 4, 4])
        self.assertEqual(sorted(heard[0] + heard[1] + heard[2]), list(range(12)))

    async def test_with_a_group_and_without_one(self):
        telling, one = await self.join("telling"), await self.join("one")
        heard = []
        await one.on("a", lambda data: heard.append(("all", data)))
        await one.on("a", lambda data: heard.append(("group", data)), group="g")
        await eventually(hears(telling, "a", 2))
        self.assertEqual(await telling.emit("a", 1), 1)
        await eventually(lambda: sorted(heard) == [("all", 1), ("group", 1)])

    async def test_a_handler_that_throws_keeps_nobody_from_hearing(self):
        client = await self.join()
        heard = []

        async def broken(data):
            raise ValueError("not this one")

        await client.on("a", broken)
        await client.on("a", heard.append)
        await client.emit("a", 1)
        await eventually(lambda: heard == [1])

    async def test_bad_names(self):
        client = await self.join()
        for wrong in ["", "a..b", "stock.*", "a b"]:
            with self.assertRaisesRegex(ValueError, "a name has parts with dots"):
                await client.emit(wrong)
        with self.assertRaisesRegex(ValueError, "a name has parts with dots"):
            await client.on("*.changed", lambda: None)
        self.assertEqual(await client.emit("nobody.listens"), 0)


class Configuration(FabricCase):
    async def test_values_are_kept(self):
        one, two = await self.join("one"), await self.join("two")
        value = {"limit": 5, "ünder": ["é", None]}
        await one.config("billing").set("rate", value)
        self.assertEqual(await two.config("billing").get("rate"), value)
        self.assertIsNone(await two.config("billing").get("other"))
        self.assertIsNone(await two.config("web").get("rate"))
        await two.config("billing").remove("rate")
        self.assertIsNone(await one.config("billing").get("rate"))

    async def test_changes_are_heard(self):
        one, two = await self.join("one"), await self.join("two")
        heard, of_rate = [], []
        await two.config("billing").set("before", 1)
        # What was set before may still be on its way.
        off = await two.config("billing").watch(lambda name, value: name == "before" or heard.append((name, value)))
        await one.config("billing").watch(lambda name, value: of_rate.append(value), name="rate")
        await one.config("billing").set("rate", 7)
        await one.config("web").set("rate", 8)
        await one.config("billing").set("other", None)
        await one.config("billing").remove("rate")
        await eventually(lambda: heard == [("rate", 7), ("other", None), ("rate", None)])
        await eventually(lambda: of_rate == [7, None])
        await off()
        await one.config("billing").set("rate", 9)
        await eventually(lambda: of_rate == [7, None, 9])
        self.assertEqual(len(heard), 3)

    async def test_a_value_that_nobody_of_the_fabric_has_set(self):
        client = await self.join()
        store = redis.Redis(port=self.redis.port)
        self.addCleanup(store.close)
        name = f"{self.prefix}:config:billing"
        await client.config("billing").set("good", 1)
        store.hset(name, "bad", b"x" * 32 + b"1")
        # What was written for another name is no value of this one.
        store.hset(name, "moved", store.hget(name, "good"))
        for wrong in ("bad", "moved"):
            error = await self.fails("unavailable", client.config("billing").get(wrong))
            self.assertIn("was not set with this fabric's key", error.message)
        self.assertEqual(client.counts["forged"], 2)
        self.assertEqual(await client.config("billing").get("good"), 1)

    async def test_the_value_is_as_it_is_written(self):
        import hashlib
        import hmac

        client = await self.join()
        await client.config("billing").set("rate", [1, 2])
        with redis.Redis(port=self.redis.port) as store:
            value = store.hget(f"{self.prefix}:config:billing", "rate")
        key = hmac.new(KEY.encode(), f"orchestrator-fabric-1\n{self.prefix}\n0".encode(), hashlib.sha256).digest()
        tag = hmac.new(key, b"config\nbilling\nrate\n[1,2]", hashlib.sha256).digest()
        self.assertEqual(value, tag + b"[1,2]")

    async def test_its_limits(self):
        client = await self.join()
        config = client.config("billing")
        with self.assertRaisesRegex(ValueError, "1 to 256 bytes"):
            await config.get("")
        with self.assertRaisesRegex(ValueError, "1 to 256 bytes"):
            await config.set("é" * 129, 1)
        await config.set("é" * 128, 1)
        with self.assertRaisesRegex(TypeError, "has no bytes"):
            await config.set("a", b"bytes")
        await self.fails("too-large", config.set("a", "x" * (1 << 20)))
        await asyncio.gather(*(config.set(str(number), number) for number in range(1023)))
        await self.fails("overloaded", config.set("one more", 1))
        await config.set("7", "again")
        with self.assertRaisesRegex(ValueError, "the name of a service"):
            client.config("No Service")


if __name__ == "__main__":
    unittest.main()
