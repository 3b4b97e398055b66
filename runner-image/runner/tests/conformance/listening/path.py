import asyncio


async def serve(reader, writer):
    async for line in reader:
        writer.write(line.upper())
    writer.close()


async def start():
    await asyncio.start_unix_server(serve, "./app.sock")


def close():
    print("closed")
