// The same calls of 64 bytes between two processes over one Redis, with this project's client, Moleculer's Redis transporter
// and clouds. All of them are there from the beginning, and are measured by turns, so that what else the machine does meets
// all alike: of many short rounds the median of each figure, and the best.
//
//   npm install && node compare.mjs redis://127.0.0.1:6379 [rounds] [seconds]
import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";

const [redis = "redis://127.0.0.1:6379", rounds = "30", seconds = "0.3", role, kind] = process.argv.slice(2);
const payload = "x".repeat(64);
const key = "only a bench, so that this is no secret";
const prefix = process.env.BENCH_PREFIX ?? `bench-${process.pid}-${Date.now()}`;

const kinds = {
  "orchestrator-client": {
    async serve() {
      const { connect } = await import("orchestrator-client");
      const fabric = await connect({ redis, key, prefix, name: "server" });
      await fabric.register("server", { echo: (value) => value });
    },
    async client() {
      const { connect } = await import("orchestrator-client");
      const fabric = await connect({ redis, key, prefix, name: "client" });
      const { server } = fabric.services;
      await server.options({ retries: -1, timeout: "10s" }).echo("");
      return (value) => server.echo(value);
    },
  },
  moleculer: {
    async broker(nodeID) {
      const { ServiceBroker } = await import("moleculer");
      return new ServiceBroker({ namespace: prefix, nodeID, transporter: redis, logger: false });
    },
    async serve() {
      const broker = await this.broker("server");
      broker.createService({ name: "server", actions: { echo: (context) => context.params.payload } });
      await broker.start();
    },
    async client() {
      const broker = await this.broker("client");
      await broker.start();
      await broker.waitForServices("server", 30_000);
      return (value) => broker.call("server.echo", { payload: value });
    },
  },
  clouds: {
    options: () => ({ redis: { host: new URL(redis).hostname, port: Number(new URL(redis).port || 6379), db: 0, prefix: `${prefix}:` }, heartbeat: 2, timeout: 10 }),
    async serve() {
      const { default: clouds } = await import("clouds");
      const server = new clouds.Server(this.options());
      server.register("server.echo", (value, callback) => callback(null, value));
      await new Promise((ready) => setTimeout(ready, 500));
    },
    async client() {
      const { default: clouds } = await import("clouds");
      const client = new clouds.Client(this.options());
      const echo = client.bind("server.echo");
      await new Promise((ready) => client.ready(ready));
      return (value) => new Promise((resolve, reject) => echo(value, (error, result) => (error ? reject(error) : resolve(result))));
    },
  },
};

async function measure(call, inFlight, seconds) {
  const times = [];
  const began = performance.now();
  const until = began + seconds * 1000;
  const one = async () => {
    for (let now = began; now < until; ) {
      if ((await call(payload)) !== payload) throw new Error("that is not what was sent");
      const then = performance.now();
      times.push(then - now);
      now = then;
    }
  };
  await Promise.all(Array.from({ length: inFlight }, one));
  const took = (performance.now() - began) / 1000;
  times.sort((a, b) => a - b);
  const at = (share) => Math.round(times[Math.floor(times.length * share)] * 1000);
  return { p50: at(0.5), p99: at(0.99), rate: Math.round(times.length / took) };
}

// Each side is a process of its own, which is ended by whoever has started it.
async function start(what, of) {
  const child = fork(fileURLToPath(import.meta.url), [redis, rounds, seconds, what, of], { env: { ...process.env, BENCH_PREFIX: `${prefix}-${of}` } });
  await said(child, `${what} of ${of}`);
  return child;
}

function said(child, who) {
  return new Promise((resolve, reject) => {
    const ended = (code) => reject(new Error(`${who} has ended with ${code}`));
    child.once("exit", ended);
    child.once("message", (message) => {
      child.off("exit", ended);
      resolve(message);
    });
  });
}

const median = (values) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)];

if (role === "serve") {
  await kinds[kind].serve();
  process.send("ready");
} else if (role === "client") {
  const call = await kinds[kind].client();
  for (const inFlight of [1, 64]) await measure(call, inFlight, 1);
  process.on("message", async () => {
    const time = Number(seconds);
    process.send([await measure(call, 1, time), await measure(call, 64, time)]);
  });
  process.send("ready");
} else {
  const children = [];
  const clients = new Map();
  const figures = new Map();
  try {
    for (const kind of Object.keys(kinds)) {
      for (const what of ["serve", "client"]) children.push(await start(what, kind));
      clients.set(kind, children.at(-1));
      figures.set(kind, []);
    }
    for (let round = 0; round < Number(rounds); round += 1) {
      for (const [kind, client] of clients) {
        client.send("measure");
        figures.get(kind).push(await said(client, kind));
      }
    }
  } finally {
    for (const child of children) child.kill("SIGKILL");
  }
  const rows = {};
  for (const [kind, all] of figures) {
    const of = (index, name, chosen = median) => chosen(all.map((round) => round[index][name]));
    const least = (values) => Math.min(...values);
    rows[kind] = { "1: p50 us": of(0, "p50"), "1: best": of(0, "p50", least), "1: p99 us": of(0, "p99"), "64: p50 us": of(1, "p50"), "64: p99 us": of(1, "p99"), "64: calls/s": of(1, "rate") };
  }
  console.table(rows);
}
