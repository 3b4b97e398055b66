// The package as it is required; index.mjs gives the same to those who import it.
"use strict";

const { CallError } = require("./src/errors.js");
const { connectOptions } = require("./src/options.js");
const { current } = require("./src/current.js");

// Joins a fabric, or attaches to the orchestrator of a project on this host.
async function connect(options) {
  const settings = connectOptions(options);
  if (settings.redis !== undefined) {
    const { Fabric } = require("./src/fabric.js");
    return new Fabric(settings).join();
  }
  const { Attached } = require("./src/attach.js");
  return new Attached(settings).join();
}

exports.current = current;
exports.connect = connect;
exports.CallError = CallError;
