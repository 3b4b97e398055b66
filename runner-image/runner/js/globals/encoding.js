({ encode, decode }) => {
  const CHUNK = 8192;

  class TextEncoder {
    get encoding() {
      return "utf-8";
    }

    encode(text = "") {
      return encode(text);
    }

    encodeInto(text, target) {
      let read = 0;
      let written = 0;
      for (const character of String(text)) {
        const bytes = encode(character);
        if (written + bytes.length > target.length) break;
        target.set(bytes, written);
        written += bytes.length;
        read += character.length;
      }
      return { read, written };
    }
  }

  function bytesOf(input) {
    if (input === undefined) return new Uint8Array(0);
    if (ArrayBuffer.isView(input)) return new Uint8Array(input.buffer, input.byteOffset, input.byteLength);
    if (input instanceof ArrayBuffer) return new Uint8Array(input);
    throw new TypeError("TextDecoder.decode: neither an ArrayBuffer nor a view of one");
  }

  function binary(bytes) {
    let text = "";
    for (let at = 0; at < bytes.length; at += CHUNK) {
      text += String.fromCharCode.apply(null, bytes.subarray(at, at + CHUNK));
    }
    return text;
  }

  class TextDecoder {
    #fatal;
    #ignoreBOM;
    #rest = "";
    #begun = false;

    constructor(label = "utf-8", { fatal = false, ignoreBOM = false } = {}) {
      if (!/^\s*(utf-?8|unicode-1-1-utf-8)\s*$/i.test(label)) {
        throw new RangeError(`TextDecoder: "${label}" is not supported, only utf-8 is`);
      }
      this.#fatal = Boolean(fatal);
      this.#ignoreBOM = Boolean(ignoreBOM);
    }

    get encoding() {
      return "utf-8";
    }

    get fatal() {
      return this.#fatal;
    }

    get ignoreBOM() {
      return this.#ignoreBOM;
    }

    decode(input, { stream = false } = {}) {
      const all = this.#rest + binary(bytesOf(input));
      let [text, taken, valid] = decode(all, Boolean(stream));
      this.#rest = all.slice(taken);
      if (!valid && this.#fatal) {
        this.#rest = "";
        this.#begun = false;
        throw new TypeError("TextDecoder.decode: the data is not valid utf-8");
      }
      if (!this.#begun && !this.#ignoreBOM && text.startsWith("\ufeff")) text = text.slice(1);
      this.#begun = stream && (this.#begun || taken > 0);
      return text;
    }
  }

  return { TextEncoder, TextDecoder };
};
