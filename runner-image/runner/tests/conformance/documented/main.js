import { log } from "orchestrator";

const stock = new Map();

export async function start() { stock.set("apple", 3); log.info("stocked", { kinds: stock.size }); }
export function level(sku) { return stock.get(sku) ?? 0; }
export const admin = { reset() { stock.clear(); } };
export function health() { return stock.size > 0; }
export async function close() { log.info("closing"); }
