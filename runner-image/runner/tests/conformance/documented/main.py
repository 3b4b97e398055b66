from types import SimpleNamespace
from orchestrator import log

stock = {}

async def start():
    stock["apple"] = 3
    log.info("stocked", kinds=len(stock))

def level(sku):
    return stock.get(sku, 0)

admin = SimpleNamespace(reset=stock.clear)

def health():
    return len(stock) > 0

async def close():
    log.info("closing")
