// What console.log and its siblings write: texts as they are, everything else much as node shows it.
() => {
  const WIDTH = 72;
  const DEPTH = 3;
  const ITEMS = 100;

  function quote(text) {
    return text.includes("'") ? JSON.stringify(text) : "'" + JSON.stringify(text).slice(1, -1).replaceAll('\\"', '"') + "'";
  }

  function key(name) {
    if (typeof name === "symbol") return `[${String(name)}]`;
    return /^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u.test(name) ? name : quote(name);
  }

  function named(object) {
    const prototype = Object.getPrototypeOf(object);
    if (prototype === null) return "[Object: null prototype]";
    const name = prototype.constructor?.name;
    return name === "Object" ? "" : String(name ?? "");
  }

  function error(value, seen) {
    const frames = String(value.stack ?? "").split("\n").map((line) => line.trim()).filter(Boolean);
    const lines = [`${value.name}: ${value.message}`, ...frames.map((frame) => "    " + frame)];
    if (value.cause !== undefined) lines.push("  [cause]: " + inspect(value.cause, seen).replaceAll("\n", "\n  "));
    return lines.join("\n");
  }

  function list(open, parts, close) {
    if (parts.length === 0) return open + close;
    const line = `${open} ${parts.join(", ")} ${close}`;
    if (line.length <= WIDTH && !line.includes("\n")) return line;
    return `${open}\n${parts.map((part) => "  " + part.replaceAll("\n", "\n  ")).join(",\n")}\n${close}`;
  }

  function limited(iterable, size, show) {
    const parts = [];
    for (const item of iterable) {
      if (parts.length === ITEMS) {
        parts.push(`... ${size - ITEMS} more`);
        break;
      }
      parts.push(show(item));
    }
    return parts;
  }

  function properties(object, seen, skip) {
    return Reflect.ownKeys(object)
      .filter((name) => !skip?.(name) && Object.getOwnPropertyDescriptor(object, name).enumerable)
      .map((name) => {
        const { value, get } = Object.getOwnPropertyDescriptor(object, name);
        return `${key(name)}: ${get ? "[Getter]" : inspect(value, seen)}`;
      });
  }

  function composite(object, seen) {
    const name = named(object);
    const prefix = name && name + " ";
    const show = (value) => inspect(value, seen);
    if (Array.isArray(object) || ArrayBuffer.isView(object)) {
      const items = object instanceof DataView ? [] : limited(object, object.length, show);
      const rest = properties(object, seen, (name) => typeof name === "string" && /^\d+$/.test(name));
      return list(name === "Array" ? "[" : `${name}(${object.length ?? object.byteLength}) [`, [...items, ...rest], "]");
    }
    if (object instanceof Map) {
      const entries = limited(object, object.size, ([name, value]) => `${show(name)} => ${show(value)}`);
      return list(`Map(${object.size}) {`, entries, "}");
    }
    if (object instanceof Set) return list(`Set(${object.size}) {`, limited(object, object.size, show), "}");
    return list(prefix + "{", properties(object, seen), "}");
  }

  function atom(value) {
    if (typeof value === "string") return quote(value);
    if (typeof value === "bigint") return `${value}n`;
    if (Object.is(value, -0)) return "-0";
    if (typeof value === "function") {
      const kind = /^class\b/.test(Function.prototype.toString.call(value)) ? "class" : "Function";
      if (kind === "class") return `[class ${value.name || "(anonymous)"}]`;
      return value.name ? `[Function: ${value.name}]` : "[Function (anonymous)]";
    }
    return String(value);
  }

  function inspect(value, seen = []) {
    if (typeof value !== "object" || value === null) return atom(value);
    if (seen.includes(value)) return "[Circular]";
    if (value instanceof Date) return isNaN(value) ? "Invalid Date" : value.toISOString();
    if (value instanceof RegExp) return String(value);
    if (value instanceof Promise) return "Promise {}";
    if (value instanceof ArrayBuffer) return `ArrayBuffer { byteLength: ${value.byteLength} }`;
    if (seen.length >= DEPTH) return Array.isArray(value) ? "[Array]" : `[${named(value) || "Object"}]`;
    const within = [...seen, value];
    if (value instanceof Error) return error(value, within);
    return composite(value, within);
  }

  const placeholders = {
    s: (value) => (typeof value === "object" && value !== null ? inspect(value) : String(value)),
    d: (value) => String(typeof value === "object" ? NaN : Number(value)),
    i: (value) => String(typeof value === "object" ? NaN : Math.trunc(Number(value))),
    f: (value) => String(typeof value === "symbol" ? NaN : parseFloat(value)),
    j: (value) => JSON.stringify(value),
    o: (value) => inspect(value),
    O: (value) => inspect(value),
    c: () => "",
  };

  function format(...values) {
    const parts = [];
    if (typeof values[0] === "string" && values.length > 1) {
      parts.push(
        values.shift().replace(/%([sdifjoOc%])/g, (written, kind) => {
          if (kind === "%") return "%";
          return values.length === 0 ? written : placeholders[kind](values.shift());
        }),
      );
    }
    for (const value of values) parts.push(typeof value === "string" ? value : inspect(value));
    return parts.join(" ");
  }

  return { format, inspect };
};
