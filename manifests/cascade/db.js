export function start() {
  console.log("up, for three seconds");
  setTimeout(() => {
    throw new Error("the disk is on fire");
  }, 3000);
}
