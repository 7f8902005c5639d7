// Waits until a server answers: node ready.mjs URL PID. Fails at once if the process is gone.
const [url, pid] = process.argv.slice(2);
for (let turn = 0; turn < 300; turn++) {
  try {
    if ((await fetch(`${url}/api/v1/health`)).ok) process.exit(0);
  } catch { /* not yet */ }
  try {
    process.kill(Number(pid), 0);
  } catch {
    console.error(`the server (process ${pid}) ended before it answered`);
    process.exit(1);
  }
  await new Promise((done) => setTimeout(done, 100));
}
console.error(`${url} does not answer within 30 s`);
process.exit(1);
