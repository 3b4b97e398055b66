// Request-reply through nats-server.
import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { StringCodec, connect } from "nats";
import { measure } from "./measure.mjs";

const [port] = process.argv.slice(2);
const connection = await connect({ servers: `127.0.0.1:${port}` });
const codec = StringCodec();

if (process.send) {
  connection.subscribe("echo", { callback: (_, message) => message.respond(message.data) });
  await connection.flush();
  process.send("ready");
} else {
  const child = fork(fileURLToPath(import.meta.url), [port]);
  await new Promise((ready) => child.once("message", ready));
  const call = async (payload) => codec.decode((await connection.request("echo", codec.encode(payload), { timeout: 60_000 })).data);
  console.log(JSON.stringify(await measure(call, () => performance.now() * 1000)));
  child.kill();
  process.exit(0);
}
