() => {
  // Lets a controller abort its signal, and nobody else.
  let abort;

  class AbortSignal {
    #aborted = false;
    #reason;
    #listeners = new Set();

    static {
      abort = (signal, reason) => {
        if (signal.#aborted) return;
        signal.#aborted = true;
        signal.#reason = reason === undefined ? new DOMException("the operation was aborted", "AbortError") : reason;
        const event = { type: "abort", target: signal };
        const listeners = [...signal.#listeners];
        signal.#listeners.clear();
        signal.onabort?.(event);
        for (const listener of listeners) listener.call(signal, event);
      };
    }

    onabort = null;

    static abort(reason) {
      const signal = new AbortSignal();
      abort(signal, reason);
      return signal;
    }

    get aborted() {
      return this.#aborted;
    }

    get reason() {
      return this.#reason;
    }

    throwIfAborted() {
      if (this.#aborted) throw this.#reason;
    }

    addEventListener(type, listener) {
      if (type === "abort" && typeof listener === "function") this.#listeners.add(listener);
    }

    removeEventListener(type, listener) {
      if (type === "abort") this.#listeners.delete(listener);
    }
  }

  class AbortController {
    #signal = new AbortSignal();

    get signal() {
      return this.#signal;
    }

    abort(reason) {
      abort(this.#signal, reason);
    }
  }

  return { AbortController, AbortSignal };
};
