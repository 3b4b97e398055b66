export async function start() {
  await new Promise((done) => setTimeout(done, 200));
  console.log("all sold; this was the last job");
}
