// A service that any number of processes have, on any number of hosts. Start this as often as you like:
//
//   npm install orchestrator-client
//   ORCHESTRATOR_FABRIC_KEY=… node hello.mjs
import { connect } from "orchestrator-client";

const fabric = await connect({
  redis: { host: process.env.REDIS_HOST ?? "127.0.0.1", port: Number(process.env.REDIS_PORT ?? 6379), db: 0 },
  prefix: "examples",
  key: process.env.ORCHESTRATOR_FABRIC_KEY,
  name: "hello-node",
  callTimeout: 60_000,
});
const config = fabric.config("hello");

await fabric.register("hello", {
  async say(name) {
    return `${(await config.get("greeting")) ?? "hello"} ${name}, says node`;
  },
  // Both processes have it, and the other one never answers.
  slow: () => "here is node",
});
await fabric.on("greeted", ({ name }) => console.log(`${name} was greeted`));
console.log("ready");

process.on("SIGTERM", () => fabric.close());
