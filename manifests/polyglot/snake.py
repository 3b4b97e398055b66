from orchestrator import log


async def start():
    log.info("snake: python is up")


def close():
    print("snake: bye")
