// A request in a list of the server's, its answer in one of the client's: how clouds does it.
import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import Redis from "ioredis";
import { measure } from "./measure.mjs";

const [port] = process.argv.slice(2);
const [sending, hearing] = [new Redis(Number(port)), new Redis(Number(port))];

async function hear(list, heard) {
  for (;;) heard(JSON.parse((await hearing.brpop(list, 0))[1]));
}

if (process.send) {
  process.send("ready");
  hear("server", (message) => sending.lpush(message.from, JSON.stringify(message)));
} else {
  const child = fork(fileURLToPath(import.meta.url), [port]);
  await new Promise((ready) => child.once("message", ready));
  const waiting = new Map();
  let last = 0;
  hear("client", ({ id, payload }) => {
    waiting.get(id)(payload);
    waiting.delete(id);
  });
  const call = (payload) =>
    new Promise((resolve) => {
      waiting.set(++last, resolve);
      sending.lpush("server", JSON.stringify({ id: last, from: "client", payload }));
    });
  console.log(JSON.stringify(await measure(call, () => performance.now() * 1000)));
  child.kill();
  process.exit(0);
}
