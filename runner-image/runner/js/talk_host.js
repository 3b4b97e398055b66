// What talk.mjs is given by this host.
({ send, append, enter, current, busy, describe, complain }) => {
  const CHUNK = 8192;

  return {
    send(message, text, parts) {
      for (const part of parts) {
        for (let at = 0; at < part.length; at += CHUNK) {
          append(String.fromCharCode.apply(null, part.subarray(at, at + CHUNK)));
        }
      }
      send(JSON.stringify(message), text, parts.length > 0);
    },
    // To the end of the turn.
    run(invocation, deed) {
      enter(invocation);
      return deed();
    },
    resume: enter,
    current,
    busy,
    describe,
    complain,
  };
};
