// Why a call has no result, and what is said of mistakes in the use of this package.
"use strict";

const CODES = ["timeout", "unavailable", "denied", "not-found", "overloaded", "too-large", "service-error", "cancelled"];
const LONGEST_TEXT = 64 * 1024;

// Why a call has no result. `remoteName` and `remoteStack` are those of what was thrown there.
class CallError extends Error {
  constructor({ code = "service-error", message = "", service = "", method = "", name = "", stack = "" }) {
    super(service === "" ? message : `${service}${method === "" ? "" : `.${method}`}: ${message}`);
    this.name = "CallError";
    this.code = code;
    this.service = service;
    this.method = method;
    this.remoteName = name;
    this.remoteStack = stack;
  }
}

// What another member has sent as an error: whatever it is, it becomes one.
function remoteError(error, service, method) {
  const text = (value) => (typeof value === "string" ? value : "");
  const { code, message, name, stack, service: at, method: of } = typeof error === "object" && error !== null ? error : {};
  return new CallError({
    code: CODES.includes(code) ? code : "service-error",
    message: text(message),
    service: text(at) || service,
    method: text(of) || method,
    name: text(name),
    stack: text(stack),
  });
}

// What a program does wrong in using this package.
const misuse = (text) => new TypeError(text);

const clip = (text) => (text.length > LONGEST_TEXT ? text.slice(0, LONGEST_TEXT) : text);

function inWords(value) {
  try {
    if (value instanceof Error) {
      const lines = String(value.stack ?? "").split("\n").map((line) => line.trim());
      // What is below a frame of this package is how it came to be called, and no part of the service.
      const end = lines.findIndex((line) => line.includes(__dirname));
      const own = end < 0 ? lines : lines.slice(0, end);
      const frames = own.filter((line) => line.startsWith("at ") && !line.includes("node:"));
      return { name: clip(String(value.name)), message: clip(String(value.message)), stack: clip(frames.join("\n")) };
    }
    const text = (typeof value === "object" && value !== null && JSON.stringify(value)) || String(value);
    return { name: "Error", message: clip(text), stack: "" };
  } catch {
    return { name: "Error", message: "a value that cannot be told", stack: "" };
  }
}

// Name, message and stack of what was thrown, with its causes.
function describe(value) {
  const error = inWords(value);
  let cause = value?.cause;
  for (let depth = 0; depth < 4 && cause !== undefined; depth += 1, cause = cause?.cause) {
    const { name, message, stack } = inWords(cause);
    error.stack = clip([error.stack, `caused by ${name}: ${message}`, stack].join("\n"));
  }
  return error;
}

module.exports = { CODES, CallError, remoteError, misuse, describe };
