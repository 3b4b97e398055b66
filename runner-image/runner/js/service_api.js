// The module `orchestrator`: docs/services.md.
import { ServiceError } from "orchestrator:service";

const { service, replica, close, io, talk, writeOut, writeErr } = import.meta.host;

function json(value) {
  try {
    return JSON.stringify(value) ?? "null";
  } catch {
    return JSON.stringify(String(value));
  }
}

// A value of a field: bare where nobody could misread it, else as JSON.
function field(value) {
  const text = value instanceof Error ? String(value) : value;
  return typeof text === "string" && /^[\w.:/@+-]+$/.test(text) ? text : json(text);
}

function line(level, text, fields) {
  const oneLine = String(text).replaceAll("\n", "\\n");
  return [level, oneLine, ...Object.entries(fields ?? {}).map(([key, value]) => `${key}=${field(value)}`)].join(" ");
}

const log = {
  debug: (text, fields) => writeOut(line("DEBUG", text, fields)),
  info: (text, fields) => writeOut(line("INFO", text, fields)),
  warn: (text, fields) => writeErr(line("WARN", text, fields)),
  error: (text, fields) => writeErr(line("ERROR", text, fields)),
};

// What is outside of this process is made when it is first used.
const outside = (part, names) =>
  Object.fromEntries(names.map((name) => [name, { [name]: (...values) => io()[part][name](...values) }[name]]));

const fs = outside("fs", ["list", "makeFolder", "read", "readText", "remove", "stat", "write", "writeText"]);
const fetch = (...values) => io().fetch(...values);
const secrets = outside("secrets", ["get"]);

// So is what other services are spoken to with.
const said = (part, names) =>
  Object.fromEntries(names.map((name) => [name, { [name]: (...values) => talk()[part][name](...values) }[name]]));

const services = new Proxy({}, { get: (_, name) => (typeof name === "string" ? talk().services[name] : undefined) });
const emit = (...values) => talk().emit(...values);
const on = (...values) => talk().on(...values);
const off = (...values) => talk().off(...values);
const current = () => talk().current();
const config = said("config", ["get", "set", "watch"]);
const children = said("children", ["create"]);

export { service, replica, close, log, fs, fetch, secrets };
export { services, emit, on, off, config, children, current, ServiceError };
