// How long a call takes between two programs over one Redis:
//
//   node bench.mjs redis://127.0.0.1:6379 [seconds]     starts the serving program itself
//   node bench.mjs redis://127.0.0.1:6379 serve         is that program
import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { connect } from "./index.mjs";

const [redis = "redis://127.0.0.1:6379", role = "3"] = process.argv.slice(2);
const key = "only a bench, so that this is no secret";
const prefix = process.env.BENCH_PREFIX ?? `bench-${process.pid}`;
const payload = "x".repeat(64);

async function serve() {
  const fabric = await connect({ redis, key, prefix, name: "server" });
  await fabric.register("server", { echo: (value) => value });
  process.send("ready");
  process.once("disconnect", () => fabric.close());
}

// So many calls at one time, for so long.
async function measure(call, inFlight, seconds) {
  const times = [];
  let until = performance.now() + Math.min(1, seconds / 2) * 1000;
  let isCounted = false;
  const one = async () => {
    while (performance.now() < until) {
      const began = performance.now();
      await call(payload);
      if (isCounted) times.push(performance.now() - began);
    }
  };
  const all = () => Promise.all(Array.from({ length: inFlight }, one));
  await all();
  isCounted = true;
  const began = performance.now();
  until = began + seconds * 1000;
  await all();
  const took = (performance.now() - began) / 1000;
  times.sort((a, b) => a - b);
  const at = (share) => Math.round(times[Math.floor(times.length * share)] * 1000);
  return { "in flight": inFlight, "p50 us": at(0.5), "p99 us": at(0.99), "calls/s": Math.round(times.length / took) };
}

if (role === "serve") {
  await serve();
} else {
  const child = fork(fileURLToPath(import.meta.url), [redis, "serve"], { env: { ...process.env, BENCH_PREFIX: prefix } });
  await new Promise((ready) => child.once("message", ready));
  const fabric = await connect({ redis, key, prefix, name: "client" });
  const call = (value) => fabric.services.server.echo(value);
  const results = [];
  for (const inFlight of [1, 64]) results.push(await measure(call, inFlight, Number(role)));
  console.table(results);
  await fabric.close();
  child.disconnect();
}
