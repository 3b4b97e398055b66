export async function start() {
  console.log("the sun is up, so I grow");
}

export function close() {
  console.log("the bird has left, so I rest");
}
