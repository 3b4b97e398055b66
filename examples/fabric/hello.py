# The same service in Python:
#
#   pip install 'orchestrator-client[fabric]'
#   ORCHESTRATOR_FABRIC_KEY=… python3 hello.py
import asyncio
import os
import signal

from orchestrator_client import connect


async def main():
    host, port = os.environ.get("REDIS_HOST", "127.0.0.1"), os.environ.get("REDIS_PORT", "6379")
    async with connect(
        redis=f"redis://{host}:{port}/0",
        prefix="examples",
        key=os.environ["ORCHESTRATOR_FABRIC_KEY"],
        name="hello-python",
        call_timeout=60.0,
    ) as fabric:
        config = fabric.config("hello")

        async def say(name):
            return f"{await config.get('greeting') or 'hello'} {name}, says python"

        async def slow():
            await asyncio.Event().wait()

        await fabric.register("hello", {"say": say, "slow": slow})
        await fabric.on("greeted", lambda data, about: print(f"{data['name']} was greeted", flush=True))
        print("ready", flush=True)
        stopped = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
        await stopped.wait()


asyncio.run(main())
