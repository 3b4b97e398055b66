// What a module offers as a service, in every JavaScript host: docs/services.md.

const HOOKS = ["start", "close", "health"];
const DEPTH = 8;

export const isBytes = (value) => ArrayBuffer.isView(value) || value instanceof ArrayBuffer;

// Why a call has no result.
export class ServiceError extends Error {
  constructor({ code = "service-error", message = "", service = "", method = "", name = "", stack = "" }) {
    super(service === "" ? message : `${service}.${method}: ${message}`);
    this.name = "ServiceError";
    this.code = code;
    this.service = service;
    this.method = method;
    this.remoteName = name;
    this.remoteStack = stack;
  }
}

const isClass = (value) => /^class\b/.test(Function.prototype.toString.call(value));

// The names below an object that can be called, with what they are called on: functions and getters of its own, and of what
// it is an instance of.
function members(object) {
  const found = new Map();
  for (let layer = object; layer !== null && layer !== Object.prototype; layer = Object.getPrototypeOf(layer)) {
    for (const [key, { value, get, enumerable }] of Object.entries(Object.getOwnPropertyDescriptors(layer))) {
      const shown = layer === object ? enumerable : key !== "constructor" && !key.startsWith("_");
      if (shown && !found.has(key)) found.set(key, get ? { get } : { value });
    }
  }
  return found;
}

// Whether functions below it are methods: not a list, a map, or anything else of the language's own.
function isNamespace(value) {
  if (typeof value !== "object" || value === null || Array.isArray(value) || isBytes(value)) return false;
  const prototype = Object.getPrototypeOf(value);
  if (prototype === null || prototype === Object.prototype) return true;
  const maker = prototype.constructor;
  return typeof maker === "function" && !/\[native code\]/.test(Function.prototype.toString.call(maker)) && !(value instanceof Error);
}

function collect(methods, name, { value, get }, owner, depth) {
  if (get) {
    methods.set(name, () => get.call(owner));
  } else if (typeof value === "function") {
    if (!isClass(value)) methods.set(name, (...values) => value.apply(owner, values));
  } else if (depth > 0 && isNamespace(value)) {
    for (const [key, member] of members(value)) collect(methods, `${name}.${key}`, member, value, depth - 1);
  }
}

// The hooks and methods of a module: what it exports by name, and what its default export holds, if that is an object. A host
// may have more hooks than there are everywhere.
export function offered(namespace, more = []) {
  const names = [...HOOKS, ...more];
  const [hooks, methods] = [new Map(), new Map()];
  const add = (key, member, owner) => {
    if (names.includes(key) && typeof member.value === "function") {
      if (!hooks.has(key)) hooks.set(key, (...values) => member.value.apply(owner, values));
    } else if (key !== "default" && key !== "module.exports") {
      collect(methods, key, member, owner, DEPTH);
    }
  };
  const exports = namespace.default;
  for (const key of Object.keys(namespace)) add(key, { value: namespace[key] }, undefined);
  // The names that node finds in a CommonJS module are those of its default export, and are called on it.
  if (typeof exports === "object" && exports !== null) {
    for (const [key, member] of members(exports)) add(key, member, exports);
  }
  return { hooks, methods };
}
