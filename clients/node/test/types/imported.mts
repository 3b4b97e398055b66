// What a program in TypeScript writes; it is only checked.
import { CallError, connect, current, type Fabric, type Registered } from "orchestrator-client";

const fabric: Fabric = await connect({ redis: { host: "localhost", tls: true }, key: new Uint8Array(32), timeout: "6s" });
const local = await connect({ project: "shop" });
const price: number = await fabric.services.catalog.get(1);
await fabric.services["parent/child"].admin.reset();
await fabric.services.catalog.options({ timeout: "2s", retries: -1, attempt: 500, key: "k", signal: new AbortController().signal }).get(1);
await fabric.services.catalog.touch.send(1);
for await (const item of fabric.call("catalog", "changes", [], { retries: 1 })) console.log(item, price);
const receivers: number = await fabric.emit("stock.changed", { sku: 1 });
const off = await fabric.on("stock.*", (data, { event, from }) => console.log(data, event, from), { group: "g" });
await off();
const stop: () => void = fabric.config("billing").watch("limit", (name, value) => console.log(name, value));
stop();
const service: Registered = await fabric.register("billing", { async charge() { return current()?.from; }, admin: { reset() {} } }, { maxInFlight: 8 });
await service.close();
const left: () => void = local.onStatus((status, about) => console.log(status, about));
left();
try {
  await local.send("a", "b", [1]);
} catch (error) {
  if (error instanceof CallError) console.log(error.code === "timeout", error.remoteStack, receivers, fabric.counts.forged, fabric.members()[0].load);
}
// @ts-expect-error: there is no such option
await connect({ redis: "redis://localhost", key: "k", tiemout: 5 });
// @ts-expect-error: a fabric has a key
await connect({ redis: "redis://localhost" });
