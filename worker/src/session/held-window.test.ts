import { describe, expect, it } from "vitest";
import { newWindow, windowAfter } from "./held-window.js";

describe("the window of held leases", () => {
  it("starts at its least", () => {
    expect(newWindow(32, 4_096, 0).jobs).toBe(32);
  });

  it("stays at its least while jobs are slow", () => {
    const window = windowAfter(newWindow(32, 4_096, 0), 2, 1_000);

    expect(window.jobs).toBe(32);
  });

  it("holds 200 ms of work when jobs are quick, and no more than its most", () => {
    expect(windowAfter(newWindow(32, 4_096, 0), 100, 100).jobs).toBe(200);
    expect(windowAfter(newWindow(32, 4_096, 0), 10_000, 100).jobs).toBe(4_096);
  });

  it("takes no rate from less than 20 ms, and forgets nothing meanwhile", () => {
    const early = windowAfter(newWindow(32, 4_096, 0), 100, 10);

    expect(early.jobs).toBe(32);
    expect(windowAfter(early, 100, 40).jobs).toBe(1_000);
  });

  it("shrinks again when jobs become slow", () => {
    const quick = windowAfter(newWindow(32, 4_096, 0), 1_000, 100);

    expect(windowAfter(quick, 1, 10_100).jobs).toBe(32);
  });
});
