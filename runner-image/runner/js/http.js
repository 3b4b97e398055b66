// Requests over HTTP, and their answers: what `js-http` hands over, and what the exported `fetch` makes of it.
({ web, answer, piece, end, append, complain }) => {
  const { Response, bytesOf, contentOf, headersOf, abort } = web;
  const CHUNK = 8192;
  const WINDOW = 8;
  const LONGEST_HEAD = 64 << 10;
  const NAME = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/;
  const NO_VALUE = /[^\t\x20-\x7e\x80-\xff]/;

  // What the service has been asked and has not answered, by number.
  const open = new Map();
  let closing = false;

  function lines(headers) {
    let lines = "";
    for (const [name, value] of headers) {
      if (!NAME.test(name) || NO_VALUE.test(value)) throw new TypeError(`the header '${name}' is none, or its value has a character that none may have`);
      lines += `${name}:${value}\n`;
    }
    if (lines.length > LONGEST_HEAD) throw new RangeError(`more than ${LONGEST_HEAD >> 10} KiB of headers`);
    return lines;
  }

  // What is given along with a message: a text, or null for bytes, which are given before.
  function give(body) {
    if (body === null || typeof body === "string") return body ?? "";
    if (body.length === 0) return "";
    for (let at = 0; at < body.length; at += CHUNK) {
      append(String.fromCharCode.apply(null, body.subarray(at, at + CHUNK)), at === 0);
    }
    return null;
  }

  // Who gives up because it was told to makes no mistake.
  function tell(asked, what, error) {
    const { method, url, signal } = asked.request;
    if (!signal.aborted || error !== signal.reason) complain(`${what}${method} ${url}`, error);
  }

  function fail(id, asked, error) {
    tell(asked, "", error);
    if (open.delete(id)) answer(id, 500, "", false, "");
  }

  async function stream(id, asked, pieces) {
    let room = WINDOW;
    asked.taken = () => {
      room += 1;
      asked.more?.();
    };
    if (closing) abort(asked.request);
    try {
      for await (const given of pieces) {
        if (asked.gone) return;
        const bytes = typeof given === "string" ? given : bytesOf(given);
        if (bytes === undefined) throw new TypeError("a piece of a body is a text, an ArrayBuffer, or a view of one");
        if (bytes.length === 0) continue;
        piece(id, give(bytes));
        room -= 1;
        if (room === 0) await new Promise((resolve) => (asked.more = resolve));
        if (asked.gone) return;
      }
      if (open.delete(id)) end(id, true);
    } catch (error) {
      if (open.delete(id)) end(id, false);
      tell(asked, "the body of ", error);
    }
  }

  function respond(id, asked, response) {
    if (!(response instanceof Response)) throw new TypeError("fetch() has returned no Response");
    if (asked.gone) return;
    const content = contentOf(response);
    const head = lines(headersOf(response));
    if (content === null || typeof content === "string" || content instanceof Uint8Array) {
      answer(id, response.status, head, false, give(content));
      open.delete(id);
    } else {
      answer(id, response.status, head, true, "");
      stream(id, asked, content);
    }
  }

  return (fetch) => ({
    request(id, method, url, headers, body) {
      const request = web.request(url, method, headers, body);
      const asked = { request, gone: false, taken: undefined, more: undefined };
      open.set(id, asked);
      try {
        const made = fetch(request);
        if (made instanceof Response) return respond(id, asked, made);
        Promise.resolve(made).then((response) => respond(id, asked, response)).catch((error) => fail(id, asked, error));
      } catch (error) {
        fail(id, asked, error);
      }
    },
    taken(id) {
      open.get(id)?.taken?.();
    },
    gone(id) {
      const asked = open.get(id);
      if (!open.delete(id)) return;
      asked.gone = true;
      asked.more?.();
      abort(asked.request);
    },
    // What is sent in pieces may have no end of its own.
    closing() {
      closing = true;
      for (const asked of open.values()) if (asked.taken) abort(asked.request);
    },
  });
};
