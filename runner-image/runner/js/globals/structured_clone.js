() => {
  const ERRORS = { EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError };

  function refuse(value) {
    throw new DOMException(`${typeof value === "object" ? "the object" : String(value)} could not be cloned`, "DataCloneError");
  }

  // What is copied as a whole.
  function leaf(value) {
    if (value instanceof Date) return new Date(value.getTime());
    if (value instanceof RegExp) return new RegExp(value.source, value.flags);
    if (value instanceof Boolean || value instanceof Number || value instanceof String) return Object(value.valueOf());
    if (value instanceof ArrayBuffer) return value.slice(0);
    if (value instanceof Promise || value instanceof WeakMap || value instanceof WeakSet) refuse(value);
  }

  // An empty object of the same kind, and what fills it.
  function shell(value, clone) {
    if (Array.isArray(value)) return [new Array(value.length), (copy) => own(value, copy, clone)];
    if (value instanceof Map) {
      return [new Map(), (copy) => value.forEach((item, key) => copy.set(clone(key), clone(item)))];
    }
    if (value instanceof Set) return [new Set(), (copy) => value.forEach((item) => copy.add(clone(item)))];
    if (value instanceof Error) {
      const copy = new (ERRORS[value.name] ?? Error)(value.message);
      Object.defineProperty(copy, "stack", { value: value.stack, writable: true, configurable: true });
      return [copy, () => "cause" in value && (copy.cause = clone(value.cause))];
    }
    return [{}, (copy) => own(value, copy, clone)];
  }

  function own(value, copy, clone) {
    for (const key of Object.keys(value)) copy[key] = clone(value[key]);
  }

  function structuredClone(value) {
    const copies = new Map();
    const clone = (value) => {
      if (typeof value === "function" || typeof value === "symbol") refuse(value);
      if (typeof value !== "object" || value === null) return value;
      if (copies.has(value)) return copies.get(value);
      if (ArrayBuffer.isView(value)) {
        const copy = new value.constructor(clone(value.buffer), value.byteOffset, value.length ?? value.byteLength);
        copies.set(value, copy);
        return copy;
      }
      const whole = leaf(value);
      const [copy, fill] = whole === undefined ? shell(value, clone) : [whole, () => {}];
      copies.set(value, copy);
      fill(copy);
      return copy;
    };
    return clone(value);
  }

  return { structuredClone };
};
