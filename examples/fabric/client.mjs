// Uses the service that hello.mjs and hello.py have: node client.mjs
import { connect } from "orchestrator-client";

const fabric = await connect({
  redis: { host: process.env.REDIS_HOST ?? "127.0.0.1", port: Number(process.env.REDIS_PORT ?? 6379), db: 0 },
  prefix: "examples",
  key: process.env.ORCHESTRATOR_FABRIC_KEY,
  name: "client",
  callTimeout: 60_000,
});

// Configuration is the service's, whoever has it.
const config = fabric.config("hello");
await config.set("greeting", "good morning");
console.log("the greeting is", await config.get("greeting"));

// A call waits for its result. Of those who have the service, the one with the best score gets it.
const hello = fabric.services.hello;
const said = await Promise.all(Array.from({ length: 10 }, (_, i) => hello.options({ retries: -1 }).say(`guest ${i}`)));
console.log(said[0].replace(/, says.*/, ""));
console.log("answered by", [...new Set(said.map((text) => text.split(" ").pop()))].sort().join(" and "));

// No result is wanted of this one.
await hello.say.send("nobody");

// An event goes to everybody who listens.
console.log("told to", await fabric.emit("greeted", { name: "everybody" }));

// Up to three more tries, each somewhere else where that is possible, when nothing has come after 300 ms.
for (let i = 0; i < 4; i++) {
  console.log(await hello.options({ attempt: "300ms", retries: 3 }).slow());
}
await config.remove("greeting");
await fabric.close();
