// The same calls of 64 bytes between two processes over one Redis, with this project's client, Moleculer's Redis transporter
// and clouds; each in turn, several rounds, the median of each figure.
//
//   npm install && node compare.mjs redis://127.0.0.1:6379 [rounds] [seconds]
import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";

const [redis = "redis://127.0.0.1:6379", rounds = "3", seconds = "3", role, kind] = process.argv.slice(2);
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

async function measure(call, inFlight) {
  const times = [];
  let until = performance.now() + 1000;
  let isCounted = false;
  const one = async () => {
    while (performance.now() < until) {
      const began = performance.now();
      if ((await call(payload)) !== payload) throw new Error("that is not what was sent");
      if (isCounted) times.push(performance.now() - began);
    }
  };
  const all = () => Promise.all(Array.from({ length: inFlight }, one));
  await all();
  isCounted = true;
  const began = performance.now();
  until = began + Number(seconds) * 1000;
  await all();
  const took = (performance.now() - began) / 1000;
  times.sort((a, b) => a - b);
  const at = (share) => Math.round(times[Math.floor(times.length * share)] * 1000);
  return { p50: at(0.5), p99: at(0.99), rate: Math.round(times.length / took) };
}

// Each side is a process of its own, which is ended by whoever has started it.
function start(what, of, environment) {
  const child = fork(fileURLToPath(import.meta.url), [redis, rounds, seconds, what, of], { env: { ...process.env, ...environment } });
  const said = new Promise((resolve, reject) => {
    child.once("message", resolve);
    child.once("exit", (code) => reject(new Error(`${what} of ${of} has ended with ${code}`)));
  });
  said.catch(() => {});
  return { child, said };
}

const median = (values) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)];

if (role === "serve") {
  await kinds[kind].serve();
  process.send("ready");
} else if (role === "client") {
  const call = await kinds[kind].client();
  process.send([await measure(call, 1), await measure(call, 64)]);
} else {
  const figures = Object.fromEntries(Object.keys(kinds).map((kind) => [kind, []]));
  for (let round = 0; round < Number(rounds); round += 1) {
    for (const kind of Object.keys(kinds)) {
      const environment = { BENCH_PREFIX: `${prefix}-${kind}-${round}` };
      const server = start("serve", kind, environment);
      await server.said;
      const client = start("client", kind, environment);
      try {
        figures[kind].push(await client.said);
      } catch (error) {
        console.error(error.message);
      }
      server.child.kill("SIGKILL");
      client.child.kill("SIGKILL");
    }
  }
  const rows = {};
  for (const [kind, all] of Object.entries(figures)) {
    const of = (index, name) => median(all.map((round) => round[index][name]));
    rows[kind] = { "1: p50 us": of(0, "p50"), "1: p99 us": of(0, "p99"), "64: p50 us": of(1, "p50"), "64: p99 us": of(1, "p99"), "64: calls/s": of(1, "rate") };
  }
  console.table(rows);
}
