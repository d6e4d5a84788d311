import { afterEach, beforeEach, expect, it, vi } from "vitest";
import type { ChannelHead } from "../domain/channel.js";
import { SignalRouter } from "./signal-router.js";

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

const channelId = 7;
const headAt = (lastSequence: number): ChannelHead => ({
  channelId,
  partition: 0,
  firstSequence: 1,
  lastSequence,
  heldBytes: 0,
});
const pageAt = (sequence: number) => ({
  firstSequence: sequence,
  lastSequence: sequence,
  publishedAtMs: 0,
  producer: "p",
  body: new Uint8Array(1),
});

function open() {
  let lastSequence = 0;
  const looks: number[][] = [];
  const told: number[] = [];
  const ledger = {
    readHeads: async (channelIds: readonly number[]) => {
      looks.push([...channelIds]);
      return [headAt(lastSequence)];
    },
  };
  const router = new SignalRouter(
    ledger,
    (id) => told.push(id),
    () => undefined,
  );
  router.start();
  let wakes = 0;
  const tail = router.follow(headAt(0), () => {
    wakes += 1;
  });
  return {
    router,
    tail,
    looks,
    told,
    wakes: () => wakes,
    storeElsewhere: (sequence: number) => {
      lastSequence = sequence;
    },
  };
}

it("a message of another hub brings its signals long before the next look", async () => {
  const { router, tail, storeElsewhere, wakes } = open();
  storeElsewhere(3);

  router.wake([channelId]);
  await vi.advanceTimersByTimeAsync(1);

  expect(tail.lastSequence).toBe(3);
  expect(wakes()).toBe(1);
  await router.stop();
});

it("without a message the next look brings them", async () => {
  const { router, tail, storeElsewhere } = open();
  storeElsewhere(3);

  await vi.advanceTimersByTimeAsync(250);

  expect(tail.lastSequence).toBe(3);
  await router.stop();
});

it("nobody looks at channels that nobody follows here", async () => {
  const { router, tail, looks } = open();
  tail.leave();

  router.wake([channelId, 8]);
  await vi.advanceTimersByTimeAsync(1_000);

  expect(looks).toEqual([]);
  await router.stop();
});

it("many messages at once are one look, and one more for those that come meanwhile", async () => {
  const { router, looks } = open();

  for (let at = 0; at < 100; at += 1) router.wake([channelId]);
  await vi.advanceTimersByTimeAsync(1);

  expect(looks).toEqual([[channelId]]);
  await router.stop();
});

it("what this hub stores is told to the others, and is at hand for who follows here", () => {
  const { router, tail, told } = open();

  router.published(channelId, 0, pageAt(1));

  expect(told).toEqual([channelId]);
  expect(tail.pageWith(1)).not.toBeNull();
  expect(tail.lastSequence).toBe(1);
});

it("a page of another hub in between makes the window begin anew, and nothing is offered out of order", async () => {
  const { router, tail, storeElsewhere } = open();
  router.published(channelId, 0, pageAt(1));
  storeElsewhere(3);
  await vi.advanceTimersByTimeAsync(250);

  router.published(channelId, 0, pageAt(4));

  expect(tail.lastSequence).toBe(4);
  expect([1, 2, 3].map((sequence) => tail.pageWith(sequence))).toEqual([null, null, null]);
  expect(tail.pageWith(4)).not.toBeNull();
  await router.stop();
});
