// Attaching to an orchestrator, with a small one of the test's own that speaks the protocol.
import assert from "node:assert/strict";
import { once } from "node:events";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { test } from "node:test";
import { CallError, connect, current } from "../index.mjs";
import { deferred, failure, until } from "./support/help.mjs";

// It says what it is told to, and notes what it hears. `answer(message, payload, say)` decides what comes back.
async function orchestrator(t, answer = () => {}) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "orchestrator-client-"));
  const socket = path.join(folder, "control.sock");
  const heard = [];
  const lines = [];
  const server = net.createServer((line) => {
    lines.push(line);
    let bytes = Buffer.alloc(0);
    let isUpgraded = false;
    const say = (message, payload, chunk) => {
      const behind = payload === undefined ? Buffer.alloc(0) : Buffer.from(payload);
      const all = Buffer.concat([Buffer.from(JSON.stringify(payload === undefined ? message : { ...message, payload: behind.length }) + "\n"), behind]);
      if (chunk === undefined) return line.write(all);
      for (let at = 0; at < all.length; at += chunk) line.write(all.subarray(at, at + chunk));
    };
    line.say = say;
    line.on("error", () => {});
    line.on("data", (chunk) => {
      bytes = Buffer.concat([bytes, chunk]);
      if (!isUpgraded) {
        const end = bytes.indexOf("\r\n\r\n");
        if (end < 0) return;
        assert.match(bytes.toString("latin1", 0, end), /^GET \/v1\/attach HTTP\/1\.1\r\nHost: orchestrator\r\nConnection: Upgrade\r\nUpgrade: orchestrator-link$/);
        bytes = bytes.subarray(end + 4);
        isUpgraded = true;
        line.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: orchestrator-link\r\n\r\n");
      }
      for (;;) {
        const newline = bytes.indexOf(10);
        if (newline < 0) return;
        const message = JSON.parse(bytes.toString("utf8", 0, newline));
        const end = newline + 1 + (message.payload ?? 0);
        if (bytes.length < end) return;
        const payload = bytes.subarray(newline + 1, end);
        bytes = bytes.subarray(end);
        heard.push({ ...message, text: payload.toString() });
        if (answer(message, payload, say) === true) continue;
        if (message.type === "offer") say({ type: "accepted", rev: message.rev, name: "shop" });
        if (["subscribe", "unsubscribe", "watch-config", "set-config"].includes(message.type)) say({ type: "reply", id: message.id });
      }
    });
  });
  server.listen(socket);
  await once(server, "listening");
  const fabrics = [];
  t.after(async () => {
    await Promise.all(fabrics.map((fabric) => fabric.close()));
    for (const line of lines) line.destroy();
    server.close();
    fs.rmSync(folder, { recursive: true, force: true });
  });
  return {
    heard,
    lines,
    socket,
    folder,
    server,
    said: (type) => heard.filter((message) => message.type === type),
    async attach(options = {}) {
      const fabric = await connect({ socket, name: "reports", timeout: 2000, ...options });
      fabrics.push(fabric);
      return fabric;
    },
  };
}

test("calls go to the orchestrator with their options, and bring values, bytes and errors", async (t) => {
  const host = await orchestrator(t, (message, payload, say) => {
    if (message.type === "send") say({ type: "reply", id: message.id });
    if (message.type !== "call") return;
    if (message.method === "get") say({ type: "reply", id: message.id }, payload.toString());
    if (message.method === "bytes") say({ type: "reply", id: message.id, json: 21 }, '{"$bytes":[0,300000]}' + "x".repeat(300_000), 1000);
    if (message.method === "bad") {
      const error = { code: "service-error", message: "no", service: "catalog", method: "bad", name: "RangeError", stack: "at there" };
      say({ type: "error", id: message.id, error });
    }
  });
  const fabric = await host.attach();
  assert.equal(fabric.status, "up");
  assert.equal(fabric.project, "shop");
  const { catalog } = fabric.services;
  assert.deepEqual(await catalog.get(1, "ä"), [1, "ä"]);
  assert.deepEqual(await catalog.options({ timeout: "2s", retries: 3, attempt: "500ms", key: "k" }).get(), undefined);
  assert.deepEqual(await catalog.bytes(), new Uint8Array(300_000).fill(120));
  await catalog.audit.send("apple");
  const error = await failure(catalog.bad());
  assert.ok(error instanceof CallError);
  assert.deepEqual([error.code, error.remoteName, error.remoteStack, error.message], ["service-error", "RangeError", "at there", "catalog.bad: no"]);
  const [first, second] = host.said("call");
  assert.deepEqual(first, { type: "call", id: first.id, service: "catalog", method: "get", payload: 8, text: '[1,"ä"]' });
  const { timeout, retries, attempt, key } = second;
  assert.deepEqual([timeout, retries, attempt, key], [2000, 3, 500, "k"]);
  assert.equal(host.said("send")[0].text, '["apple"]');
});

test("a stream is taken with credit, and cancelled", async (t) => {
  const host = await orchestrator(t, (message, payload, say) => {
    if (message.type === "call") {
      say({ type: "stream", id: message.id });
      for (let n = 0; n < 8; n += 1) say({ type: "item", id: message.id }, String(n));
    }
    if (message.type === "credit") for (let n = 0; n < message.items; n += 1) say({ type: "item", id: message.id }, '"more"');
  });
  const fabric = await host.attach();
  const seen = [];
  for await (const item of fabric.services.stock.changes()) if (seen.push(item) === 20) break;
  assert.deepEqual(seen.slice(0, 9), [0, 1, 2, 3, 4, 5, 6, 7, "more"]);
  await until(() => host.said("cancel").length === 1, "it is cancelled");
  assert.equal(host.said("cancel")[0].id, host.said("call")[0].id);
});

test("services are offered, called, and refused with the reason", async (t) => {
  const host = await orchestrator(t, (message, payload, say) => {
    if (message.type !== "offer" || !message.services.some(({ name }) => name === "secret")) return false;
    say({ type: "refused", rev: message.rev, error: { code: "denied", message: "the manifest has no elsewhere: secret" } });
    return true;
  });
  const fabric = await host.attach();
  const aborted = deferred();
  await fabric.register("billing", {
    charge: (amount) => ({ amount, from: current().from }),
    fails() {
      throw new TypeError("no");
    },
    waits: () => new Promise((resolve) => current().signal.addEventListener("abort", () => resolve(aborted.resolve()))),
    async *many() {
      for (let n = 0; n < 10; n += 1) yield n;
    },
  });
  const offer = host.said("offer").at(-1);
  assert.deepEqual([offer.rev, offer.name, offer.services], [2, "reports", [{ name: "billing", methods: ["charge", "fails", "waits", "many"] }]]);
  const refused = await failure(fabric.register("secret", { get() {} }));
  assert.deepEqual([refused.code, refused.message], ["denied", "the manifest has no elsewhere: secret"]);

  const [line] = host.lines;
  const invoke = (id, method, payload, more) => line.say({ type: "invoke", id, service: "billing", method, from: "web", timeout: 1000, ...more }, payload);
  const about = (id) => host.heard.filter((message) => message.id === id && !["subscribe"].includes(message.type));
  invoke(101, "charge", "[5]");
  await until(() => about(101).length === 1, "it answers");
  assert.deepEqual(JSON.parse(about(101)[0].text), { amount: 5, from: "web" });
  invoke(102, "fails");
  await until(() => about(102).length === 1, "it fails");
  assert.deepEqual([about(102)[0].type, about(102)[0].error.name, about(102)[0].error.message, about(102)[0].code], ["error", "TypeError", "no", undefined]);
  invoke(103, "nope");
  await until(() => about(103).length === 1, "it is not there");
  assert.equal(about(103)[0].code, "not-found");
  invoke(104, "waits");
  line.say({ type: "cancel", id: 104 });
  await aborted.promise;
  invoke(105, "many");
  await until(() => about(105).length === 9, "the window is full");
  line.say({ type: "credit", id: 105, items: 4 });
  await until(() => about(105).length === 12, "the rest");
  assert.deepEqual(about(105).map(({ type }) => type), ["stream", ...new Array(10).fill("item"), "end"]);
  invoke(106, "charge", "[6]", { one_way: true });
  await until(() => about(106).length === 1, "it is done");
  assert.deepEqual([about(106)[0].type, about(106)[0].text], ["reply", ""]);
  assert.equal(about(104).length, 0);
});

test("events and configuration go over the same line", async (t) => {
  const values = new Map();
  const host = await orchestrator(t, (message, payload, say) => {
    if (message.type === "emit") say({ type: "reply", id: message.id }, "3");
    if (message.type === "get-config") say({ type: "reply", id: message.id }, values.get(message.name) ?? "null");
    if (message.type === "set-config") {
      if (message.payload) values.set(message.name, payload.toString());
      else values.delete(message.name);
      say({ type: "config", service: message.service, name: message.name }, message.payload ? payload.toString() : undefined);
    }
  });
  const fabric = await host.attach();
  assert.equal(await fabric.emit("stock.changed", { sku: 1 }), 3);
  assert.deepEqual([host.said("emit")[0].event, host.said("emit")[0].text], ["stock.changed", '{"sku":1}']);
  const heard = [];
  const off = await fabric.on("stock.*", (data, about) => void heard.push([data, about]), { group: "g" });
  await fabric.on("stock.*", (data) => void heard.push(["all", data]));
  const [line] = host.lines;
  line.say({ type: "event", event: "stock.low", from: "web", groups: ["g"] }, "1");
  line.say({ type: "event", event: "stock.low", from: "web", all: true }, "2");
  await until(() => host.said("taken").length === 2, "both are dealt with");
  assert.deepEqual(heard, [[1, { event: "stock.low", from: "web" }], ["all", 2]]);
  await off();
  assert.deepEqual(host.said("unsubscribe").map(({ event, group }) => [event, group]), [["stock.*", "g"]]);

  const config = fabric.config("billing");
  const changes = [];
  config.watch((name, value) => void changes.push([name, value]));
  assert.equal(await config.get("limit"), null);
  await config.set("limit", { most: 3 });
  assert.deepEqual(await config.get("limit"), { most: 3 });
  await config.remove("limit");
  await until(() => changes.length === 2, "both changes are heard");
  assert.deepEqual(changes, [["limit", { most: 3 }], ["limit", undefined]]);
  assert.deepEqual(host.said("watch-config").map(({ service }) => service), ["billing"]);
});

test("when the line is lost, everything is there again on the next one", async (t) => {
  let isDeaf = true;
  const host = await orchestrator(t, (message, payload, say) => {
    if (message.type === "call" && !isDeaf) say({ type: "reply", id: message.id }, '"answered"');
  });
  const notices = [];
  const fabric = await host.attach({ onStatus: (status) => notices.push(status) });
  await fabric.register("billing", { charge() {} });
  await fabric.on("x.*", () => {}, { group: "g" });
  fabric.config("billing").watch(() => {});
  const lost = failure(fabric.services.stock.level());
  const retried = fabric.services.stock.options({ retries: 1 }).level();
  await until(() => host.said("call").length === 2, "both calls are there");
  isDeaf = false;
  host.heard.length = 0;
  host.lines[0].destroy();
  assert.equal((await lost).code, "unavailable");
  assert.equal((await failure(fabric.services.stock.level())).code, "unavailable");
  assert.equal(await retried, "answered");
  assert.equal(host.lines.length, 2);
  await until(() => host.said("watch-config").length === 1 && host.said("subscribe").length === 1, "all is there again");
  assert.deepEqual(host.said("offer").map(({ services }) => services.map(({ name }) => name)), [["billing"]]);
  assert.deepEqual(notices, ["up", "down", "up"]);
});

test("a call that is not answered is a timeout in any case, and closing ends all", async (t) => {
  const host = await orchestrator(t);
  const fabric = await host.attach();
  assert.equal((await failure(fabric.services.stock.options({ timeout: 20 }).level())).code, "timeout");
  await until(() => host.said("cancel").length === 1, "it is cancelled there, too");
  const pending = failure(fabric.services.stock.level());
  const ended = once(host.lines[0], "close");
  await fabric.close();
  await ended;
  assert.equal((await pending).code, "cancelled");
  assert.equal((await failure(fabric.emit("x"))).code, "unavailable");
});

test("where nobody is, and where somebody else is, attaching fails", async (t) => {
  const host = await orchestrator(t);
  const nobody = await failure(connect({ socket: path.join(host.folder, "none.sock") }));
  assert.match(nobody.message, /no orchestrator runs there/);
  const other = net.createServer((line) => line.end('HTTP/1.1 404 Not Found\r\n\r\n{"error":{"kind":"bad-request","message":"there is nothing at /v1/attach"}}'));
  const socket = path.join(host.folder, "other.sock");
  other.listen(socket);
  await once(other, "listening");
  t.after(() => other.close());
  assert.match((await failure(connect({ socket }))).message, /nothing at \/v1\/attach/);
  const before = process.env.XDG_RUNTIME_DIR;
  process.env.XDG_RUNTIME_DIR = host.folder;
  t.after(() => (before === undefined ? delete process.env.XDG_RUNTIME_DIR : (process.env.XDG_RUNTIME_DIR = before)));
  fs.mkdirSync(path.join(host.folder, "orchestrator", "shop"), { recursive: true });
  fs.symlinkSync(host.socket, path.join(host.folder, "orchestrator", "shop", "control.sock"));
  const fabric = await connect({ project: "shop" });
  assert.equal(fabric.status, "up");
  await fabric.close();
});
