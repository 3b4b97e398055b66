"""What `connect` is given, and says where that is wrong."""

import asyncio
import os
import sys
import tempfile
import unittest
from unittest import mock

from support import KEY, MISSING, CallError, FabricCase, connect, free_port

from orchestrator_client import plain
from orchestrator_client.attach import socket_of

URL = "redis://localhost:6379/0"


class Given(unittest.TestCase):
    def test_what_is_wrong_is_said_in_a_line(self):
        cases = [
            ({}, ValueError, "connect needs one of redis="),
            ({"redis": URL, "key": KEY, "project": "shop"}, ValueError, "connect needs one of redis="),
            ({"socket": "/x", "key": KEY}, ValueError, "key and prefix belong to redis="),
            ({"redis": URL, "key": KEY, "nmae": "x"}, TypeError, "connect has no option 'nmae': there are redis, key"),
            ({"project": "No Name"}, ValueError, "the name of a project has lower-case letters"),
            ({"project": "shop", "name": "A B"}, ValueError, "the name of a program has lower-case letters"),
            ({"project": "shop", "timeout": -1}, ValueError, "timeout is a number of seconds above 0"),
            ({"project": "shop", "call_timeout": "x"}, ValueError, "call_timeout is a number of seconds above 0"),
        ]
        if MISSING is None:
            cases += [
                ({"redis": URL}, ValueError, "of 32 bytes or more; there is none"),
                ({"redis": URL, "key": "short"}, ValueError, "of 32 bytes or more; this one has 5"),
                ({"redis": URL, "key": b"x" * 31}, ValueError, "this one has 31"),
                ({"redis": "http://x", "key": KEY}, ValueError, "redis is an address such as redis://"),
                ({"redis": "redis://h:port", "key": KEY}, ValueError, "redis is an address such as redis://"),
                ({"redis": URL, "key": KEY, "prefix": "a b"}, ValueError, "prefix has 1 to 64 letters"),
            ]
        for options, kind, message in cases:
            for one in (connect, plain.connect):
                with self.subTest(options=options, one=one), self.assertRaises(kind) as caught:
                    one(**options)
                self.assertIn(message, str(caught.exception))
                self.assertNotIn("\n", str(caught.exception))

    def test_no_password_is_shown(self):
        if MISSING is None:
            with self.assertRaises(ValueError) as caught:
                connect(redis="redis://user:secret@host:port/x", key=KEY)
            self.assertNotIn("secret", str(caught.exception))
            with self.assertRaises(ValueError) as caught:
                connect(redis="http://user:secret@host", key=KEY)
            self.assertNotIn("secret", str(caught.exception))

    def test_only_a_fabric_needs_redis_py(self):
        modules = {name: None for name in sys.modules if name == "redis" or name.startswith("redis.")}
        own = [f"orchestrator_client.{name}" for name in ("fabric", "session", "wire")]
        with mock.patch.dict(sys.modules, {**modules, "redis": None, "redis.asyncio": None}):
            for name in own:
                sys.modules.pop(name, None)
            with self.assertRaisesRegex(ImportError, r"pip install 'orchestrator-client\[fabric\]'"):
                connect(redis=URL, key=KEY)
            connect(socket="/no/such.sock")

    def test_where_the_socket_of_a_project_is(self):
        with mock.patch.dict(os.environ, {"XDG_RUNTIME_DIR": "/run/me"}):
            self.assertEqual(socket_of("shop"), "/run/me/orchestrator/shop/control.sock")
        with mock.patch.dict(os.environ, {"XDG_RUNTIME_DIR": ""}), mock.patch("os.getuid", lambda: 7):
            with mock.patch("os.path.isdir", lambda path: path == "/run/user/7"):
                self.assertEqual(socket_of("shop"), "/run/user/7/orchestrator/shop/control.sock")
            with mock.patch("os.path.isdir", lambda path: False):
                folder = tempfile.gettempdir()
                self.assertEqual(socket_of("shop"), f"{folder}/orchestrator-7/shop/control.sock")
        with mock.patch.dict(os.environ, {"XDG_RUNTIME_DIR": ""}), mock.patch("os.getuid", lambda: 0):
            with mock.patch("os.path.isdir", lambda path: False):
                self.assertEqual(socket_of("shop"), "/run/orchestrator/shop/control.sock")


class Reached(FabricCase):
    async def test_nobody_is_there(self):
        url = f"redis://user:secret@127.0.0.1:{free_port()}/0"
        with self.assertRaises(CallError) as caught:
            await connect(redis=url, key=KEY)
        self.assertEqual(caught.exception.code, "unavailable")
        self.assertIn("there is no Redis to speak with at 127.0.0.1:", str(caught.exception))
        self.assertNotIn("secret", str(caught.exception))
        self.assertEqual(asyncio.all_tasks(), {asyncio.current_task()})
        with self.assertRaisesRegex(CallError, "there is no orchestrator to attach to at /no/such.sock"):
            await connect(socket="/no/such.sock")

    async def test_databases_keys_and_prefixes_are_fabrics_of_their_own(self):
        one = await self.join("one")
        others = [
            await self.join("two", redis=self.redis.url(1)),
            await self.join("three", prefix=self.prefix + "x"),
            await self.join("four", key="another key that is as long as it has to be"),
        ]
        same = await self.join("five")
        self.assertEqual([member.name for member in one.members()], ["five"])
        self.assertEqual([member.name for member in same.members()], ["one"])
        self.assertEqual([other.members() for other in others], [[], [], []])

    async def test_awaited_and_as_a_context(self):
        options = {"redis": self.redis.url(), "key": KEY.encode(), "prefix": self.prefix}
        async with connect(**options) as client:
            self.assertEqual(client.status, "up")
        self.assertEqual(client.status, "down")
        client = await connect(**options)
        async with client:
            self.assertEqual(client.name, "program")
        self.assertEqual(client.status, "down")


if __name__ == "__main__":
    unittest.main()
