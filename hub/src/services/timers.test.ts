import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { TimerPurpose } from "../ledger/fire-timers.js";
import type { JobFeed } from "./job-feed.js";
import { Timers } from "./timers.js";

beforeEach(() => {
  vi.useFakeTimers({ now: 1_800_000_000_000 });
});
afterEach(() => {
  vi.useRealTimers();
});

/** Timers on a ledger that says what is due, and notes what it is asked for. */
function open(due: TimerPurpose[]) {
  const asked: string[] = [];
  const ends = (what: string) => async () => {
    asked.push(what);
    return { endedJobIds: [], leases: [], taken: 1 };
  };
  const ledger = {
    readDueTimers: async () => {
      asked.push("look");
      return due.splice(0);
    },
    fireReadyTimers: async () => {
      asked.push("ready");
      return { refs: [], taken: 1 };
    },
    fireDeadlines: ends("deadline"),
    fireStartDeadlines: ends("startDeadline"),
    fireCancelGraces: ends("cancelGrace"),
    firePreemptGraces: async () => {
      asked.push("preemptGrace");
      return { ended: [], taken: 1 };
    },
  };
  const wakes = {
    timedOut: async () => {
      asked.push("waitTimeout");
      return false;
    },
    left: async () => false,
  };
  const feed = { changed: () => undefined } as unknown as JobFeed;
  const lanes = { offer: () => undefined } as never;
  const failed = (error: unknown) => expect.unreachable(String(error));
  return { asked, timers: new Timers(ledger, lanes, feed, wakes, () => undefined, failed) };
}

test("only what is due is fired", async () => {
  const due: TimerPurpose[] = [];
  const { asked, timers } = open(due);
  timers.start();
  await vi.advanceTimersByTimeAsync(100);
  expect(asked).toEqual(["look"]);
  const purposes = [
    "ready",
    "deadline",
    "cancelGrace",
    "startDeadline",
    "waitTimeout",
    "preemptGrace",
  ] as const;
  due.push(...purposes);
  await vi.advanceTimersByTimeAsync(1_100);
  expect(asked).toEqual(["look", "look", ...purposes]);
  await timers.stop();
});

test("a time that was noted is looked at when it has passed, not a moment before", async () => {
  const { asked, timers } = open([]);
  timers.noteDue(Date.now() + 50);
  await vi.advanceTimersByTimeAsync(50);
  expect(asked).toEqual([]);
  await vi.advanceTimersByTimeAsync(1);
  expect(asked).toEqual(["look"]);
  await timers.stop();
});
