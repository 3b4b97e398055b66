// Does a little of everything, closes, and has to end by itself.
import { connect } from "../../index.mjs";

const [redis, key] = process.argv.slice(2);
const fabric = await connect({ redis, key, name: "leaves" });
await fabric.register("one", { echo: (value) => value, async *count() { for (let n = 0; ; n += 1) yield n; } });
await fabric.on("*", () => {});
const off = fabric.config("one").watch(() => {});
const one = fabric.services.one.options({ retries: -1, timeout: "5s" });
await one.echo(1);
await fabric.emit("something", 1);
const stream = await one.count();
await stream.next();
const pending = fabric.services.nobody.options({ retries: -1 }).there().catch((error) => error.code);
process.send("ready");
await fabric.close();
off();
process.send({ pending: await pending, left: process.getActiveResourcesInfo().filter((kind) => !/Pipe|Immediate|TTY|FSReq/.test(kind)) });
process.disconnect();
