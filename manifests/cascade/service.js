export function start() {
  console.log("up");
}

export function close() {
  console.log("closing");
}
