({ parse, get, set, parseForm, writeForm }) => {
  const text = (value) => String(value).toWellFormed();

  function pairsOf(init) {
    if (typeof init !== "object" || init === null) {
      const flat = parseForm(text(init).replace(/^\?/, ""));
      return flat.flatMap((name, at) => (at % 2 === 0 ? [[name, flat[at + 1]]] : []));
    }
    const pairs = init[Symbol.iterator] ? Array.from(init, (pair) => Array.from(pair)) : Object.entries(init);
    if (pairs.some((pair) => pair.length !== 2)) throw new TypeError("URLSearchParams: not pairs of name and value");
    return pairs.map((pair) => pair.map(text));
  }

  // Lets a URL hear of changes to its searchParams, and change them, without either being seen by others.
  let connect;
  let refill;

  class URLSearchParams {
    #pairs;
    #changed = () => {};

    static {
      connect = (params, changed) => (params.#changed = changed);
      refill = (params, search) => (params.#pairs = pairsOf(search));
    }

    constructor(init = "") {
      this.#pairs = pairsOf(init);
    }

    get size() {
      return this.#pairs.length;
    }

    append(name, value) {
      this.#pairs.push([text(name), text(value)]);
      this.#changed();
    }

    delete(name, value) {
      this.#pairs = this.#pairs.filter((pair) => pair[0] !== text(name) || (value !== undefined && pair[1] !== text(value)));
      this.#changed();
    }

    get(name) {
      return this.#pairs.find((pair) => pair[0] === text(name))?.[1] ?? null;
    }

    getAll(name) {
      return this.#pairs.filter((pair) => pair[0] === text(name)).map((pair) => pair[1]);
    }

    has(name, value) {
      return this.#pairs.some((pair) => pair[0] === text(name) && (value === undefined || pair[1] === text(value)));
    }

    set(name, value) {
      const first = this.#pairs.findIndex((pair) => pair[0] === text(name));
      if (first === -1) return this.append(name, value);
      this.#pairs = this.#pairs.filter((pair, at) => at <= first || pair[0] !== text(name));
      this.#pairs[first] = [text(name), text(value)];
      this.#changed();
    }

    sort() {
      this.#pairs.sort(([one], [other]) => (one < other ? -1 : one > other ? 1 : 0));
      this.#changed();
    }

    forEach(callback, self) {
      for (const [name, value] of this) callback.call(self, value, name, this);
    }

    *entries() {
      for (const [name, value] of this.#pairs) yield [name, value];
    }

    *keys() {
      for (const [name] of this.#pairs) yield name;
    }

    *values() {
      for (const [, value] of this.#pairs) yield value;
    }

    [Symbol.iterator]() {
      return this.entries();
    }

    toString() {
      return writeForm(this.#pairs.flat());
    }
  }

  class URL {
    #href;
    #params;

    constructor(input, base) {
      const href = parse(text(input), base === undefined ? undefined : text(base));
      if (href == null) throw new TypeError(`Invalid URL: ${text(input)}`);
      this.#href = href;
    }

    static canParse(input, base) {
      return parse(text(input), base === undefined ? undefined : text(base)) != null;
    }

    static parse(input, base) {
      return URL.canParse(input, base) ? new URL(input, base) : null;
    }

    static {
      for (const part of ["protocol", "username", "password", "host", "hostname", "port", "pathname", "search", "hash"]) {
        Object.defineProperty(URL.prototype, part, {
          get() {
            return get(this.#href, part);
          },
          set(value) {
            this.#href = set(this.#href, part, text(value));
            if (part === "search" && this.#params) refill(this.#params, this.search);
          },
          enumerable: true,
          configurable: true,
        });
      }
    }

    get origin() {
      return get(this.#href, "origin");
    }

    get href() {
      return this.#href;
    }

    set href(value) {
      this.#href = new URL(value).href;
      if (this.#params) refill(this.#params, this.search);
    }

    get searchParams() {
      if (!this.#params) {
        this.#params = new URLSearchParams(this.search);
        connect(this.#params, () => (this.#href = set(this.#href, "search", this.#params.toString())));
      }
      return this.#params;
    }

    toString() {
      return this.#href;
    }

    toJSON() {
      return this.#href;
    }
  }

  return { URL, URLSearchParams };
};
