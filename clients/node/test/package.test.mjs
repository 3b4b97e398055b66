// The package itself: both ways to load it, its types, and what is said to whoever uses it wrongly.
import assert from "node:assert/strict";
import { inspect } from "node:util";
import { execFileSync, spawnSync } from "node:child_process";
import fs from "node:fs";
import { createRequire } from "node:module";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import * as imported from "orchestrator-client";
import { failure, key, start, withoutRedis } from "./support/help.mjs";

const require = createRequire(import.meta.url);
const here = fileURLToPath(new URL(".", import.meta.url));
const compiler = fileURLToPath(new URL("../node_modules/.bin/tsc", import.meta.url));

test("import and require give the same implementation", () => {
  const required = require("orchestrator-client");
  for (const name of ["connect", "current", "CallError"]) assert.equal(imported[name], required[name]);
  assert.deepEqual(Object.keys(imported).sort(), ["CallError", "connect", "current"]);
  const said = execFileSync(process.execPath, ["-e", 'console.log(typeof require("orchestrator-client").connect)'], { cwd: here });
  assert.equal(String(said), "function\n");
  const { dependencies } = require("orchestrator-client/package.json");
  assert.equal(dependencies, undefined, "it needs no other package");
});

test("the types hold", { skip: fs.existsSync(compiler) ? false : "there is no TypeScript: npm install brings it" }, () => {
  const { status, stdout } = spawnSync(compiler, ["--noEmit", "-p", fileURLToPath(new URL("types", import.meta.url))]);
  assert.equal(status, 0, String(stdout));
});

test("what is wrong is said in one line, with what would be right", async () => {
  const redis = "redis://localhost";
  const wrong = [
    [undefined, /connect\(\{ redis/],
    [{}, /it is not said where/],
    [{ redis, socket: "/x", key }, /exclude each other/],
    [{ redis }, /key is missing.*openssl rand/],
    [{ redis, key: "short" }, /key has 5 bytes, and needs 32/],
    [{ redis: "localhost:6379", key }, /redis:\/\/localhost:6379/],
    [{ redis: "http://localhost", key }, /begins with http:/],
    [{ redis: "redis://u:topsecret@[bad/0", key }, /this text is none/],
    [{ redis: `${redis}/shop`, key }, /stands no number/],
    [{ redis: { hots: "x" }, key }, /there is no option 'hots'; there are host/],
    [{ redis: { port: 70_000 }, key }, /redis\.port is a whole number/],
    [{ redis, key, name: "My Program" }, /name has lower-case letters/],
    [{ redis, key, prefix: "a b" }, /prefix is a text/],
    [{ redis, key, timeot: 5 }, /there is no option 'timeot'/],
    [{ redis, key, timeout: "soon" }, /timeout is a number of milliseconds or a text such as "1m30s"/],
    [{ redis, key, timeout: 5 }, /timeout is a whole number from 100/],
    [{ project: "../x" }, /project has lower-case letters/],
    [{ project: "shop", key }, /there is no option 'key'/],
    [{ socket: 5 }, /socket is the path/],
  ];
  for (const [options, text] of wrong) {
    const error = await failure(imported.connect(options));
    assert.ok(error instanceof TypeError, String(error));
    assert.match(error.message, text);
    assert.doesNotMatch(error.message, /\n|topsecret/);
  }
});

test("what a program asks for wrongly is said, too", { skip: withoutRedis }, async (t) => {
  const redis = await start(t);
  const fabric = await redis.join("one");
  assert.equal(inspect(fabric), 'Fabric { name: "one", status: "up" }', "no key is shown");
  const thrown = (deed, text) => assert.throws(deed, text);
  thrown(() => fabric.services.one.options({ retires: 1 }), /there is no option 'retires'; there are timeout, retries/);
  thrown(() => fabric.services.one.options({ retries: -2 }), /retries is a whole number from -1/);
  thrown(() => fabric.services.one.options({ timeout: "2 s" }), /timeout is a number of milliseconds/);
  thrown(() => fabric.services.one.options({ signal: true }), /AbortSignal/);
  thrown(() => fabric.services.one(), /no method without a name/);
  thrown(() => fabric.call("one", "get", 5), /a list/);
  thrown(() => fabric.call("", "get"), /a service's name/);
  thrown(() => fabric.config("x").watch(5), /no function/);
  const rejected = async (promise, text) => assert.match((await failure(promise)).message, text);
  await rejected(fabric.emit("a b"), /no spaces/);
  await rejected(fabric.emit("a.*"), /'\*'/);
  await rejected(fabric.on("a*", () => {}), /'\*' is the last part/);
  await rejected(fabric.on("a"), /no function/);
  await rejected(fabric.on("a", () => {}, { gruop: "x" }), /no option 'gruop'/);
  await rejected(fabric.register("Bad Name", { get() {} }), /lower-case/);
  await rejected(fabric.register("one", {}), /an object with functions/);
  await rejected(fabric.register("one", { get() {} }, { maxInFlight: 0 }), /maxInFlight is a whole number/);
  await fabric.register("one", { get() {} });
  await rejected(fabric.register("one", { get() {} }), /registered already/);
  await rejected(fabric.config("x").get(""), /1 to 256 bytes/);
  await rejected(fabric.config("x").set("a", undefined), /remove\(name\)/);
});
