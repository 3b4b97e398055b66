// The package as it is imported: the same implementation as for require.
import client from "./index.js";

export const { connect, current, CallError } = client;
