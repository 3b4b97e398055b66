"""What the tests share: a Redis of their own, programs of their own, and waiting for something to come true."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "src"))

# Only now, for this is where the sources are.
from orchestrator_client import CallError, connect, current  # noqa: E402, F401

KEY = "the key that all of these tests share"
PATIENCE = 30.0

try:
    import redis
except ImportError:
    redis = None

if redis is None:
    MISSING = "redis-py is not installed"
elif shutil.which("redis-server") is None:
    MISSING = "there is no redis-server"
else:
    MISSING = None

needs_redis = unittest.skipIf(MISSING is not None, str(MISSING))


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Redis:
    """A redis-server of the test's own, which keeps nothing."""

    def __init__(self):
        self.port = free_port()
        self.folder = tempfile.mkdtemp()
        self.process = None
        self.start()

    def url(self, database=0):
        return f"redis://127.0.0.1:{self.port}/{database}"

    def start(self):
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1"]
        command += ["--save", "", "--appendonly", "no", "--dir", self.folder]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        until = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except OSError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.01)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        self.kill()
        shutil.rmtree(self.folder)


class Program:
    """A process with a service, which says on standard output when it offers it: program.py."""

    def __init__(self, redis, prefix, name, journal, **options):
        said = [f"{key}={value}" for key, value in options.items()]
        command = [sys.executable, os.path.join(HERE, "program.py"), redis.url(), prefix, name, journal, *said]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "KEY": KEY})
        self.process.stdout.readline()

    def kill(self):
        self.process.kill()
        self.close()

    def stop(self):
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()


async def eventually(condition, what="it"):
    """Waits until a condition is true."""
    until = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > until:
            raise AssertionError(f"{what} has not come true in {PATIENCE:.0f} s")
        await asyncio.sleep(0.005)


def sees(client, service, count=1):
    """Whether so many others offer a service."""
    return lambda: sum(service in member.services for member in client.members()) == count


@needs_redis
class FabricCase(unittest.IsolatedAsyncioTestCase):
    """Tests in a fabric of their own, over one Redis for all tests of the class."""

    @classmethod
    def setUpClass(cls):
        cls.redis = Redis()
        cls.addClassCleanup(cls.redis.close)

    def setUp(self):
        # A prefix of its own: nobody of another test is there.
        self.prefix = self.id().rsplit(".", 1)[1].replace("_", "-")[:60]

    async def join(self, name="program", **options):
        client = await connect(**{"redis": self.redis.url(), "key": KEY, "prefix": self.prefix, "name": name, **options})
        self.addAsyncCleanup(client.close)
        return client

    async def pair(self, methods, service="catalog", **options):
        """A program that offers a service, one that calls it, and the service."""
        offering, calling = await self.join("offering"), await self.join("calling")
        registered = await offering.register(service, methods, **options)
        await eventually(sees(calling, service))
        return offering, calling, registered

    async def fails(self, code, awaitable):
        """The error with which something fails, which has this code."""
        with self.assertRaises(CallError) as caught:
            await awaitable
        self.assertEqual(caught.exception.code, code, str(caught.exception))
        return caught.exception
