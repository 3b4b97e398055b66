({ ask, abort, append, appendText, secret, web }) => {
  const IN_FLIGHT = 16;
  const LONGEST = 64 << 20;
  const CHUNK = 8192;
  const REDIRECTS = 10;

  let open = 0;
  const waiting = [];

  function fail(error, code, message) {
    error.message = message;
    error.code = code;
    return error;
  }

  function give(body) {
    if (typeof body === "string") return appendText(body);
    for (let at = 0; at < body.length; at += CHUNK) {
      append(String.fromCharCode.apply(null, body.subarray(at, at + CHUNK)));
    }
  }

  // Asks for something to be done outside; resolves to what came of it, and the bytes or the text that came with it.
  function call(request, { body = "", text = false, signal } = {}) {
    // Made here, so that its stack leads to who has called.
    const error = new Error("");
    if (body.length > LONGEST) throw fail(error, "limit", `more than ${LONGEST >> 20} MiB at one time`);
    return new Promise((resolve, reject) => {
      let id;
      const stop = () => {
        if (id !== undefined) abort(id);
        reject(signal.reason);
      };
      const answered = (answer, payload) => {
        open -= 1;
        signal?.removeEventListener("abort", stop);
        waiting.shift()?.();
        const done = JSON.parse(answer);
        if (done.failed) reject(fail(error, done.failed.code, done.failed.message));
        else resolve({ ...done, payload });
      };
      const begin = () => {
        if (signal?.aborted) return waiting.shift()?.();
        give(body);
        id = ask(JSON.stringify(request), text, answered);
        open += 1;
      };
      if (signal?.aborted) return stop();
      signal?.addEventListener("abort", stop);
      if (open < IN_FLIGHT) return begin();
      // What is written is what was there when it was asked for.
      if (typeof body !== "string") body = body.slice();
      waiting.push(begin);
    });
  }

  function bytesOf(value, what) {
    if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
    if (value instanceof ArrayBuffer) return new Uint8Array(value);
    throw new TypeError(`${what}: neither an ArrayBuffer nor a view of one`);
  }

  function pathOf(path) {
    if (typeof path !== "string") throw new TypeError(`a path is a text, not ${path === null ? "null" : typeof path}`);
    return path;
  }

  const fs = {
    async read(path) {
      return (await call({ do: "read", path: pathOf(path) })).payload;
    },
    async readText(path) {
      return (await call({ do: "read", path: pathOf(path) }, { text: true })).payload;
    },
    async write(path, bytes) {
      await call({ do: "write", path: pathOf(path) }, { body: bytesOf(bytes, "fs.write") });
    },
    async writeText(path, text) {
      await call({ do: "write", path: pathOf(path) }, { body: String(text) });
    },
    async list(path) {
      return JSON.parse((await call({ do: "list", path: pathOf(path) }, { text: true })).payload);
    },
    async remove(path) {
      await call({ do: "remove", path: pathOf(path) });
    },
    async stat(path) {
      const { kind, size, modified } = (await call({ do: "stat", path: pathOf(path) })).stat;
      return { kind, size, modified: new Date(modified) };
    },
    async makeFolder(path) {
      await call({ do: "make-folder", path: pathOf(path) });
    },
  };

  // What a redirect is followed with.
  function redirected({ method, url, headers, body }, status, location) {
    const to = new URL(location, url);
    const plain = status === 303 ? method !== "HEAD" : status < 303 && method === "POST";
    const kept = new (web().Headers)(headers);
    if (plain) for (const name of ["content-type", "content-encoding", "content-language"]) kept.delete(name);
    if (to.origin !== new URL(url).origin) for (const name of ["authorization", "cookie"]) kept.delete(name);
    return { method: plain ? "GET" : method, url: to.href, headers: kept, body: plain ? "" : body };
  }

  async function fetch(resource, { method = "GET", headers, body, signal, redirect = "manual" } = {}) {
    const { Headers, bodyOf, response } = web();
    const [content, type] = bodyOf(body);
    const given = content ?? "";
    if (typeof given !== "string" && !(given instanceof Uint8Array)) throw new TypeError("fetch: the body of a request cannot come in pieces");
    let request = { method: String(method).toUpperCase(), url: String(resource), headers: new Headers(headers), body: given };
    if (!["manual", "follow", "error"].includes(redirect)) throw new TypeError(`fetch: redirect cannot be '${redirect}'`);
    if (given.length > 0 && ["GET", "HEAD"].includes(request.method)) throw new TypeError(`fetch: ${request.method} has no body`);
    if (type && !request.headers.has("content-type")) request.headers.set("content-type", type);
    for (let hop = 0; hop <= REDIRECTS; hop += 1) {
      const { method, url, headers, body } = request;
      const asked = { do: "fetch", method, url, headers: [...headers] };
      const answered = await call(asked, { body, signal });
      const answer = response(answered.payload, answered.response);
      const location = [301, 302, 303, 307, 308].includes(answer.status) ? answer.headers.get("location") : null;
      if (location === null || redirect === "manual") return answer;
      if (redirect === "error") throw new TypeError(`fetch: ${url} leads to ${location}`);
      request = redirected(request, answer.status, location);
    }
    throw new TypeError(`fetch: more than ${REDIRECTS} redirects`);
  }

  const secrets = {
    get(name) {
      const { value, code, message } = secret(String(name));
      if (code !== undefined) throw fail(new Error(""), code, message);
      return value;
    },
  };

  return { fs, fetch, secrets };
};
