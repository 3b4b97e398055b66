// A request and its answer over the channel that Node has to a child of its own.
import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { measure } from "./measure.mjs";

if (process.send) {
  process.on("message", (message) => process.send(message));
} else {
  const child = fork(fileURLToPath(import.meta.url));
  const waiting = new Map();
  let last = 0;
  child.on("message", ({ id, payload }) => {
    waiting.get(id)(payload);
    waiting.delete(id);
  });
  const call = (payload) =>
    new Promise((resolve) => {
      waiting.set(++last, resolve);
      child.send({ id: last, payload });
    });
  console.log(JSON.stringify(await measure(call, () => performance.now() * 1000)));
  child.kill();
}
