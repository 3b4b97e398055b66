"""Calls of services in the fabric: results, errors, streams, limits and the choice among several."""

import asyncio
import os
import threading
import unittest

from support import KEY, CallError, FabricCase, connect, current, eventually, sees


class Calls(FabricCase):
    async def test_results_of_all_kinds(self):
        async def later(value):
            await asyncio.sleep(0)
            return value

        _, calling, _ = await self.pair({"echo": lambda *values: list(values), "later": later, "admin": {"two": lambda: 2}})
        values = [1, "é", None, {"a": [True, 1.5]}, b"\x00\xff", {"deep": [b"", {"b": b"x" * 100_000}]}]
        self.assertEqual(await calling.services.catalog.echo(*values), values)
        self.assertEqual(await calling.services["catalog"].later(b"bytes"), b"bytes")
        self.assertEqual(await calling.services.catalog.admin.two(), 2)
        self.assertEqual(await calling.call("catalog", "echo", 1, timeout="5s", retries=1, key="k"), [1])
        self.assertIsNone(await calling.services.catalog.later(None))

    async def test_a_service_may_be_called_by_its_own_program(self):
        offering, _, _ = await self.pair({"echo": lambda value: value})
        self.assertEqual(await offering.services.catalog.echo(b"mine"), b"mine")

    async def test_a_hyphen_is_an_underscore(self):
        _, calling, _ = await self.pair({"get": lambda: 1}, service="price-list")
        self.assertEqual(await calling.services.price_list.get(), 1)

    async def test_what_a_method_throws(self):
        def fail():
            try:
                {}["key"]
            except KeyError as error:
                raise ValueError("no such thing") from error

        def refuse():
            raise CallError("not today", code="denied")

        _, calling, _ = await self.pair({"fail": fail, "refuse": refuse, "odd": lambda: object(), "one": lambda a: a})
        error = await self.fails("service-error", calling.services.catalog.fail())
        self.assertEqual((error.service, error.method, error.message), ("catalog", "fail", "no such thing"))
        self.assertEqual(error.remote_name, "ValueError")
        self.assertIn("at fail (", error.remote_stack)
        self.assertIn("caused by KeyError: 'key'", error.remote_stack)
        self.assertEqual(str(error), "catalog.fail: no such thing")
        error = await self.fails("denied", calling.services.catalog.refuse())
        self.assertEqual(error.message, "not today")
        error = await self.fails("service-error", calling.services.catalog.odd())
        self.assertIn("object cannot be sent", error.message)
        error = await self.fails("service-error", calling.services.catalog.one())
        self.assertEqual(error.remote_name, "TypeError")

    async def test_what_is_not_there(self):
        _, calling, _ = await self.pair({"get": lambda: 1})
        error = await self.fails("unavailable", calling.services.nobody.get())
        self.assertIn("nobody in the fabric offers nobody", error.message)
        error = await self.fails("not-found", calling.services.catalog.set())
        self.assertEqual(error.message, "catalog has no method 'set'")
        await self.fails("timeout", calling.call("nobody", "get", retries=-1, timeout=0.05))

    async def test_a_call_with_retries_waits_for_a_service(self):
        offering, calling = await self.join("offering"), await self.join("calling")
        call = calling.services.catalog.options(retries=1).get()
        await offering.register("catalog", {"get": lambda: 1})
        self.assertEqual(await call, 1)

    async def test_what_is_too_large(self):
        _, calling, _ = await self.pair({"much": lambda: b"x" * (17 << 20), "take": len})
        await self.fails("too-large", calling.services.catalog.much())
        with self.assertRaises(CallError) as caught:
            calling.services.catalog.take(b"x" * (17 << 20))
        self.assertEqual(caught.exception.code, "too-large")
        self.assertEqual(await calling.services.catalog.take(b"x" * (9 << 20)), 9 << 20)

    async def test_bad_input_is_said_at_once(self):
        _, calling, _ = await self.pair({"get": lambda: 1})
        services = calling.services
        for action, message in [
            (lambda: services.catalog.get(a=1), "arguments by name"),
            (lambda: services.catalog.options(timout=1), "there is no option 'timout': there are timeout"),
            (lambda: calling.call("catalog", "get", retry=1), "there is no option 'retry'"),
            (lambda: services.catalog.options(retries=-2), "retries is a number from 0 on, or -1"),
            (lambda: services.catalog.options(timeout="soon"), "timeout is a number of seconds"),
            (lambda: services["No Name"].get(), "the name of a service has lower-case letters"),
            (lambda: services.catalog(), "a name has parts"),
            (lambda: services.catalog.get({1, 2}), "set cannot be sent"),
        ]:
            with self.subTest(message=message), self.assertRaisesRegex((TypeError, ValueError), message):
                action()
        with self.assertRaisesRegex(ValueError, "offers catalog already"):
            offering = await self.join()
            await offering.register("catalog", {"get": len})
            await offering.register("catalog", {"get": len})

    async def test_the_time_that_a_call_has(self):
        ended = asyncio.Event()
        left = []

        async def forever():
            left.append(current().deadline)
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        offering, calling, registered = await self.pair({"forever": forever})
        await self.fails("timeout", calling.services.catalog.options(timeout=0.1).forever())
        await asyncio.wait_for(ended.wait(), 30)
        await eventually(lambda: registered.in_flight == 0)
        patient = calling.services.catalog.options(attempt=0.02, retries=2, timeout=20)
        error = await self.fails("timeout", patient.forever())
        self.assertIn("no attempt was answered in time", error.message)
        self.assertEqual(len(left), 4)

    async def test_cancelling_the_task_cancels_the_call(self):
        began, ended = asyncio.Event(), asyncio.Event()

        async def forever():
            began.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        _, calling, _ = await self.pair({"forever": forever})

        async def asking():
            await calling.services.catalog.forever()

        task = asyncio.create_task(asking())
        await asyncio.wait_for(began.wait(), 30)
        task.cancel()
        with self.assertRaises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(ended.wait(), 30)

    async def test_a_call_for_a_call_ends_with_it(self):
        began, ended = asyncio.Event(), asyncio.Event()
        callers = []

        async def forever():
            callers.append((current().caller, current().method))
            began.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        offering, calling, _ = await self.pair({"forever": forever})

        async def through():
            await offering.services.catalog.forever()

        await offering.register("door", {"through": through})
        await eventually(sees(calling, "door"))
        call = asyncio.ensure_future(calling.services.door.options(timeout=20).through())
        await asyncio.wait_for(began.wait(), 30)
        call.cancel()
        await asyncio.wait_for(ended.wait(), 30)
        self.assertEqual(callers, [("@program@offering", "forever")])

    async def test_nothing_is_answered_to_who_has_given_up(self):
        go_on = asyncio.Event()

        async def stubborn():
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                await go_on.wait()
                return 1

        offering, calling, registered = await self.pair({"stubborn": stubborn, "get": lambda: 1})
        await self.fails("timeout", calling.services.catalog.options(timeout=0.05).stubborn())
        self.assertEqual(registered.in_flight, 1)
        go_on.set()
        await eventually(lambda: registered.in_flight == 0)
        self.assertEqual(await calling.services.catalog.get(), 1)
        self.assertEqual(calling.counts["late"], 0)

    async def test_sending_wants_no_result(self):
        got, done = [], asyncio.Event()

        async def take(value):
            got.append(value)
            if len(got) == 2:
                done.set()
            raise ValueError("nobody hears this")

        _, calling, _ = await self.pair({"take": take})
        self.assertIsNone(await calling.services.catalog.take.send(b"one"))
        self.assertIsNone(await calling.send("catalog", "take", 2))
        await asyncio.wait_for(done.wait(), 30)
        self.assertEqual(got, [b"one", 2])
        await self.fails("not-found", calling.send("catalog", "other"))

    async def test_no_more_calls_than_it_takes(self):
        under_way, most, go_on = 0, 0, asyncio.Event()

        async def hold():
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            await go_on.wait()
            under_way -= 1
            return 1

        _, calling, registered = await self.pair({"hold": hold}, max_in_flight=3)
        held = [asyncio.ensure_future(calling.services.catalog.hold()) for _ in range(3)]
        await eventually(lambda: under_way == 3)
        error = await self.fails("overloaded", calling.services.catalog.hold())
        self.assertIn("3 calls under way", error.message)
        waiting = [asyncio.ensure_future(calling.services.catalog.options(retries=-1).hold()) for _ in range(20)]
        self.assertEqual(registered.in_flight, 3)
        go_on.set()
        self.assertEqual(await asyncio.gather(*held, *waiting), [1] * 23)
        self.assertEqual(most, 3)

    async def test_an_overloaded_member_is_passed_over(self):
        go_on = asyncio.Event()

        async def hold():
            await go_on.wait()
            return 1

        one, two, calling = await self.join("one"), await self.join("two"), await self.join("calling")
        for client in (one, two):
            await client.register("catalog", {"hold": hold}, max_in_flight=1)
        await eventually(sees(calling, "catalog", 2))
        first = asyncio.ensure_future(one.services.catalog.options(key="k").hold())
        second = asyncio.ensure_future(calling.services.catalog.options(key="k").hold())
        await eventually(lambda: sum(one._server.load().values()) + sum(two._server.load().values()) == 2)
        await self.fails("overloaded", calling.services.catalog.options(key="k").hold())
        go_on.set()
        self.assertEqual(await asyncio.gather(first, second), [1, 1])

    async def test_closing_a_service_finishes_what_it_has(self):
        go_on, began = asyncio.Event(), asyncio.Event()

        async def hold():
            began.set()
            await go_on.wait()
            return "done"

        _, calling, registered = await self.pair({"hold": hold})
        call = asyncio.ensure_future(calling.services.catalog.hold())
        await asyncio.wait_for(began.wait(), 30)
        closing = asyncio.ensure_future(registered.close())
        await eventually(sees(calling, "catalog", 0))
        await self.fails("unavailable", calling.services.catalog.hold())
        self.assertFalse(closing.done())
        go_on.set()
        self.assertEqual(await call, "done")
        await closing

    async def test_what_takes_longer_than_closing_may_is_unavailable(self):
        began = asyncio.Event()

        async def forever():
            began.set()
            await asyncio.Event().wait()

        _, calling, registered = await self.pair({"forever": forever})
        call = asyncio.ensure_future(calling.services.catalog.forever())
        await asyncio.wait_for(began.wait(), 30)
        await registered.close(timeout=0.01)
        await self.fails("unavailable", call)

    async def test_many_calls_at_once(self):
        _, calling, _ = await self.pair({"echo": lambda value: value})
        numbers = list(range(500))
        self.assertEqual(await asyncio.gather(*(calling.services.catalog.echo(one) for one in numbers)), numbers)


class Streams(FabricCase):
    async def test_all_kinds_of_generators(self):
        def plain(count):
            for number in range(count):
                yield {"n": number, "b": bytes([number])}

        async def asynchronous(count):
            for number in range(count):
                await asyncio.sleep(0)
                yield number

        _, calling, registered = await self.pair({"plain": plain, "asynchronous": asynchronous})
        expected = [{"n": number, "b": bytes([number])} for number in range(50)]
        self.assertEqual([item async for item in calling.services.catalog.plain(50)], expected)
        self.assertEqual([item async for item in await calling.services.catalog.asynchronous(50)], list(range(50)))
        self.assertEqual([item async for item in calling.services.catalog.plain(0)], [])
        await eventually(lambda: registered.in_flight == 0)

    async def test_it_comes_as_fast_as_it_is_taken(self):
        made = 0

        def endless():
            nonlocal made
            while True:
                made += 1
                yield made

        _, calling, registered = await self.pair({"endless": endless})
        items = await calling.services.catalog.endless()
        await eventually(lambda: made == 9)
        for expected in range(1, 5):
            self.assertEqual(await items.__anext__(), expected)
        await eventually(lambda: made == 13)
        await items.aclose()
        await eventually(lambda: registered.in_flight == 0)
        self.assertEqual(made, 13)
        with self.assertRaises(StopAsyncIteration):
            await items.__anext__()

    async def test_leaving_the_loop_ends_the_generator(self):
        ended = asyncio.Event()

        async def endless():
            try:
                number = 0
                while True:
                    yield number
                    number += 1
            finally:
                ended.set()

        _, calling, _ = await self.pair({"endless": endless})
        async for item in calling.services.catalog.endless():
            if item == 3:
                break
        await asyncio.wait_for(ended.wait(), 30)

    async def test_what_a_generator_throws(self):
        def broken():
            yield 1
            raise ValueError("in the middle")

        _, calling, _ = await self.pair({"broken": broken, "one": lambda: 1})
        got = []
        with self.assertRaises(CallError) as caught:
            async for item in calling.services.catalog.broken():
                got.append(item)
        self.assertEqual((got, caught.exception.code, caught.exception.remote_name), ([1], "service-error", "ValueError"))
        with self.assertRaisesRegex(TypeError, "no stream"):
            async for _ in calling.services.catalog.one():
                pass

    async def test_a_time_out_holds_for_a_stream_only_where_it_was_chosen(self):
        go_on = asyncio.Event()

        async def slow():
            yield 1
            await go_on.wait()
            yield 2

        _, calling, registered = await self.pair({"slow": slow})
        calling._call_timeout = 50
        items = await calling.services.catalog.slow()
        got = [await items.__anext__()]
        with self.assertRaises(CallError) as caught:
            async for item in calling.services.catalog.options(timeout=0.2).slow():
                got.append(item)
        self.assertEqual(caught.exception.code, "timeout")
        await eventually(lambda: registered.in_flight == 1)
        go_on.set()
        self.assertEqual(got + [item async for item in items], [1, 1, 2])

    async def test_a_service_that_closes_ends_its_streams(self):
        async def endless():
            yield 1
            await asyncio.Event().wait()

        _, calling, registered = await self.pair({"endless": endless})
        items = await calling.services.catalog.endless()
        self.assertEqual(await items.__anext__(), 1)
        await registered.close()
        error = await self.fails("unavailable", items.__anext__())
        self.assertIn("the program that sent it closes", error.message)


class Balance(FabricCase):
    async def many(self, count):
        names = [f"one{number}" for number in range(count)]
        for name in names:
            client = await self.join(name)
            await client.register("catalog", {"who": lambda name=name: name})
        calling = await self.join("calling")
        await eventually(sees(calling, "catalog", count))
        return names, calling

    async def test_each_in_its_turn(self):
        names, calling = await self.many(3)
        got = [await calling.services.catalog.who() for _ in range(12)]
        self.assertEqual(sorted(got), sorted(names * 4))
        together = await asyncio.gather(*(calling.services.catalog.who() for _ in range(12)))
        self.assertEqual(sorted(together), sorted(names * 4))

    async def test_a_key_has_its_member(self):
        names, calling = await self.many(3)
        other = await self.join("other")
        chosen = {}
        for key in map(str, range(30)):
            got = {await one.services.catalog.options(key=key).who() for one in (calling, other) for _ in range(2)}
            self.assertEqual(len(got), 1)
            chosen[key] = got.pop()
        self.assertEqual(set(chosen.values()), set(names))

    async def test_the_load_that_others_tell_of(self):
        go_on = asyncio.Event()
        one, two = await self.join("one", timeout=0.6), await self.join("two", timeout=0.6)
        calling = await self.join("calling", timeout=0.6)
        for client in (one, two):
            await client.register("catalog", {"hold": go_on.wait, "who": lambda name=client.name: name})
        await eventually(sees(calling, "catalog", 2))
        await eventually(sees(one, "catalog", 1))
        # Somebody else has one of them busy, and a beat tells it.
        held = [asyncio.ensure_future(two.services.catalog.options(key="k").hold()) for _ in range(5)]
        await eventually(lambda: sum(one._server.load().values()) + sum(two._server.load().values()) == 5)
        busy = one if one._server.load() else two
        members = calling._session.members
        await eventually(lambda: any(member.score("catalog") <= -5 for member in members.values() if member.services))
        got = {await calling.services.catalog.who() for _ in range(6)}
        self.assertEqual(got, {"one" if busy is two else "two"})
        go_on.set()
        await asyncio.gather(*held)


class Closing(FabricCase):
    async def test_it_leaves_nothing(self):
        def sockets():
            links = []
            for one in os.listdir("/proc/self/fd"):
                try:
                    links.append(os.readlink(f"/proc/self/fd/{one}"))
                except OSError:
                    continue
            return sorted(link for link in links if link.startswith("socket:"))

        before, threads = sockets(), threading.active_count()
        began = asyncio.Event()

        async def forever():
            began.set()
            await asyncio.Event().wait()

        async with connect(redis=self.redis.url(), key=KEY, prefix=self.prefix) as client:
            await client.register("catalog", {"forever": forever})
            await client.on("*", lambda data: None)
            call = asyncio.ensure_future(client.services.catalog.forever())
            waiting = asyncio.ensure_future(client.call("nobody", "get", retries=-1))
            await asyncio.wait_for(began.wait(), 30)
            await client.close(timeout=0.01)
            self.assertEqual(client.status, "down")
        await self.fails("unavailable", call)
        await self.fails("cancelled", waiting)
        self.assertEqual(asyncio.all_tasks(), {asyncio.current_task()})
        self.assertEqual((sockets(), threading.active_count()), (before, threads))
        with self.assertRaisesRegex(CallError, "has closed its connection"):
            client.services.catalog.forever()
        await client.close()

    async def test_the_others_know_at_once(self):
        offering, calling, _ = await self.pair({"get": lambda: 1})
        self.assertEqual([member.name for member in calling.members()], ["offering"])
        await offering.close()
        await eventually(lambda: not calling.members())
        await self.fails("unavailable", calling.services.catalog.get())


if __name__ == "__main__":
    unittest.main()
