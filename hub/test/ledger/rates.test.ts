import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { BreakerPhase } from "../../src/domain/breaker.js";
import { type GateSettings, GateType, type RateGate } from "../../src/domain/gate.js";
import { noSamples, type RateAsk } from "../../src/domain/rate-draw.js";
import type { TimedDraw } from "../../src/ledger/draw-rates.js";
import type { Ledger } from "../../src/ledger/ledger.js";
import { Allowance } from "../../src/services/allowance.js";
import { claimAll, openSession, readRow, submitOne } from "../harness/ledger-acts.js";
import { type LedgerRoom, openLedgerRoom } from "../harness/ledger-room.js";

let room: LedgerRoom;
let hubs: readonly Ledger[];
beforeAll(async () => {
  room = await openLedgerRoom();
  hubs = [room.ledger, await room.openLedger(), await room.openLedger()];
});
afterAll(() => room.close());

const operator = { tenantId: 1, subject: "ops", reason: "", ticket: "" };
const ask = (more: Partial<RateAsk> = {}): RateAsk => ({
  wanted: 0,
  settled: [],
  samples: noSamples,
  random: 0.5,
  ...more,
});
let sources = 0;

async function makeGate(settings: GateSettings): Promise<RateGate> {
  sources += 1;
  const target = { type: "source", source: `service-${sources}` } as const;
  return (await room.ledger.setGate(operator, "rate.set", target, settings)) as RateGate;
}

const bucket = (ratePerSecond: number, capacity: number): GateSettings => ({
  type: GateType.Bucket,
  settings: { note: "", ratePerSecond, capacity, adaptive: null },
});
const breaker = (coolDownMs: number): GateSettings => ({
  type: GateType.Breaker,
  settings: {
    note: "",
    failureRatio: 0.5,
    samplesMin: 4,
    windowMs: 10_000,
    coolDownMs,
    coolDownMaxMs: coolDownMs,
    probes: 2,
  },
});

async function draw(ledger: Ledger, gateId: number, one: RateAsk): Promise<TimedDraw> {
  for (;;) {
    const [answer] = await ledger.drawRates([{ gateId, ask: one }]);
    if (answer === "gone" || answer === undefined) throw new Error("The gate is gone.");
    if (answer !== "busy") return answer;
  }
}

const tokensOf = (drawn: TimedDraw) => drawn.chunk?.tokens ?? 0;

describe("a rate gate that several hubs draw from at once", () => {
  it("grants each token once (D19)", async () => {
    const { gateId } = await makeGate(bucket(0.001, 1_000));
    const draws = await Promise.all(
      Array.from({ length: 60 }, (_, at) => draw(hubs[at % 3] as Ledger, gateId, ask({ wanted: 29 }))),
    );
    expect(draws.reduce((sum, one) => sum + tokensOf(one), 0)).toBe(1_000);
    const chunks = draws.flatMap(({ chunk }) => chunk?.chunk ?? []);
    expect(new Set(chunks).size).toBe(chunks.length);
  });

  it("grants a quota once, over all hubs", async () => {
    const { gateId } = await makeGate({
      type: GateType.Quota,
      settings: { note: "", startsMax: 100, windowMs: 7 * 86_400_000 },
    });
    const draws = await Promise.all(
      Array.from({ length: 30 }, (_, at) => draw(hubs[at % 3] as Ledger, gateId, ask({ wanted: 7 }))),
    );
    expect(draws.reduce((sum, one) => sum + tokensOf(one), 0)).toBe(100);
  });

  it("keeps to its rate in the long run, within 2 %, by the ledger's clock (D19)", async () => {
    const rate = 400;
    // Large enough that a machine that stands still for a moment loses nothing.
    const gate = await makeGate(bucket(rate, 4 * rate));
    const first = await draw(room.ledger, gate.gateId, ask({ wanted: 4 * rate }));
    let started = 0;
    let draws = 0;
    let lastAtMs = first.nowMs;
    const settled = [{ chunk: first.chunk?.chunk ?? 0, unused: 0, endedAgoMs: 0 }];
    await draw(room.ledger, gate.gateId, ask({ settled }));
    let isOver = false;
    const live = async (ledger: Ledger) => {
      const allowance = new Allowance(gate, 0, () => undefined);
      while (!isOver) {
        allowance.takeStep(performance.now());
        const may = allowance.startsMax(performance.now());
        allowance.take(may, performance.now());
        started += may;
        if (allowance.dueAt(performance.now()) <= performance.now()) {
          const sent = allowance.send(performance.now(), Math.random());
          const answer = await draw(ledger, gate.gateId, sent.ask);
          draws += 1;
          lastAtMs = Math.max(lastAtMs, answer.nowMs);
          isOver = answer.nowMs - first.nowMs > 6_000;
          allowance.answered(sent, answer, performance.now());
        }
        await sleep(5);
      }
    };
    await Promise.all(hubs.map(live));
    const allowed = (rate * (lastAtMs - first.nowMs)) / 1_000;
    expect(started).toBeLessThanOrEqual(allowed + 1);
    // The last chunks were granted and not used when it was over.
    expect(started).toBeGreaterThan(allowed * 0.98 - rate / 4);
    expect(draws).toBeLessThanOrEqual((3 * (lastAtMs - first.nowMs)) / 200 + 6);
  });

  it("is gone for all when it was removed", async () => {
    const { gateId, target } = await makeGate(bucket(1, 1));
    await room.ledger.removeGate(operator, "bucket.remove", target, GateType.Bucket);
    expect(await room.ledger.drawRates([{ gateId, ask: ask({ wanted: 1 }) }])).toEqual(["gone"]);
  });
});

describe("a breaker that several hubs tell of", () => {
  it("stops every claim of a hub that has not heard that it opened", async () => {
    const { gateId } = await makeGate(breaker(60_000));
    const sessionId = await openSession(room);
    const jobId = await submitOne(room);
    const { epoch: known } = await room.ledger.readGateEpoch();
    const samples = { ...noSamples, failed: 4 };

    const opened = await draw(hubs[1] as Ledger, gateId, ask({ samples }));

    expect(opened).toMatchObject({ turnedTo: "open", chunk: null, isFree: false });
    const claim = { jobId, sessionId, delivery: 1, gateEpoch: known };
    expect(await room.ledger.claim([claim])).toEqual(["gates_changed"]);
    expect(await readRow(room, jobId)).toMatchObject({ token: 0 });
    const { gates, epoch } = await room.ledger.readGates();
    expect(epoch).toBe(known + 1);
    expect(gates.find((gate) => gate.gateId === gateId)).toMatchObject({ state: { phase: "open", turn: 1 } });
    await expect(claimAll(room.ledger, sessionId, [jobId], 2)).rejects.toThrow();
  });

  it("goes through its phases one after the other, whatever they tell at the same time", async () => {
    const act = fc.record({
      hub: fc.nat(2),
      wanted: fc.nat(4),
      answered: fc.nat(3),
      failed: fc.nat(3),
      pauseMs: fc.nat(15),
      isUsed: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(act, { minLength: 3, maxLength: 25 }), { minLength: 3, maxLength: 5 }),
        async (lives) => {
          const { gateId } = await makeGate(breaker(20));
          const { epoch: epochBefore } = await room.ledger.readGateEpoch();
          const draws: TimedDraw[] = [];
          const live = async (acts: (typeof lives)[number]) => {
            let turn = 0;
            let settled: RateAsk["settled"] = [];
            for (const { hub, wanted, answered, failed, pauseMs, isUsed } of acts) {
              const samples = { ...noSamples, answered, failed, turn };
              const drawn = await draw(hubs[hub] as Ledger, gateId, ask({ wanted, samples, settled }));
              draws.push(drawn);
              turn = drawn.turn;
              const { chunk } = drawn;
              settled = chunk
                ? [{ chunk: chunk.chunk, unused: isUsed ? 0 : chunk.tokens, endedAgoMs: 0 }]
                : [];
              await sleep(pauseMs);
            }
          };
          await Promise.all(lives.map(live));

          const turned = draws.filter(({ turnedTo }) => turnedTo !== null).sort((a, b) => a.turn - b.turn);
          expect(turned.map(({ turn }) => turn)).toEqual(turned.map((_, at) => at + 1));
          let phase: BreakerPhase = "closed";
          const phases = new Map<number, BreakerPhase>([[0, phase]]);
          for (const { turn, turnedTo } of turned) {
            const next = turnedTo as BreakerPhase;
            expect(["closed>open", "open>half_open", "half_open>open", "half_open>closed"]).toContain(
              `${phase}>${next}`,
            );
            phase = next;
            phases.set(turn, phase);
          }
          for (const one of draws)
            if (phases.get(one.turn) === "open") expect(one).toMatchObject({ chunk: null, isFree: false });
          const openings = turned.filter(({ turnedTo }) => turnedTo === "open").length;
          expect((await room.ledger.readGateEpoch()).epoch).toBe(epochBefore + openings);
          const { gates } = await room.ledger.readGates();
          const left = gates.find((gate) => gate.gateId === gateId) as RateGate;
          expect(left.state).toMatchObject(draws.length > 0 ? { phase, turn: turned.length } : {});
        },
      ),
      { numRuns: 12 },
    );
  });
});
