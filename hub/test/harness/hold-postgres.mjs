// Holds the embedded PostgreSQL of a data directory, as a hub does, until its stdin ends. Speaks a line of JSON when it
// has it and when it has let go.
import { once } from "node:events";
import { startEmbeddedPostgres } from "@holdfast/hub/embedded-postgres";

const lines = [];
const server = await startEmbeddedPostgres({ dataDir: process.argv[2], log: (line) => lines.push(line) });
console.log(JSON.stringify({ pid: server.pid, url: server.url, dataDir: server.dataDir, lines }));
process.stdin.resume();
await once(process.stdin, "end");
lines.length = 0;
await server.stop();
console.log(JSON.stringify({ lines }));
