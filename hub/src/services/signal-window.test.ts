import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { SignalPage } from "../domain/signal-page.js";
import { SignalWindow, windowBytesMax } from "./signal-window.js";

function pageOf(firstSequence: number, count: number, bytes = 10): SignalPage {
  const body = new Uint8Array(bytes);
  return { firstSequence, lastSequence: firstSequence + count - 1, publishedAtMs: 0, producer: "p", body };
}

/** Pages that follow each other. */
function pagesOf(counts: readonly number[]): SignalPage[] {
  let next = 1;
  return counts.map((count) => {
    const page = pageOf(next, count);
    next += count;
    return page;
  });
}

const counts = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 12 });

describe("the window of a partition", () => {
  it("is contiguous whatever order pages of a commit come in, and finds each sequence in its page", () => {
    fc.assert(
      fc.property(
        counts.chain((given) =>
          fc.tuple(
            fc.constant(pagesOf(given)),
            fc.shuffledSubarray(pagesOf(given), { minLength: given.length }),
          ),
        ),
        ([pages, order]) => {
          const window = new SignalWindow();
          for (const page of order) window.add(page);
          const first = order[0] as SignalPage;
          // What lies before the first that came is for the ledger.
          const held = pages.filter((page) => page.firstSequence >= first.firstSequence);
          expect(window.end).toBe(pages.at(-1)?.lastSequence);
          for (const page of held)
            for (let at = page.firstSequence; at <= page.lastSequence; at += 1)
              expect(window.pageWith(at)?.firstSequence).toBe(page.firstSequence);
          expect(window.pageWith(first.firstSequence - 1)).toBeNull();
        },
      ),
    );
  });

  it("never offers what comes after a page of another hub, until it begins anew", () => {
    const window = new SignalWindow();
    window.add(pageOf(1, 2));
    window.add(pageOf(5, 2));
    expect(window.pageWith(5)).toBeNull();
    expect(window.end).toBe(2);
    window.restart();
    window.add(pageOf(7, 1));
    expect(window.pageWith(7)).not.toBeNull();
    expect(window.pageWith(2)).toBeNull();
  });

  it("is bounded in bytes, in order and out of it", () => {
    const window = new SignalWindow();
    const bytes = windowBytesMax / 8;
    for (let at = 1; at <= 100; at += 1) window.add(pageOf(at, 1, bytes));
    expect(window.pageWith(100)).not.toBeNull();
    expect(window.pageWith(91)).toBeNull();
    // Every second one is another hub's.
    for (let at = 102; at <= 140; at += 2) window.add(pageOf(at, 1, bytes));
    const held = Array.from({ length: 140 }, (_, at) => window.pageWith(at + 1)).filter(
      (page) => page !== null,
    );
    expect(held.length).toBeLessThanOrEqual(8);
  });
});
