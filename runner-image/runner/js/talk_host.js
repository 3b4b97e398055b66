// What talk.mjs is given by this host.
({ send, append, busy, describe, complain }) => {
  const CHUNK = 8192;

  // Known as long as what an invocation calls does not wait: there is nothing in the engine that would remember it.
  let current;
  return {
    send(message, text, parts) {
      for (const part of parts) {
        for (let at = 0; at < part.length; at += CHUNK) {
          append(String.fromCharCode.apply(null, part.subarray(at, at + CHUNK)));
        }
      }
      send(JSON.stringify(message), text, parts.length > 0);
    },
    run(invocation, deed) {
      const before = current;
      current = invocation;
      try {
        return deed();
      } finally {
        current = before;
      }
    },
    current: () => current,
    busy,
    describe,
    complain,
  };
};
