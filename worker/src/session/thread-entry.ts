import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import type { ToRunner, ToSession } from "../port.js";
import { runSession } from "./run-session.js";
import type { SessionPlan } from "./session-plan.js";

/** What the session's own thread runs: the session, with the thread's port as its boundary. */
const port = parentPort as MessagePort;

await runSession(workerData as SessionPlan, {
  post: (message: ToRunner, transfer = []) => port.postMessage(message, transfer),
  onMessage: (receive: (message: ToSession) => void) => port.on("message", receive),
});
port.close();
