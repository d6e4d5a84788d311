import { status } from "@grpc/grpc-js";
import { expect, test } from "vitest";
import type { WorkerState } from "../worker-state.js";
import { AddressRing } from "./address-ring.js";
import { type AttachmentEnd, endOfFailure, endOfSilence } from "./attachment-end.js";
import { Supervisor } from "./supervisor.js";

const lost = (liveMs: number) => endOfSilence("lost", liveMs);
const drained = (liveMs: number): AttachmentEnd => ({ outcome: "drained", liveMs });
const served: AttachmentEnd = { outcome: "served", liveMs: 1 };

/** A supervisor whose attachments end as given, one after the other; then there is nothing left to do. */
async function run(ends: AttachmentEnd[], addresses = ["one"]) {
  const states: WorkerState[] = [];
  const attempts: string[] = [];
  const left = [...ends];
  const supervisor = new Supervisor({
    ring: new AddressRing(addresses),
    backoff: { firstMs: 4, maxMs: 16, resetAfterMs: 1_000 },
    attach: async (address) => {
      attempts.push(address);
      return left.shift() as AttachmentEnd;
    },
    isDone: () => left.length === 0,
    onState: (state) => states.push(state),
    onEnd: () => {},
    random: () => 1,
  });
  const failure = await supervisor.run();
  const delays = states.flatMap((state) => (state.name === "backing-off" ? [state.delayMs] : []));
  return { states: states.map(({ name }) => name), attempts, delays, failure };
}

test("delays grow over attachments that did not last, however often they were live", async () => {
  const { delays } = await run([lost(0), lost(999), lost(500), lost(0), served]);
  expect(delays).toEqual([4, 8, 16, 16]);
});

test("an attachment that lasted makes the next delay the first again", async () => {
  const { delays } = await run([lost(0), lost(0), lost(1_000), lost(0), served]);
  expect(delays).toEqual([4, 8, 4, 8]);
});

test("every attempt is made at the next address, and the list goes round", async () => {
  const { attempts } = await run([lost(0), drained(5_000), lost(0), served], ["one", "two", "three"]);
  expect(attempts).toEqual(["one", "two", "three", "one"]);
});

test("the next hub is tried at once, and a delay comes only after a whole round has failed", async () => {
  const three = ["one", "two", "three"];
  const { attempts, delays } = await run(
    [lost(0), lost(0), lost(0), lost(0), lost(0), lost(0), served],
    three,
  );
  expect(attempts).toEqual([...three, ...three, "one"]);
  expect(delays).toEqual([4, 8]);
  expect((await run([lost(5_000), lost(0), lost(5_000), lost(0), served], three)).delays).toEqual([]);
});

test("a hub that leaves is replaced without delay, unless hubs do nothing but leave", async () => {
  expect((await run([drained(5_000), drained(5_000), served])).delays).toEqual([]);
  expect((await run([drained(1), drained(1), served])).delays).toEqual([4, 8]);
});

test("a hub's retry-after is the least delay", async () => {
  const failure = { reason: "BACKLOG_FULL", message: "", metadata: {}, grpcCode: 8, retryAfterMs: 30 };
  expect((await run([endOfFailure(failure, 0), served])).delays).toEqual([30]);
});

test("a fatal end is the last one, and comes out with its reason", async () => {
  const refusal = {
    reason: "UNAUTHENTICATED",
    message: "no key",
    metadata: {},
    grpcCode: status.UNAUTHENTICATED,
    retryAfterMs: undefined,
  };
  const { failure, states, attempts } = await run([endOfFailure(refusal, 0), served]);
  expect(failure).toEqual({ kind: "refused", failure: refusal });
  expect(states.at(-1)).toBe("closed");
  expect(attempts).toHaveLength(1);
});

test("a worker that is done does not wait for the end of a delay", async () => {
  let isDone = false;
  const supervisor: Supervisor = new Supervisor({
    ring: new AddressRing(["one"]),
    backoff: { firstMs: 1_000_000, maxMs: 1_000_000, resetAfterMs: 1_000 },
    attach: async () => lost(0),
    isDone: () => isDone,
    onState: ({ name }) => {
      if (name !== "backing-off") return;
      setImmediate(() => {
        supervisor.wake();
        isDone = true;
        supervisor.wake();
      });
    },
    onEnd: () => {},
    random: () => 1,
  });
  expect(await supervisor.run()).toBeUndefined();
});

test("a change of state that is not in the diagram is a broken invariant", () => {
  const supervisor = new Supervisor({
    ring: new AddressRing(["one"]),
    backoff: { firstMs: 1, maxMs: 1, resetAfterMs: 1 },
    attach: async () => served,
    isDone: () => false,
    onState: () => {},
    onEnd: () => {},
    random: () => 1,
  });
  supervisor.enter({ name: "connecting", address: "one" });
  expect(() => supervisor.enter({ name: "draining", address: "one", leaving: "hub" })).toThrow(
    "cannot go from connecting to draining",
  );
});
