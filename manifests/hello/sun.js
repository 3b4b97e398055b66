// A service is a module. `start` and `close` are its life; every other export is a method that others will call.
export async function start() {
  console.log("good morning: I rise first, for I depend on nobody");
}

export async function close() {
  console.log("good night: everybody who needed me has gone to sleep");
}
