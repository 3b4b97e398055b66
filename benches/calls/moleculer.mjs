// Two Moleculer nodes, each a process of its own.
import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { ServiceBroker } from "moleculer";
import { measure } from "./measure.mjs";

const [kind, port] = process.argv.slice(2);
const transporter = kind === "TCP" ? "TCP" : `redis://127.0.0.1:${port}`;
const isChild = process.send !== undefined;
const namespace = process.env.BENCH_NAMESPACE ?? `bench-${process.pid}`;
const broker = new ServiceBroker({ namespace, nodeID: isChild ? "server" : "client", transporter, logger: false });

if (isChild) {
  broker.createService({ name: "server", actions: { echo: (context) => context.params.payload } });
  await broker.start();
} else {
  const child = fork(fileURLToPath(import.meta.url), [kind, port ?? ""], { env: { ...process.env, BENCH_NAMESPACE: namespace } });
  await broker.start();
  await broker.waitForServices("server", 30_000);
  const call = (payload) => broker.call("server.echo", { payload });
  console.log(JSON.stringify(await measure(call, () => performance.now() * 1000)));
  child.kill();
  process.exit(0);
}
