// The module `orchestrator`: docs/services.md.
const { service, replica, close, io, writeOut, writeErr } = import.meta.host;

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

export { service, replica, close, log, fs, fetch, secrets };
