const text = "h\u00e9 \u2603 \u{1f980}";
const bytes = new TextEncoder().encode(text);
const decoder = new TextDecoder("utf-8");
let streamed = "";
for (const byte of bytes) streamed += decoder.decode(new Uint8Array([byte]), { stream: true });
console.log(bytes.length, new TextDecoder().decode(bytes) === text, streamed + decoder.decode() === text);
console.log(new TextDecoder().decode(new Uint8Array([0xef, 0xbb, 0xbf, 97, 0xff])) === "a\ufffd");
try {
  new TextDecoder("utf-8", { fatal: true }).decode(new Uint8Array([0xff]));
} catch (error) {
  console.log(error.name);
}

const url = new URL("../list?a=1&b=%20#top", "https://u:p@example.com:8080/x/y");
url.searchParams.append("c", "d e");
url.hash = "";
url.port = "443";
console.log(url.href, url.origin, url.pathname, [...url.searchParams.keys()]);
console.log(URL.canParse("no url"), String(new URLSearchParams({ q: "\u00e9" })), new URLSearchParams("?a=1&a=2").getAll("a"));

console.log(crypto.getRandomValues(new Uint32Array(4)).some((word) => word !== 0));
console.log(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/.test(crypto.randomUUID()));
console.log(atob(btoa("bytes")), typeof performance.now());

const cycle = { when: new Date(0), set: new Set([1]), map: new Map([["k", [1]]]) };
cycle.self = cycle;
const copy = structuredClone(cycle);
console.log(copy !== cycle && copy.self === copy && copy.set.has(1) && copy.when.getTime() === 0 && copy.map.get("k")[0]);
try {
  structuredClone(() => {});
} catch (error) {
  console.log(error.name);
}

const order = [];
await new Promise((done) => {
  const interval = setInterval(() => {
    order.push("interval");
    clearInterval(interval);
    setTimeout(done, 5);
  }, 20);
  setTimeout((word) => order.push(word), 1, "timeout");
  clearTimeout(setTimeout(() => order.push("never"), 1));
  queueMicrotask(() => order.push("microtask"));
  order.push("now");
});
console.log(order.join(" "));
console.log("%s has %d of %j %%", "a", 2, { b: 1 }, "and", [1, "two", null, undefined, { three: 3n }]);
console.log({ nested: { deeper: { deepest: { hidden: 1 } } }, f() {}, s: "it's", d: new Date(0) }, new Map([[1, new Set([2])]]));
console.log(Symbol("s"), -0, [], {}, Object.create(null), /x/g, true);
