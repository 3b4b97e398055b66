import asyncio
import os


async def _serve(reader, writer):
    async for line in reader:
        writer.write(line.upper())
    writer.close()


async def start():
    server = await asyncio.start_server(_serve, "0.0.0.0", int(os.environ["PORT"]))
    async with server:
        await server.serve_forever()


def level():
    return 3


def close():
    print("closed")
