import asyncio
import os


async def serve(reader, writer):
    async for line in reader:
        writer.write(line.upper())
    writer.close()


async def start():
    server = await asyncio.start_server(serve, port=int(os.environ["PORT"]))
    names = {one.getsockname() for one in server.sockets}
    if names != {("127.0.0.1", int(os.environ["PORT"]))}:
        raise RuntimeError(f"listens on {names}")


def close():
    print("closed")
