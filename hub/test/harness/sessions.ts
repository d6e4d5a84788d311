import type { Fault } from "../../src/domain/fault.js";
import type { WorkerProfile } from "../../src/domain/lane.js";
import { type Principal, scopes } from "../../src/domain/scope.js";
import type { HubMessage } from "../../src/services/session-messages.js";
import { type HeldLease, type Outbox, streamLink, WorkerSession } from "../../src/services/worker-session.js";
import { idOf } from "./refs.js";

export const principal: Principal = {
  tenantId: 1,
  tenant: "default",
  subject: "",
  keyId: "",
  scopes: new Set(scopes),
  kinds: null,
};

/** The sending half of a stream that only remembers. */
export class RememberingOutbox implements Outbox {
  readonly sent: HubMessage[] = [];
  ended: Fault | null | undefined;
  isFull = false;

  send(message: HubMessage): void {
    this.sent.push(message);
  }

  isClogged(): boolean {
    return this.isFull;
  }

  end(fault: Fault | null): void {
    this.ended = fault;
  }
}

/** A live stream of a worker that greets, with the credit given. */
export function liveSession(
  number: number,
  credit: { jobs: number; bytes?: number },
  profile: {
    kinds?: string[];
    capabilities?: string[];
    tenantId?: number;
    weights?: WorkerProfile["weights"];
  } = {},
): { session: WorkerSession; outbox: RememberingOutbox } {
  const outbox = new RememberingOutbox();
  const worker = {
    tenantId: profile.tenantId ?? 1,
    kinds: new Set(profile.kinds ?? ["greet"]),
    capabilities: new Set(profile.capabilities),
    products: new Set<string>(),
    queues: new Set<string>(),
    weights: profile.weights ?? {},
  };
  const session = new WorkerSession(idOf(number), principal, "greeter", worker, 1, streamLink(outbox, 0));
  session.credit = { jobs: credit.jobs, bytes: credit.bytes ?? 1_000_000 };
  return { session, outbox };
}

/** A lease that went into this delivery, under a token of the same number. */
export function leaseOn(jobId: string, delivery: number): HeldLease {
  return {
    jobId,
    fencingToken: BigInt(delivery),
    attempt: 1,
    attemptsMax: 3,
    delivery,
    options: {},
    laneId: 1,
    grantedAtMs: 0,
  };
}
