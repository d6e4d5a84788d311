import fc from "fast-check";
import { afterEach, describe, expect, it, vi } from "vitest";
import { knowing } from "../../test/harness/known-lanes.js";
import { idOf, keysOf, laneOf, refAt, refsAt } from "../../test/harness/refs.js";
import { liveSession } from "../../test/harness/sessions.js";
import { Fault } from "../domain/fault.js";
import type { Lane } from "../domain/lane.js";
import type { GrantedLease } from "../domain/lease.js";
import type { ScoreWeights } from "../domain/score-weights.js";
import type { Lanes } from "../lanes/lanes.js";
import { createMemoryLanes } from "../lanes/memory-lanes.js";
import type { ClaimItem } from "../ledger/claim-jobs.js";
import { Dispatcher, type Reservation } from "./dispatcher.js";
import { LaneBook } from "./lane-book.js";
import type { LaneGates } from "./lane-gates.js";
import { unaryLink, type WorkerSession } from "./worker-session.js";

/** Claims as the ledger gets them; each is answered when the test says so. */
interface Claim {
  readonly sessionId: string;
  readonly delivery: number;
  readonly jobIds: readonly string[];
  grant(isGranted?: (jobId: string) => boolean): Promise<void>;
  /** The gates are not as the hub knew them. */
  refuse(): Promise<void>;
  fail(error?: Error): Promise<void>;
}

/** Gates that let through what a test says. */
class BoundedLanes implements LaneGates {
  readonly epoch = 1;
  readonly left = new Map<number, number>();
  refused = 0;

  startsMax({ laneId }: Lane): number {
    return this.refused > 0 ? 0 : (this.left.get(laneId) ?? Number.POSITIVE_INFINITY);
  }

  isShut(lane: Lane): boolean {
    return this.startsMax(lane) === 0;
  }

  take(laneId: number, jobs: number): void {
    const left = this.left.get(laneId);
    if (left !== undefined) this.left.set(laneId, left - jobs);
  }

  giveBack(laneId: number, jobs: number): void {
    this.take(laneId, -jobs);
  }

  metersOf(): readonly number[] {
    return [];
  }

  changed(): void {
    this.refused += 1;
  }
}

const stops: (() => void)[] = [];
afterEach(() => {
  for (const stop of stops.splice(0)) stop();
});

async function openDesk(lanes: readonly Lane[], limits: { perMessage?: number; inFlight?: number } = {}) {
  const known = lanes.map((lane) => ({ lane, lowKey: 0 }));
  const book = new LaneBook(knowing(known), 100);
  await book.load();
  const port = createMemoryLanes({ windowRefsMax: 1_000 });
  const claims: Claim[] = [];
  const granted: { sessionId: string; jobIds: string[] }[] = [];
  const lost: string[] = [];
  const starved = new Set<number>();
  const laneOfJob = new Map<string, number>();
  const claim = (items: readonly ClaimItem[]) =>
    new Promise<(GrantedLease | "gates_changed" | null)[]>((resolve, reject) => {
      const [first] = items as [ClaimItem];
      claims.push({
        sessionId: first.sessionId,
        delivery: first.delivery,
        jobIds: items.map((item) => item.jobId),
        grant: async (isGranted = () => true) => {
          resolve(items.map(({ jobId }) => (isGranted(jobId) ? leaseOf(jobId, laneOfJob.get(jobId)) : null)));
          await turn();
        },
        refuse: async () => {
          resolve(items.map(() => "gates_changed"));
          await turn();
        },
        fail: async (error = new Error("the ledger is away")) => {
          reject(error);
          await turn();
        },
      });
    });
  const gates = new BoundedLanes();
  const productWeights = new Map<string, Partial<ScoreWeights>>();
  const dispatcher = new Dispatcher(
    { claim },
    port,
    book,
    gates,
    { weightsOf: ({ product }) => productWeights.get(product) ?? {} },
    { leasesPerMessageMax: limits.perMessage ?? 10, claimsInFlightMax: limits.inFlight ?? 1_000 },
    {
      granted: (session, _epoch, _delivery, leases) =>
        void granted.push({ sessionId: session.sessionId, jobIds: leases.map(({ lease }) => lease.jobId) }),
      claimLost: (session) => void lost.push(session.sessionId),
      stopped: () => undefined,
      starved: (laneId) => void starved.add(laneId),
    },
  );
  port.onChange((laneId) => dispatcher.laneChanged(laneId));
  stops.push(() => dispatcher.stop());
  return {
    dispatcher,
    gates,
    productWeights,
    port,
    claims,
    granted,
    lost,
    starved,
    async offer(refs: ReturnType<typeof refsAt>) {
      for (const ref of refs) laneOfJob.set(ref.jobId, ref.laneId);
      port.offer(refs);
      await turn();
    },
    async join(...sessions: WorkerSession[]) {
      for (const session of sessions) dispatcher.sessionChanged(session);
      await turn();
    },
  };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

function leaseOf(jobId: string, laneId = 1): GrantedLease {
  return {
    jobId,
    laneId,
    fencingToken: 1n,
    attempt: 1,
    attemptsMax: 5,
    payload: Buffer.alloc(0),
    contentType: "",
    checkpoint: null,
    options: {},
    deadlineMs: null,
    submittedAtMs: 0,
  };
}

/** What the ledger shows when it is looked at. */
function fillWith(lanes: Lanes, readyKeys: readonly number[]): void {
  lanes.beginFill(1, { afterKey: 0, throughKey: null });
  lanes.fill(1, refsAt(readyKeys), true);
}

const idsOf = (readyKeys: readonly number[]) => refsAt(readyKeys).map((ref) => ref.jobId);

describe("the dispatcher", () => {
  it("claims what waits for a session with credit, in order, no more than the credit and a message hold", async () => {
    const desk = await openDesk([laneOf(1)], { perMessage: 3 });
    const { session } = liveSession(1, { jobs: 5 });
    await desk.offer(refsAt([1, 2, 3, 4, 5, 6, 7]));

    await desk.join(session);

    expect(desk.claims.map((claim) => claim.jobIds)).toEqual([idsOf([1, 2, 3]), idsOf([4, 5])]);
    expect(desk.claims.map((claim) => claim.delivery)).toEqual([1, 2]);
    expect(session.credit.jobs).toBe(0);
    expect(desk.port.stats(1).window).toBe(2);
  });

  it("claims for a waiting session as soon as refs come", async () => {
    const desk = await openDesk([laneOf(1)]);
    await desk.join(liveSession(1, { jobs: 5 }).session);
    expect(desk.claims).toEqual([]);

    await desk.offer(refsAt([1]));

    expect(desk.claims.map((claim) => claim.jobIds)).toEqual([idsOf([1])]);
  });

  it("takes the best score first between lanes, and the oldest first within one", async () => {
    const lanes = [laneOf(1, { priority: 1 }), laneOf(2, { priority: 4 }), laneOf(3, { priority: 2 })];
    const desk = await openDesk(lanes);
    await desk.offer([
      ...refsAt([1, 2], { laneId: 1 }),
      ...refsAt([3, 4], { laneId: 2 }),
      ...refsAt([5, 6], { laneId: 3 }),
    ]);

    await desk.join(liveSession(1, { jobs: 10 }).session);

    expect(desk.claims.flatMap((claim) => claim.jobIds)).toEqual(idsOf([3, 4, 5, 6, 1, 2]));
  });

  it("does not starve a low priority: its head wins once it has waited long enough", async () => {
    const desk = await openDesk([laneOf(1, { priority: 1 }), laneOf(2, { priority: 4 })]);
    const minute = 60_000;
    await desk.offer([
      refAt(1, { laneId: 1, readyAtMs: 0 }),
      refAt(2, { laneId: 2, readyAtMs: 29 * minute }),
      refAt(3, { laneId: 2, readyAtMs: 31 * minute }),
    ]);

    await desk.join(liveSession(1, { jobs: 10 }).session);

    expect(desk.claims.flatMap((claim) => claim.jobIds)).toEqual(idsOf([2, 1, 3]));
  });

  it("lets sessions of one profile take turns, a message each", async () => {
    const desk = await openDesk([laneOf(1)], { perMessage: 2 });
    const [one, two] = [liveSession(1, { jobs: 4 }).session, liveSession(2, { jobs: 4 }).session];
    await desk.offer(refsAt([1, 2, 3, 4, 5, 6, 7, 8]));

    await desk.join(one, two);

    expect(desk.claims.map((claim) => claim.sessionId)).toEqual([
      one.sessionId,
      two.sessionId,
      one.sessionId,
      two.sessionId,
    ]);
  });

  it("claims for nobody who cannot serve the lane, has no credit, or does not read", async () => {
    const desk = await openDesk([laneOf(1, { capabilities: ["gpu"] })]);
    const clogged = liveSession(5, { jobs: 5 }, { capabilities: ["gpu"] });
    clogged.outbox.isFull = true;
    await desk.offer(refsAt([1]));

    await desk.join(
      liveSession(1, { jobs: 5 }).session,
      liveSession(2, { jobs: 5 }, { capabilities: ["gpu"], tenantId: 2 }).session,
      liveSession(3, { jobs: 5 }, { capabilities: ["gpu"], kinds: ["part"] }).session,
      liveSession(4, { jobs: 0 }, { capabilities: ["gpu"] }).session,
      clogged.session,
    );

    expect(desk.claims).toEqual([]);
  });

  it("does not let a job that is larger than the credit hold up other lanes", async () => {
    const desk = await openDesk([laneOf(1, { priority: 4 }), laneOf(2)]);
    await desk.offer([refAt(1, { laneId: 1, bytes: 500 }), refAt(2, { laneId: 2, bytes: 50 })]);

    await desk.join(liveSession(1, { jobs: 5, bytes: 100 }).session);

    expect(desk.claims.flatMap((claim) => claim.jobIds)).toEqual(idsOf([2]));
  });

  it("goes on to the next session of a profile when what waits is larger than the credit of the first", async () => {
    const desk = await openDesk([laneOf(1)]);
    const poor = Array.from({ length: 5 }, (_, at) => liveSession(at + 1, { jobs: 1, bytes: 100 }).session);
    const rich = liveSession(6, { jobs: 1, bytes: 1_000 }).session;
    await desk.join(...poor, rich);

    await desk.offer([refAt(1, { bytes: 500 }), refAt(2, { bytes: 90 })]);
    expect(desk.claims.map(({ sessionId }) => sessionId)).toEqual([rich.sessionId, poor[0]?.sessionId]);
  });

  it("tries no session twice with what fits into none, until there is news", async () => {
    const desk = await openDesk([laneOf(1)]);
    const poor = Array.from(
      { length: 10_000 },
      (_, at) => liveSession(at + 1, { jobs: 1, bytes: 100 }).session,
    );
    await desk.offer([refAt(1, { bytes: 500 })]);
    await desk.join(...poor);
    const asked = vi.spyOn(desk.gates, "startsMax");
    const triedAgain = vi.spyOn(poor[9_999] as WorkerSession, "isHungry", "get");
    for (let count = 0; count < 100; count += 1) {
      desk.dispatcher.wake();
      await turn();
    }
    expect([asked.mock.calls.length, triedAgain.mock.calls.length]).toEqual([0, 0]);

    (poor[1] as WorkerSession).credit = { jobs: 1, bytes: 600 };
    await desk.join(poor[1] as WorkerSession);
    await desk.offer([refAt(2, { bytes: 90 })]);
    expect(desk.claims.map(({ jobIds }) => jobIds)).toEqual([idsOf([1]), idsOf([2])]);
  });

  it("serves a profile at once when another takes what was too large for it", async () => {
    const desk = await openDesk([laneOf(1)]);
    const poor = liveSession(1, { jobs: 1, bytes: 100 }).session;
    const rich = liveSession(2, { jobs: 1, bytes: 1_000 }, { capabilities: ["large"] }).session;
    await desk.join(poor, rich);

    await desk.offer([refAt(1, { bytes: 500 }), refAt(2, { bytes: 90 })]);

    expect(desk.claims.map(({ sessionId }) => sessionId)).toEqual([rich.sessionId, poor.sessionId]);
  });

  it("keeps no more refs on their way to the ledger than it may, and goes on as they return", async () => {
    const desk = await openDesk([laneOf(1)], { perMessage: 2, inFlight: 4 });
    await desk.offer(refsAt([1, 2, 3, 4, 5, 6, 7, 8]));
    await desk.join(liveSession(1, { jobs: 100 }).session);
    expect(desk.claims).toHaveLength(2);

    await desk.claims[0]?.grant();

    expect(desk.claims).toHaveLength(3);
  });

  it("gives credit back for refs that were not granted, and hands over what was (D10)", async () => {
    const desk = await openDesk([laneOf(1)]);
    const { session } = liveSession(1, { jobs: 5, bytes: 1_000 });
    await desk.offer(refsAt([1, 2, 3]));
    await desk.join(session);
    const [gone] = idsOf([2]);

    await desk.claims[0]?.grant((jobId) => jobId !== gone);

    expect(desk.granted).toEqual([{ sessionId: session.sessionId, jobIds: idsOf([1, 3]) }]);
    expect(session.credit).toEqual({ jobs: 3, bytes: 980 });
  });

  it("gives no credit back to an attachment that came after the claim", async () => {
    const desk = await openDesk([laneOf(1)]);
    const { session } = liveSession(1, { jobs: 5 });
    await desk.offer(refsAt([1, 2]));
    await desk.join(session);
    session.epoch = 2;
    session.credit = { jobs: 7, bytes: 70 };

    await desk.claims[0]?.grant(() => false);

    expect(session.credit).toEqual({ jobs: 7, bytes: 70 });
  });

  it("gives credit back to the call that brought it, and to none after it", async () => {
    const desk = await openDesk([laneOf(1)]);
    const { session } = liveSession(1, { jobs: 2 });
    const link = { ...unaryLink(0), onLeases: () => undefined };
    session.state = { type: "live", link };
    await desk.offer(refsAt([1, 2, 3, 4]));
    await desk.join(session);
    await desk.claims[0]?.grant(() => false);
    expect(desk.claims.map(({ jobIds }) => jobIds)).toEqual([idsOf([1, 2]), idsOf([3, 4])]);

    link.onLeases = () => undefined;
    session.credit = { jobs: 1, bytes: 100 };
    await desk.claims[1]?.grant(() => false);

    expect(session.credit).toEqual({ jobs: 1, bytes: 100 });
  });

  it("puts refs back whose claim was lost, in order, and says so (D9)", async () => {
    const desk = await openDesk([laneOf(1)], { perMessage: 2 });
    const { session } = liveSession(1, { jobs: 4 });
    await desk.offer(refsAt([1, 2, 3, 4]));
    await desk.join(session);

    await desk.claims[0]?.fail();
    await desk.claims[1]?.fail();

    expect(desk.lost).toEqual([session.sessionId, session.sessionId]);
    await expect.poll(() => desk.port.stats(1).window).toBe(4);
    const next = liveSession(2, { jobs: 4 }).session;
    await desk.join(next);
    expect(desk.claims.slice(2).flatMap((claim) => claim.jobIds)).toEqual(idsOf([1, 2, 3, 4]));
  });

  it("keeps the stream where a claim was not even tried, and gives its credit and refs back after a pause", async () => {
    const desk = await openDesk([laneOf(1)]);
    const { session } = liveSession(1, { jobs: 2 });
    desk.gates.left.set(1, 3);
    await desk.offer(refsAt([1, 2, 3]));
    await desk.join(session);

    await desk.claims[0]?.fail(new Fault("BACKLOG_FULL", "Full.", {}, { retryAfterMs: 50 }));

    expect([desk.lost, desk.claims.length, session.credit.jobs, session.deliveryOrder.size]).toEqual([
      [],
      1,
      0,
      0,
    ]);
    await expect.poll(() => desk.claims.length).toBe(2);
    expect(desk.claims[1]?.jobIds).toEqual(idsOf([1, 2]));
    expect(desk.gates.left.get(1)).toBe(1);
  });

  it("says which lanes hungry sessions find empty, and which are wanted", async () => {
    const desk = await openDesk([laneOf(1), laneOf(2), laneOf(3, { kind: "part" })]);
    await desk.offer(refsAt([1], { laneId: 2, bytes: 5_000 }));

    await desk.join(liveSession(1, { jobs: 5, bytes: 10 }).session);

    expect(desk.starved).toEqual(new Set([1]));
    expect([1, 2, 3].map((laneId) => desk.dispatcher.isWanted(laneId))).toEqual([true, true, false]);
  });

  it("orders lanes by the weights of their products, and for a worker that has its own by those", async () => {
    const lanes = [laneOf(1, { product: "press", priority: 1 }), laneOf(2, { priority: 4 })];
    const desk = await openDesk(lanes, { inFlight: 2 });
    desk.productWeights.set("press", { priority: 100 });
    await desk.offer([...refsAt([1, 2, 3, 4]), ...refsAt([5, 6, 7, 8], { laneId: 2 })]);

    await desk.join(liveSession(1, { jobs: 2 }).session);
    await desk.join(liveSession(2, { jobs: 2 }, { weights: { priority: 10 } }).session);
    await desk.claims[0]?.grant();
    desk.productWeights.clear();
    desk.dispatcher.orderChanged();
    await desk.claims[1]?.grant();
    await desk.join(liveSession(3, { jobs: 2 }).session);

    expect(desk.claims.map(({ jobIds }) => jobIds)).toEqual([idsOf([1, 2]), idsOf([5, 6]), idsOf([7, 8])]);
  });

  it("shares by turns also when each worker comes for one job and leaves", async () => {
    const lanes = [1, 2, 3].map((laneId) => laneOf(laneId, { fairnessKey: `k${laneId}` }));
    const desk = await openDesk(lanes);
    await desk.offer([
      ...refsAt([1, 2, 3, 4, 5, 6, 7, 8, 9], { laneId: 1 }),
      ...refsAt([11, 12, 13], { laneId: 2 }),
      ...refsAt([21, 22, 23], { laneId: 3 }),
    ]);

    for (let number = 1; number <= 6; number += 1) {
      const { session } = liveSession(number, { jobs: 1 });
      await desk.join(session);
      session.state = { type: "ended", why: "closed" };
      await desk.join(session);
    }

    expect(desk.claims.flatMap(({ jobIds }) => jobIds)).toEqual(idsOf([1, 11, 21, 2, 12, 22]));
  });

  it("takes from a lane no more than its gates let pass, and leaves one that is held alone", async () => {
    const desk = await openDesk([laneOf(1), laneOf(2), laneOf(3)]);
    desk.gates.left.set(1, 0).set(2, 1);
    await desk.offer([...refsAt([1, 2]), ...refsAt([3, 4], { laneId: 2 }), ...refsAt([5], { laneId: 3 })]);

    await desk.join(liveSession(1, { jobs: 10 }).session);

    expect(desk.claims.map(({ jobIds }) => jobIds)).toEqual([idsOf([3, 5])]);
    expect(desk.gates.left.get(2)).toBe(0);
    expect(desk.starved).toEqual(new Set([3]));
    expect(desk.dispatcher.reserve(laneOf(1), [{ bytes: 1 }])).toBeNull();
  });

  it("gives gates back what did not start", async () => {
    const desk = await openDesk([laneOf(1)]);
    desk.gates.left.set(1, 3);
    await desk.offer(refsAt([1, 2, 3]));
    await desk.join(liveSession(1, { jobs: 10 }).session);

    await desk.claims[0]?.grant((jobId) => jobId === idOf(2));

    expect(desk.gates.left.get(1)).toBe(2);
  });

  it("puts jobs back in order that gates which have changed may stop, and asks the gates again", async () => {
    const desk = await openDesk([laneOf(1)]);
    const { session } = liveSession(1, { jobs: 2 });
    await desk.offer(refsAt([1, 2, 3]));
    await desk.join(session);

    await desk.claims[0]?.refuse();

    expect(desk.gates.refused).toBe(1);
    expect(session.credit.jobs).toBe(2);
    expect(keysOf(desk.port.take(1, 10, 1_000))).toEqual([1, 2, 3]);
    expect(desk.claims).toHaveLength(1);
  });

  it("sets credit aside for new jobs of an empty lane, for a waiting session that can serve it", async () => {
    const desk = await openDesk([laneOf(1)], { perMessage: 2 });
    const { session } = liveSession(1, { jobs: 3, bytes: 100 });
    const other = liveSession(2, { jobs: 3 }, { kinds: ["other"] });
    await desk.join(other.session, session);
    fillWith(desk.port, []);

    const reservation = desk.dispatcher.reserve(laneOf(1), [{ bytes: 60 }, { bytes: 30 }, { bytes: 1 }]);

    expect(reservation).toMatchObject({ delivery: 1, jobs: [{ bytes: 60 }, { bytes: 30 }] });
    expect(reservation?.session).toBe(session);
    expect(session.credit).toEqual({ jobs: 1, bytes: 10 });
    expect(desk.dispatcher.reserve(laneOf(1), [{ bytes: 11 }])).toBeNull();
  });

  it("sets nothing aside for a lane where work waits, or that nobody has looked at", async () => {
    const desk = await openDesk([laneOf(1), laneOf(2)]);
    const { session } = liveSession(1, { jobs: 1, bytes: 5 });
    await desk.join(session);
    await desk.offer([refAt(1, { bytes: 6 })]);

    expect(desk.dispatcher.reserve(laneOf(1), [{ bytes: 1 }])).toBeNull();
    expect(desk.dispatcher.reserve(laneOf(2), [{ bytes: 1 }])).toBeNull();
  });

  it("hands a reservation over after the claims that were made before it, and gives back what is gone", async () => {
    const desk = await openDesk([laneOf(1)]);
    const { session } = liveSession(1, { jobs: 3 });
    await desk.join(session);
    await desk.offer(refsAt([1]));
    const reservation = desk.dispatcher.reserve(laneOf(1), [{ bytes: 10 }, { bytes: 10 }]) as Reservation;

    desk.dispatcher.grant(
      reservation,
      [{ lease: leaseOf("new"), lane: laneOf(1) }],
      [{ bytes: 10, laneId: 1 }],
    );

    expect(desk.granted).toEqual([]);
    await desk.claims[0]?.grant();
    expect(desk.granted.map(({ jobIds }) => jobIds)).toEqual([idsOf([1]), ["new"]]);
    expect(session.credit.jobs).toBe(1);
  });

  it("claims nothing after it was stopped", async () => {
    const desk = await openDesk([laneOf(1)]);
    desk.dispatcher.stop();
    await desk.offer(refsAt([1]));

    await desk.join(liveSession(1, { jobs: 5 }).session);

    expect(desk.claims).toEqual([]);
  });

  it("spends exactly the credit of what it hands over, whatever the ledger answers", async () => {
    const answers = fc.array(fc.boolean(), { minLength: 30, maxLength: 30 });
    const sizes = fc.array(fc.integer({ min: 0, max: 50 }), { minLength: 30, maxLength: 30 });
    await fc.assert(
      fc.asyncProperty(answers, sizes, fc.integer({ min: 1, max: 40 }), async (answers, sizes, jobs) => {
        const desk = await openDesk([laneOf(1)], { perMessage: 4, inFlight: 8 });
        const { session } = liveSession(1, { jobs, bytes: 600 });
        const refs = sizes.map((bytes, at) => refAt(at + 1, { bytes }));
        const isGranted = (jobId: string) => answers[refs.findIndex((ref) => ref.jobId === jobId)] ?? false;
        await desk.offer(refs);
        await desk.join(session);
        for (let at = 0; at < desk.claims.length; at += 1) {
          expect(session.credit.jobs).toBeGreaterThanOrEqual(0);
          expect(session.credit.bytes).toBeGreaterThanOrEqual(0);
          await desk.claims[at]?.grant(isGranted);
        }
        desk.dispatcher.stop();

        const given = new Set(desk.granted.flatMap((grant) => grant.jobIds));
        const bytes = refs.filter((ref) => given.has(ref.jobId)).reduce((sum, ref) => sum + ref.bytes, 0);
        expect(session.credit).toEqual({ jobs: jobs - given.size, bytes: 600 - bytes });
        const tried = desk.claims.flatMap((claim) => claim.jobIds);
        expect(tried).toEqual(refs.slice(0, tried.length).map((ref) => ref.jobId));
      }),
      { numRuns: 50 },
    );
  });
});
