"""Packets that are refused, and what makes a session end; by a member of which the test writes every byte."""

import asyncio
import secrets
import time
import unittest

from support import KEY, FabricCase, eventually, redis

from orchestrator_client.packets import Seal, split
from orchestrator_client.values import encode, frame

OFFER = {"type": "offer", "v": 1, "rev": 1, "name": "fake", "kind": "program", "host": "h", "timeout": 6000}


class Fake:
    """A member that says what the test wants."""

    def __init__(self, case, key=KEY):
        self.session = secrets.token_hex(16)
        self.redis = redis.Redis(port=case.redis.port)
        case.addCleanup(self.redis.close)
        self.prefix = f"{case.prefix}:0"
        self.seal = Seal(key.encode(), case.prefix, 0)
        self.seq = {}
        self.ears = self.redis.pubsub(ignore_subscribe_messages=True)
        case.addCleanup(self.ears.close)
        self.ears.subscribe(f"{self.prefix}:to:{self.session}")
        while not self.ears.subscribed:
            self.ears.get_message(timeout=1)

    def packet(self, to, *messages, skip=0):
        channel = f"{self.prefix}:{to}"
        self.seq[channel] = self.seq.get(channel, 0) + 1 + skip
        written = [one if isinstance(one, bytes) else frame(dict(one)) for one in messages]
        return channel, self.seal.pack(channel, self.session, self.seq[channel], written)

    def say(self, to, *messages, skip=0):
        self.redis.publish(*self.packet(to, *messages, skip=skip))

    def offer(self, to, services=(), hears=(), **more):
        self.say(to, {**OFFER, "services": list(services), "hears": list(hears), **more})

    async def hears(self, kind):
        """The next message of this type that is said to it."""
        found = []

        def heard():
            packet = self.ears.get_message(timeout=0)
            if packet:
                _, messages = self.seal.open(packet["channel"].decode(), packet["data"])
                found.extend(message for message, _ in split(messages) if message["type"] == kind)
            return found

        await eventually(heard, f"a message {kind}")
        return found[0]


class Refusals(FabricCase):
    async def client(self):
        client = await self.join("client")
        await client.register("catalog", {"echo": lambda value: value})
        return client, f"to:{client._session.id}"

    def call(self, number, **more):
        return {"type": "call", "id": number, "service": "catalog", "method": "echo", "from": "@program", **more}

    async def test_a_member_that_is_made_by_hand_is_answered(self):
        client, to = await self.client()
        fake = Fake(self)
        fake.say("all", {"type": "hello", "name": "fake"})
        offer = await fake.hears("offer")
        self.assertEqual(offer["services"], [{"name": "catalog", "methods": ["echo"], "replicas": 1, "load": 0}])
        self.assertEqual((offer["v"], offer["name"], offer["kind"], offer["timeout"]), (1, "client", "program", 6000))
        fake.offer(to)
        fake.say(to, frame(self.call(1, timeout=9000), encode([b"x"])))
        self.assertEqual((await fake.hears("reply"))["id"], 1)
        fake.say(to, self.call(2, method="other"))
        error = await fake.hears("error")
        self.assertEqual((error["id"], error["not_run"], error["error"]["code"]), (2, True, "not-found"))
        self.assertFalse(any(client.counts.values()), client.counts)
        self.assertEqual([member.name for member in client.members()], ["fake"])
        fake.say("all", {"type": "bye"})
        await eventually(lambda: not client.members())

    async def refused(self, client, kind, count=1):
        await eventually(lambda: client.counts[kind] == count, kind)
        self.assertEqual(sum(client.counts.values()), count)
        self.assertEqual(client.status, "up")

    async def test_one_with_another_key(self):
        client, to = await self.client()
        fake = Fake(self, key="another key, which is just as long as it has to be")
        fake.offer(to)
        await self.refused(client, "forged")
        fake.say("all", {"type": "hello", "name": "fake"})
        await self.refused(client, "forged", 2)
        fake.redis.publish(f"{fake.prefix}:all", b"x" * 40)
        await self.refused(client, "forged", 3)
        self.assertEqual(client.members(), [])

    async def test_one_that_was_heard_already(self):
        client, to = await self.client()
        fake = Fake(self)
        channel, packet = fake.packet(to, {**OFFER, "services": [], "hears": []})
        for _ in range(2):
            fake.redis.publish(channel, packet)
        await self.refused(client, "replayed")
        fake.redis.publish(f"{fake.prefix}:all", packet)
        await eventually(lambda: client.counts["forged"] == 1)

    async def test_one_that_is_old(self):
        client, to = await self.client()
        fake = Fake(self)
        now = time.time
        try:
            time.time = lambda: now() - 61
            channel, packet = fake.packet(to, {**OFFER, "services": [], "hears": []})
        finally:
            time.time = now
        fake.redis.publish(channel, packet)
        await self.refused(client, "stale")

    async def test_one_of_somebody_who_was_not_introduced(self):
        client, to = await self.client()
        fake = Fake(self)
        fake.say(to, self.call(1))
        await self.refused(client, "stranger")
        # After an offer it is heard.
        fake.offer(to)
        fake.say(to, frame(self.call(2), encode([1])))
        self.assertEqual((await fake.hears("reply"))["id"], 2)

    async def test_one_that_makes_no_sense(self):
        client, to = await self.client()
        fake = Fake(self)
        fake.offer(to)
        wrong = [b"{}\n", b"no json\n", b'{"type":"call"}\n', b'{"type":"event","event":1}\n', b'{"type":"a","payload":9}\n']
        for count, message in enumerate(wrong, 1):
            fake.say(to, message)
            await self.refused(client, "malformed", count)
        fake.say(to, {"type": "of a later version", "new": 1}, frame({**self.call(2), "later": 1}, encode([1])))
        self.assertEqual((await fake.hears("reply"))["id"], 2)

    async def test_an_answer_that_nobody_waits_for(self):
        client, to = await self.client()
        fake = Fake(self)
        fake.offer(to)
        fake.say(to, {"type": "reply", "id": 77})
        await self.refused(client, "late")

    async def test_who_is_over_is_told_so_and_believes_it(self):
        client, to = await self.client()
        fake = Fake(self)
        fake.offer(to)
        fake.say("all", {"type": "bye"})
        await eventually(lambda: not client.members())
        # It goes on all the same.
        fake.say(to, self.call(1))
        await fake.hears("over")
        await self.refused(client, "replayed")
        before = client._session.id
        # The other way round, whoever says it, and whatever its number.
        Fake(self).say(to, {"type": "over"}, skip=7)
        await eventually(lambda: client.status == "up" and client._session.id != before)

    async def test_one_that_was_lost_on_the_way_ends_the_session(self):
        client, to = await self.client()
        said = []
        client.on_status(said.append)
        fake = Fake(self)
        fake.offer(to)
        await eventually(client.members)
        before = client._session.id
        fake.say(to, self.call(1), skip=1)
        await eventually(lambda: said == ["down", "up"])
        self.assertNotEqual(client._session.id, before)

    async def test_one_that_was_before(self):
        client, to = await self.client()
        fake = Fake(self)
        fake.offer(to, services=[{"name": "work", "replicas": 1, "load": 0, "methods": ["run"]}])
        await eventually(client.members)
        call = asyncio.ensure_future(client.services.work.run())
        self.assertEqual((await fake.hears("call"))["method"], "run")
        after = Fake(self)
        after.say("all", {"type": "hello", "name": "fake", "was": fake.session})
        await self.fails("unavailable", call)
        fake.say(to, self.call(1))
        await self.refused(client, "replayed")

    async def test_a_beat_with_news(self):
        client, to = await self.client()
        fake = Fake(self)
        fake.offer(to)
        fake.say("all", {"type": "beat", "rev": 2, "load": {}})
        await fake.hears("who")
        fake.offer(to, rev=2, services=[{"name": "work", "replicas": 2, "load": 1, "methods": ["run"]}])
        await eventually(lambda: any(member.services for member in client.members()))
        # And of one that was never heard of.
        other = Fake(self)
        other.say("all", {"type": "beat", "rev": 5, "load": {}})
        await other.hears("offer")

    async def test_what_was_not_run_goes_to_the_next_one(self):
        client, to = await self.client()
        fakes = [Fake(self), Fake(self)]
        for number, fake in enumerate(fakes):
            services = [{"name": "work", "replicas": 2 - number, "load": 0, "methods": ["run"]}]
            fake.offer(to, services=services, name=f"fake{number}")
        await eventually(lambda: len(client.members()) == 2)
        error = {"code": "overloaded", "message": "full", "service": "work", "method": "run", "name": "", "stack": ""}
        # Both have had it once, and then that is the answer.
        call = asyncio.ensure_future(client.services.work.run())
        for fake in fakes:
            fake.say(to, {"type": "error", "id": (await fake.hears("call"))["id"], "error": error, "not_run": True})
        self.assertEqual((await self.fails("overloaded", call)).message, "full")
        # Where it may have run, nobody else is asked without a retry.
        call = asyncio.ensure_future(client.services.work.options(key="k").run())
        asked = []
        await eventually(lambda: self.asked(fakes, asked))
        fakes[asked[0]].say(to, {"type": "error", "id": 2, "error": {**error, "code": "unavailable"}})
        await self.fails("unavailable", call)
        self.assertFalse(self.asked(fakes, []))

    @staticmethod
    def asked(fakes, found):
        for number, fake in enumerate(fakes):
            packet = fake.ears.get_message(timeout=0)
            if packet and b'"type":"call"' in packet["data"]:
                found.append(number)
        return found

    async def test_more_items_than_were_asked_for(self):
        client, to = await self.client()
        fake = Fake(self)
        fake.offer(to, services=[{"name": "work", "replicas": 1, "load": 0, "methods": ["run"]}])
        await eventually(client.members)
        call = asyncio.ensure_future(client.services.work.run())
        number = (await fake.hears("call"))["id"]
        fake.say(to, {"type": "stream", "id": number}, *[frame({"type": "item", "id": number}, encode(1))] * 9)
        items = await call
        await fake.hears("cancel")
        self.assertEqual([await items.__anext__() for _ in range(8)], [1] * 8)
        await self.fails("service-error", items.__anext__())


if __name__ == "__main__":
    unittest.main()
