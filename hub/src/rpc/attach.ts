// The lease stream. Input is read in order; what has to be committed is not waited for, so that many reports share
// a commit, but no more than a bounded number at once.
import type { AttachRequest, AttachResponse } from "@holdfast/gen/holdfast/v1/worker_service_pb";
import { Fault } from "../domain/fault.js";
import { requireKinds } from "../services/access.js";
import type { Attachments } from "../services/attachments.js";
import type { Effects } from "../services/effects.js";
import type { SessionLiveness } from "../services/session-liveness.js";
import type { SessionReports } from "../services/session-reports.js";
import type { Sessions } from "../services/sessions.js";
import type { Suspensions } from "../services/suspensions.js";
import type { StreamLink, WorkerSession } from "../services/worker-session.js";
import { invalid } from "./check.js";
import { actOnEffect } from "./effect-acts.js";
import type { EncodedResponse } from "./encoded.js";
import { toFault } from "./errors.js";
import { toAttachResponse, toWelcomeMessage } from "./hub-messages.js";
import type { Call } from "./implementation.js";
import type { EdgeLimits } from "./limits.js";
import { StreamOutbox } from "./outbox.js";
import { waitForSignal } from "./waits.js";
import {
  firstHello,
  toCheckpoint,
  toCredit,
  toDelivered,
  toHello,
  toProgress,
  toReleases,
  toResults,
  toSpends,
  toThrottle,
} from "./worker-messages.js";

export interface AttachParts {
  readonly attachments: Attachments;
  readonly sessions: Sessions;
  readonly liveness: SessionLiveness;
  readonly reports: SessionReports;
  readonly effects: Effects;
  readonly suspensions: Suspensions;
  readonly limits: EdgeLimits;
  readonly hubVersion: string;
  readonly onDefect: (error: unknown) => void;
}

/** Messages of one stream that wait for a commit, at most: then its input waits. */
const commitsInFlightMax = 64;

interface Attached {
  readonly session: WorkerSession;
  readonly link: StreamLink;
  readonly outbox: StreamOutbox;
}

export async function* attach(
  parts: AttachParts,
  requests: AsyncIterable<AttachRequest>,
  call: Call,
): AsyncGenerator<AttachResponse | EncodedResponse> {
  const input = requests[Symbol.asyncIterator]();
  const first = await input.next();
  const hello = toHello(firstHello(first.done ? undefined : first.value), "hello");
  requireKinds(call.principal, hello.kinds);
  const outbox = new StreamOutbox();
  const { session, link, welcome } = await parts.attachments.attach(call.principal, hello, outbox);
  outbox.onEnd = () => parts.attachments.detach(session, link);
  try {
    call.signal.addEventListener("abort", () => outbox.end(null), { once: true });
    if (call.signal.aborted) return;
    outbox.onClear = () => parts.sessions.unclogged(session);
    yield toWelcomeMessage(welcome, parts.limits, parts.hubVersion);
    void readAll(parts, { session, link, outbox }, input);
    for await (const message of outbox) yield toAttachResponse(message);
  } finally {
    outbox.end(null);
    void input.return?.();
  }
}

/** Reads until the worker half-closes or fails; owns whatever is in flight meanwhile. */
async function readAll(parts: AttachParts, to: Attached, input: AsyncIterator<AttachRequest>): Promise<void> {
  const inFlight = new Set<Promise<void>>();
  const fail = (error: unknown) => to.outbox.end(toFault(error, parts.onDefect));
  try {
    for (let next = await input.next(); !next.done; next = await input.next()) {
      const committing = take(parts, to, next.value)?.catch(fail);
      if (committing) {
        inFlight.add(committing);
        void committing.then(() => inFlight.delete(committing));
      }
      while (inFlight.size >= commitsInFlightMax) await Promise.race(inFlight);
      await to.outbox.room();
    }
    await Promise.all(inFlight);
    to.outbox.end(null);
  } catch (error) {
    fail(error);
  }
}

/** Takes one message; answers what is still to be committed for it. */
function take(parts: AttachParts, to: Attached, request: AttachRequest): Promise<void> | null {
  const { sessions, liveness, reports, limits } = parts;
  const { session, link, outbox } = to;
  if (request.deliveredThrough !== 0n) session.acknowledge(toDelivered(request.deliveredThrough));
  const { message } = request;
  switch (message.case) {
    case "credit": {
      const { jobs, bytes } = toCredit(message.value.jobs, message.value.bytes, limits);
      sessions.grant(session, jobs, bytes);
      return null;
    }
    case "report": {
      const results = toResults(message.value.results, "report.results", limits, 1);
      return reports.report(session, results).then((verdicts) => outbox.send({ type: "verdicts", verdicts }));
    }
    case "checkpoint": {
      const checkpoint = toCheckpoint(message.value, "checkpoint", limits);
      return reports.checkpoint(session, [checkpoint]).then(([saved]) => {
        if (saved) outbox.send({ type: "checkpoint_saved", saved });
      });
    }
    case "effect":
      return actOnEffect(parts.effects, session, message.value, limits).then((verdict) =>
        outbox.send({ type: "effect_verdict", verdict }),
      );
    case "wait":
      return waitForSignal(parts.suspensions, session, message.value, "wait").then((verdict) =>
        outbox.send({ type: "wait_verdict", verdict }),
      );
    case "progress":
      reports.progress(session, toProgress(message.value.progress, "progress.progress"));
      return null;
    case "spend":
      return reports.spend(session, toSpends(message.value.spends, "spend.spends"));
    case "throttle":
      reports.throttled(session, toThrottle(message.value, "throttle"));
      return null;
    case "release":
      return reports.release(session, toReleases(message.value.leases, "release.leases", 1));
    case "heartbeat":
      return liveness.heartbeat(session, link, message.value.nonce, message.value.echo);
    case "drain":
      sessions.drain(session);
      return null;
    case "hello":
      throw invalid("message", "must not be hello again: it is the first message, and only the first");
    case undefined:
      // An acknowledgement alone needs no message; anything else here is a message that this hub does not know.
      if (request.deliveredThrough === 0n)
        throw new Fault("INVALID_FIELD", "The message is empty or of a kind that this hub does not know.", {
          field: "message",
        });
      return null;
  }
}
