"""A program with the service `work`, for tests that end it: it notes every run of a call before it answers."""

import asyncio
import os
import sys

import support  # noqa: F401
from orchestrator_client import connect


async def main(url, prefix, name, journal, *said):
    options = dict(one.split("=") for one in said)
    notes = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    async def run(number):
        os.write(notes, f"{number}\n".encode())
        await asyncio.sleep(float(options.get("pause", 0.005)))
        return [name, number]

    async def forever():
        os.write(notes, b"forever\n")
        await asyncio.Event().wait()

    async def ticks():
        number = 0
        while True:
            yield number
            number += 1

    timeout = float(options.get("timeout", 6))
    async with connect(redis=url, key=os.environ["KEY"], prefix=prefix, name=name, timeout=timeout) as fabric:
        await fabric.register("work", {"run": run, "forever": forever, "ticks": ticks, "name": lambda: name})
        print("ready", flush=True)
        await asyncio.Event().wait()


asyncio.run(main(*sys.argv[1:]))
