() => {
  const NO_BODY = [204, 205, 304];

  // Only what is given this makes a Request or a Response of what has come from outside.
  const INSIDE = {};
  let contentOf;
  let headersOf;
  let typed;
  let abort;

  class Headers {
    #values = new Map();
    // These cannot be joined: each is a header of its own.
    #cookies = [];

    constructor(init = {}) {
      const pairs = init?.[Symbol.iterator] ? init : Object.entries(init ?? {});
      for (const [name, value] of pairs) this.append(name, value);
    }

    append(name, value) {
      const key = String(name).toLowerCase();
      if (key === "set-cookie") this.#cookies.push(String(value));
      else this.#values.set(key, this.#values.has(key) ? `${this.#values.get(key)}, ${value}` : String(value));
    }

    delete(name) {
      const key = String(name).toLowerCase();
      if (key === "set-cookie") this.#cookies = [];
      else this.#values.delete(key);
    }

    get(name) {
      const key = String(name).toLowerCase();
      if (key === "set-cookie") return this.#cookies.length > 0 ? this.#cookies.join(", ") : null;
      return this.#values.get(key) ?? null;
    }

    getSetCookie() {
      return [...this.#cookies];
    }

    has(name) {
      return this.get(name) !== null;
    }

    set(name, value) {
      this.delete(name);
      this.append(name, value);
    }

    forEach(callback, self) {
      for (const [name, value] of this) callback.call(self, value, name, this);
    }

    *keys() {
      for (const [name] of this) yield name;
    }

    *values() {
      for (const [, value] of this) yield value;
    }

    *entries() {
      yield* this.#values;
      for (const cookie of this.#cookies) yield ["set-cookie", cookie];
    }

    [Symbol.iterator]() {
      return this.entries();
    }
  }

  function bytesOf(value) {
    if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
    return value instanceof ArrayBuffer ? new Uint8Array(value) : undefined;
  }

  const comesInPieces = (value) => typeof value[Symbol.asyncIterator] === "function" || typeof value.next === "function";

  // What a body is made of (a text, bytes, what yields either, or null for nothing), and what it says that it is where nobody
  // says more.
  function bodyOf(body) {
    if (body === undefined || body === null) return [null, undefined];
    if (typeof body === "string") return [body, "text/plain;charset=UTF-8"];
    if (body instanceof URLSearchParams) return [String(body), "application/x-www-form-urlencoded;charset=UTF-8"];
    const bytes = bytesOf(body);
    if (bytes !== undefined) return [bytes, undefined];
    if (typeof body === "object" && comesInPieces(body)) return [body, undefined];
    throw new TypeError("a body is a text, an ArrayBuffer, a view of one, or what yields these");
  }

  async function collected(pieces) {
    const all = [];
    let length = 0;
    for await (const piece of pieces) {
      const bytes = typeof piece === "string" ? new TextEncoder().encode(piece) : bytesOf(piece);
      if (bytes === undefined) throw new TypeError("a piece of a body is a text, an ArrayBuffer, or a view of one");
      all.push(bytes);
      length += bytes.length;
    }
    const whole = new Uint8Array(length);
    let at = 0;
    for (const bytes of all) {
      whole.set(bytes, at);
      at += bytes.length;
    }
    return whole;
  }

  function* pairsOf(lines) {
    for (const line of lines.split("\n")) {
      const end = line.indexOf(":");
      if (end > 0) yield [line.slice(0, end), line.slice(end + 1)];
    }
  }

  class Body {
    #content;
    #type;
    #headers;

    // Headers are a Headers, or lines of `name:value`.
    constructor(content, type, headers) {
      this.#content = content;
      this.#type = type;
      this.#headers = headers;
    }

    static {
      contentOf = (body) => body.#content;
      typed = (body, type) => {
        body.#type = type;
        return body;
      };
      headersOf = (body) => {
        if (body.#headers !== undefined) return body.headers;
        return body.#type === undefined ? [] : [["content-type", body.#type]];
      };
    }

    get headers() {
      if (!(this.#headers instanceof Headers)) this.#headers = new Headers(pairsOf(this.#headers ?? ""));
      if (this.#type !== undefined && !this.#headers.has("content-type")) this.#headers.set("content-type", this.#type);
      this.#type = undefined;
      return this.#headers;
    }

    async bytes() {
      const content = this.#content;
      if (content === null) return new Uint8Array(0);
      if (typeof content === "string") return new TextEncoder().encode(content);
      return content instanceof Uint8Array ? content.slice() : await collected(content);
    }

    async arrayBuffer() {
      return (await this.bytes()).buffer;
    }

    async text() {
      const content = this.#content;
      if (content === null) return "";
      if (typeof content === "string") return content;
      return new TextDecoder().decode(content instanceof Uint8Array ? content : await collected(content));
    }

    async json() {
      return JSON.parse(await this.text());
    }
  }

  class Request extends Body {
    #method;
    #url;
    #signal;
    // Once somebody wants to know whether the client is still there.
    #controller;
    #gone = false;

    constructor(input, init, inside) {
      if (inside === INSIDE) {
        super(init.body, undefined, init.headers);
        this.#method = init.method;
        this.#url = input;
        return;
      }
      const { method = "GET", headers, body, signal } = init ?? {};
      const [content, type] = bodyOf(body);
      super(content, type, new Headers(headers));
      this.#method = String(method).toUpperCase();
      this.#url = new URL(String(input)).href;
      this.#signal = signal;
      if (content !== null && ["GET", "HEAD"].includes(this.#method)) throw new TypeError(`a ${this.#method} has no body`);
    }

    static {
      abort = (request) => {
        request.#gone = true;
        request.#controller?.abort();
      };
    }

    get method() {
      return this.#method;
    }

    get url() {
      return this.#url;
    }

    get signal() {
      if (this.#signal === undefined) {
        this.#controller = new AbortController();
        this.#signal = this.#controller.signal;
        if (this.#gone) this.#controller.abort();
      }
      return this.#signal;
    }
  }

  class Response extends Body {
    #status;
    #statusText;
    #url = "";

    constructor(body, init, inside) {
      if (inside === INSIDE) {
        super(body, undefined, new Headers(init.headers));
        this.#status = init.status;
        this.#statusText = "";
        this.#url = init.url;
        return;
      }
      const { status = 200, statusText = "", headers } = init ?? {};
      const [content, type] = bodyOf(body);
      super(content, type, headers === undefined ? undefined : new Headers(headers));
      if (!Number.isInteger(status) || status < 200 || status > 599) throw new RangeError(`the status of a response is from 200 to 599, not ${status}`);
      if (content !== null && NO_BODY.includes(status)) throw new TypeError(`a response with the status ${status} has no body`);
      this.#status = status;
      this.#statusText = String(statusText);
    }

    static json(value, init) {
      const text = JSON.stringify(value);
      if (text === undefined) throw new TypeError("Response.json: there is no JSON for this value");
      return typed(new Response(text, init), "application/json");
    }

    get status() {
      return this.#status;
    }

    get statusText() {
      return this.#statusText;
    }

    get ok() {
      return this.#status >= 200 && this.#status < 300;
    }

    get url() {
      return this.#url;
    }
  }

  return {
    Headers,
    Request,
    Response,
    // For the host's own scripts.
    bodyOf,
    bytesOf,
    contentOf,
    headersOf,
    abort,
    request: (url, method, headers, body) => new Request(url, { method, headers, body }, INSIDE),
    response: (bytes, parts) => new Response(bytes, parts, INSIDE),
  };
};
