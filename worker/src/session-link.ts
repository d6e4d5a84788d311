import { Worker } from "node:worker_threads";
import { inProcessPorts } from "./in-process-port.js";
import type { JournalDisk } from "./journal/journal-disk.js";
import type { Port, ToRunner, ToSession } from "./port.js";
import { runSession } from "./session/run-session.js";
import type { SessionPlan } from "./session/session-plan.js";

/** The runner's end of a session. */
export type SessionLink = {
  readonly port: Port<ToSession, ToRunner>;
  /** Nothing of the session is left running. Never rejects: what went wrong is in its "closed" message. */
  readonly ended: Promise<void>;
};

/** Run from source, by a loader that understands TypeScript, a thread still needs plain JavaScript: the built file. */
const threadEntry = new URL(
  import.meta.url.endsWith(".ts") ? "../dist/session/thread-entry.js" : "./session/thread-entry.js",
  import.meta.url,
);

/** A session on a thread of its own: it hears the hub, and is heard, whatever handlers do to this one. */
export function openThreadSession(plan: SessionPlan): SessionLink {
  // The session needs none of the flags that the application was started with, and some cannot be given to a thread.
  const thread = new Worker(threadEntry, { workerData: plan, name: "holdfast-session", execArgv: [] });
  let receive: (message: ToRunner) => void = () => {};
  let isClosed = false;
  const closeWith = (message: string) => {
    if (!isClosed) receive({ type: "closed", failure: { kind: "broken", message } });
    isClosed = true;
  };
  thread.on("message", (message: ToRunner) => {
    receive(message);
    if (message.type !== "closed") return;
    isClosed = true;
    // The session has nothing left to do; a connection that does not close must not keep its thread.
    void thread.terminate();
  });
  thread.on("error", (error) => closeWith(`the session's thread failed: ${error.stack ?? error.message}`));
  const ended = new Promise<void>((resolve) => {
    thread.on("exit", (code) => {
      closeWith(`the session's thread ended with code ${code}`);
      resolve();
    });
  });
  return {
    port: {
      post: (message, transfer = []) => thread.postMessage(message, transfer),
      onMessage: (receiver) => {
        receive = receiver;
      },
    },
    ended,
  };
}

/** The same session on this thread. */
export function openLocalSession(plan: SessionPlan, disk?: JournalDisk): SessionLink {
  const [port, sessionPort] = inProcessPorts<ToSession, ToRunner>();
  return { port, ended: runSession(plan, sessionPort, disk) };
}
