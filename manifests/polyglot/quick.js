export function start() {
  console.log("quick: embedded JavaScript is up, and everybody is here");
}

export function close() {
  console.log("quick: bye");
}
