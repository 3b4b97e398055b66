// Calls over a fabric: values, errors, deadlines, retries, sends and streams.
import assert from "node:assert/strict";
import { test } from "node:test";
import { CallError, current } from "../index.mjs";
import { deferred, failure, sees, start, until, withoutRedis } from "./support/help.mjs";

const skip = withoutRedis;

async function pair(t, methods, options) {
  const redis = await start(t);
  const [server, client] = [await redis.join("server"), await redis.join("client")];
  const service = await server.register("one", methods, options);
  await sees(client, "one");
  return { redis, server, client, service, one: client.services.one };
}

test("a call brings what the method returns, namespaces have dots", { skip }, async (t) => {
  class Counter {
    count = 3;
    next() {
      return (this.count += 1);
    }
    _hidden() {}
  }
  const { one, client } = await pair(t, {
    add: (a, b) => a + b,
    later: async (value) => value,
    admin: { deep: { reset: (...values) => values.length } },
    counter: new Counter(),
    get version() {
      return "7";
    },
    nothing() {},
    list: [() => 1],
  });
  assert.equal(await one.add(1, 2), 3);
  assert.deepEqual(await one.later({ a: ["ä", null, 1.5] }), { a: ["ä", null, 1.5] });
  assert.equal(await one.admin.deep.reset(1, 2), 2);
  assert.equal(await one.admin.deep.reset(), 0);
  assert.equal(await one.counter.next(), 4);
  assert.equal(await one.version(), "7");
  assert.equal(await one.nothing(), undefined);
  assert.equal(await client.call("one", "add", [20, 3]), 23);
  assert.equal(await client.call("one", "add", [20, 3], { timeout: "2s", retries: 1, attempt: 500, key: "k" }), 23);
  const [{ methods }] = client.members().find((member) => member.name === "server").services;
  assert.deepEqual(methods.sort(), ["add", "admin.deep.reset", "counter.next", "later", "nothing", "version"]);
});

test("bytes travel both ways, anywhere in a value", { skip }, async (t) => {
  const { one } = await pair(t, { echo: (value) => value, size: (bytes) => [bytes instanceof Uint8Array, bytes.length] });
  const big = new Uint8Array(300_000).map((_, index) => index);
  assert.deepEqual(await one.size(big), [true, 300_000]);
  assert.deepEqual(await one.echo(big), big);
  const mixed = { a: [new Uint8Array([1, 2]), { $bytes: "own" }], "$bytes": 5, e: new Uint8Array(0), t: "ü" };
  assert.deepEqual(await one.echo(mixed), mixed);
  assert.deepEqual(await one.echo(Buffer.from("ab")), new Uint8Array([97, 98]));
  assert.deepEqual(await one.echo({ $bytes: [0, 1] }), { $bytes: [0, 1] });
});

test("what was thrown comes with its name, message and stack", { skip }, async (t) => {
  const { one } = await pair(t, {
    bad() {
      throw new RangeError("too far", { cause: new Error("the reason") });
    },
    async worse() {
      throw "a text";
    },
    relayed() {
      throw new CallError({ code: "denied", message: "not you" });
    },
    strange: () => 1n,
  });
  const error = await failure(one.bad());
  assert.ok(error instanceof CallError && error instanceof Error);
  const { code, service, method, remoteName, remoteStack, message } = error;
  assert.deepEqual({ code, service, method, remoteName, message }, { code: "service-error", service: "one", method: "bad", remoteName: "RangeError", message: "one.bad: too far" });
  assert.match(remoteStack, /calls\.test\.mjs/);
  assert.match(remoteStack, /caused by Error: the reason/);
  assert.equal((await failure(one.worse())).message, "one.worse: a text");
  assert.equal((await failure(one.relayed())).code, "denied");
  assert.equal((await failure(one.strange())).remoteName, "TypeError");
});

test("what is not there is said, and what is too long", { skip }, async (t) => {
  const { one, client } = await pair(t, { echo: (value) => value, long: () => "x".repeat(17 << 20) });
  assert.equal((await failure(one.nope())).code, "not-found");
  assert.equal((await failure(client.services.nobody.get())).code, "unavailable");
  assert.equal((await failure(one.echo("x".repeat(17 << 20)))).code, "too-large");
  assert.equal((await failure(one.long())).code, "too-large");
  const text = "ä".repeat(3 << 20);
  assert.equal((await one.echo(text)).length, text.length);
});

test("who calls and for how long is known to the method, and what it calls has no more time", { skip }, async (t) => {
  const waits = deferred();
  const nested = deferred();
  const { server, one } = await pair(t, {
    about() {
      const { from, deadline, service, method } = current();
      return { from, service, method, isSoon: deadline - Date.now() <= 5000 };
    },
    never: () => waits.promise,
    nested: async () => nested.resolve(await failure(server.services.one.options({ timeout: "1h" }).never())),
  });
  assert.deepEqual(await one.options({ timeout: "5s" }).about(), { from: "@program@client", service: "one", method: "about", isSoon: true });
  assert.equal(current(), undefined);
  assert.equal((await failure(one.options({ timeout: 200 }).nested())).code, "timeout");
  // Whichever comes first: its own end of time, or the news that nobody waits.
  assert.ok(["timeout", "cancelled"].includes((await nested.promise).code));
});

test("a call that takes too long is a timeout, and the method hears of it", { skip }, async (t) => {
  const aborted = deferred();
  const { one, client } = await pair(t, {
    slow: () =>
      new Promise((resolve) => {
        const { signal } = current();
        signal.addEventListener("abort", () => {
          aborted.resolve(true);
          resolve("late");
        });
      }),
    echo: (value) => value,
  });
  assert.equal((await failure(one.options({ timeout: 50 }).slow())).code, "timeout");
  assert.equal(await aborted.promise, true);
  assert.equal(await one.echo(1), 1);
  assert.equal(client.counts.late, 0);
});

test("an answer that comes late is dropped and counted", { skip }, async (t) => {
  const waits = deferred();
  const { one, client, server } = await pair(t, { slow: () => waits.promise, echo: (value) => value });
  // It answers before it can have heard that nobody waits any more.
  server.serving.cancelled = () => {};
  assert.equal((await failure(one.options({ timeout: 50 }).slow())).code, "timeout");
  waits.resolve("late");
  await until(() => client.counts.late === 1, "it is counted");
});

test("an AbortSignal cancels", { skip }, async (t) => {
  const called = deferred();
  const aborted = deferred();
  const { one } = await pair(t, {
    slow() {
      called.resolve();
      return new Promise((resolve) => current().signal.addEventListener("abort", () => (aborted.resolve(), resolve())));
    },
  });
  const controller = new AbortController();
  const call = failure(one.options({ signal: controller.signal }).slow());
  await called.promise;
  controller.abort();
  assert.equal((await call).code, "cancelled");
  await aborted.promise;
  assert.equal((await failure(one.options({ signal: controller.signal }).slow())).code, "cancelled");
});

test("a service takes as many calls as it was told, and not one more", { skip }, async (t) => {
  const waits = deferred();
  let most = 0;
  let running = 0;
  const methods = {
    async wait() {
      running += 1;
      most = Math.max(most, running);
      await waits.promise;
      running -= 1;
      return "done";
    },
  };
  const { one } = await pair(t, methods, { maxInFlight: 3 });
  const calls = Array.from({ length: 10 }, () => one.wait().catch((error) => error.code));
  const patient = one.options({ retries: -1 }).wait();
  await until(() => running === 3, "three run");
  const refused = await Promise.all(calls.slice(3));
  assert.deepEqual(refused, new Array(7).fill("overloaded"));
  waits.resolve();
  assert.deepEqual(await Promise.all(calls.slice(0, 3)), ["done", "done", "done"]);
  assert.equal(await patient, "done");
  assert.equal(most, 3);
});

test("retries try again where that may help, and only there", { skip }, async (t) => {
  let runs = 0;
  const { one } = await pair(t, {
    flaky() {
      runs += 1;
      if (runs < 3) throw new CallError({ code: "unavailable", message: "not yet" });
      return runs;
    },
    broken() {
      runs += 1;
      throw new Error("for good");
    },
    hangs() {
      runs += 1;
      return runs < 2 ? new Promise(() => {}) : runs;
    },
  });
  assert.equal((await failure(one.flaky())).code, "unavailable");
  assert.equal(runs, 1);
  runs = 0;
  assert.equal((await failure(one.options({ retries: 1 }).flaky())).code, "unavailable");
  assert.equal(runs, 2);
  runs = 0;
  assert.equal(await one.options({ retries: 2 }).flaky(), 3);
  runs = 0;
  assert.equal(await one.options({ retries: -1 }).flaky(), 3);
  runs = 0;
  assert.equal((await failure(one.options({ retries: -1 }).broken())).code, "service-error");
  assert.equal(runs, 1);
  runs = 0;
  assert.equal((await failure(one.options({ attempt: 50 }).hangs())).code, "timeout");
  runs = 0;
  assert.equal(await one.options({ attempt: 200, retries: 1 }).hangs(), 2);
});

test("a call with retries waits for somebody who offers it", { skip }, async (t) => {
  const redis = await start(t);
  const [server, client] = [await redis.join("server"), await redis.join("client")];
  const call = client.services.late.options({ retries: 1 }).get();
  await server.register("late", { get: () => "here" });
  assert.equal(await call, "here");
  const none = client.call("never", "get", [], { retries: -1, timeout: 50 });
  assert.equal((await failure(none)).code, "timeout");
});

test("a send is done once somebody has it", { skip }, async (t) => {
  const heard = [];
  const waits = deferred();
  const complaints = [];
  const redis = await start(t);
  const [server, client] = [await redis.join("server", { onError: (error, what) => complaints.push(what) }), await redis.join("client")];
  await server.register("one", {
    async touch(value) {
      heard.push([value, current().from]);
      await waits.promise;
      throw new Error("nobody hears this");
    },
  });
  await sees(client, "one");
  assert.equal(await client.services.one.touch.send(1), undefined);
  assert.equal(await client.send("one", "touch", [2]), undefined);
  assert.deepEqual(heard, [[1, "@program@client"], [2, "@program@client"]]);
  waits.resolve();
  await until(() => complaints.length === 2, "what they have thrown is told here");
  assert.equal((await failure(client.send("one", "nope"))).code, "not-found");
});

test("a stream comes as fast as it is taken", { skip }, async (t) => {
  let made = 0;
  const { one } = await pair(t, {
    async *count(until) {
      for (let n = 0; n < until; n += 1) {
        made += 1;
        yield n;
      }
    },
    *bytes() {
      yield new Uint8Array([1]);
      yield new Uint8Array([2]);
    },
    async *fails() {
      yield 1;
      throw new RangeError("in the middle");
    },
    list: () => [1, 2],
  });
  const all = [];
  for await (const item of one.count(100)) all.push(item);
  assert.deepEqual(all, Array.from({ length: 100 }, (_, index) => index));
  made = 0;
  const stream = await one.count(1000);
  await until(() => made >= 8, "the window is full");
  await one.list();
  assert.ok(made <= 9, `${made} were made, and nobody has taken any`);
  assert.deepEqual(await stream.next(), { done: false, value: 0 });
  await stream.return();
  const parts = [];
  for await (const part of one.bytes()) parts.push(part);
  assert.deepEqual(parts, [new Uint8Array([1]), new Uint8Array([2])]);
  const seen = [];
  const error = await failure((async () => { for await (const item of one.fails()) seen.push(item); })());
  assert.deepEqual([seen, error.code, error.remoteName], [[1], "service-error", "RangeError"]);
  assert.deepEqual(await one.list(), [1, 2]);
  assert.equal((await failure((async () => { for await (const _ of one.list()); })())).name, "TypeError");
});

test("leaving a stream ends its generator, and a signal does", { skip }, async (t) => {
  const ended = [];
  const { one, client } = await pair(t, {
    async *forever(name) {
      try {
        for (let n = 0; ; n += 1) yield n;
      } finally {
        ended.push(name);
      }
    },
  }, { maxInFlight: 1 });
  for await (const item of one.forever("left")) if (item === 20) break;
  await until(() => ended.includes("left"), "the first has ended");
  const controller = new AbortController();
  const error = await failure((async () => {
    for await (const item of client.call("one", "forever", ["aborted"], { signal: controller.signal, retries: -1 })) {
      if (item === 3) controller.abort();
    }
  })());
  assert.equal(error.code, "cancelled");
  await until(() => ended.includes("aborted"), "the second has ended");
  const late = await failure((async () => { for await (const _ of one.options({ timeout: 100, retries: -1 }).forever("late")); })());
  assert.equal(late.code, "timeout");
  await until(() => ended.includes("late"), "the third has ended");
});

test("a closed service finishes what is under way, and takes nothing more", { skip }, async (t) => {
  const waits = deferred();
  const called = deferred();
  const { client, one, service, server } = await pair(t, {
    wait() {
      called.resolve();
      return waits.promise;
    },
    async *forever() {
      for (;;) yield 1;
    },
  });
  const call = one.wait();
  const stream = await one.forever();
  await called.promise;
  const closed = service.close();
  await sees(client, "one", 0);
  assert.equal((await failure(one.wait())).code, "unavailable");
  const error = await failure((async () => { for await (const _ of stream); })());
  assert.equal(error.code, "unavailable");
  waits.resolve("finished");
  assert.equal(await call, "finished");
  await closed;
  await server.register("one", { wait: () => "again" });
  assert.equal(await one.options({ retries: -1 }).wait(), "again");
});

test("a program can call its own services", { skip }, async (t) => {
  const { server } = await pair(t, { echo: (value) => value });
  assert.equal(await server.services.one.echo(5), 5);
});
