import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ChangeRelay } from "./change-relay.js";

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

function relayTo(areWatching: boolean) {
  const told: (readonly string[] | "any")[] = [];
  const relay = new ChangeRelay({
    areWatching,
    jobsChanged: (jobIds) => void told.push(jobIds),
    anyJobChanged: () => void told.push("any"),
  });
  return { relay, told };
}

describe("changes told to other hubs", () => {
  it("are not gathered while nobody watches there", () => {
    const { relay, told } = relayTo(false);

    relay.changed("a");
    vi.runAllTimers();

    expect(told).toEqual([]);
  });

  it("go together, each job once", () => {
    const { relay, told } = relayTo(true);

    for (const jobId of ["a", "b", "a"]) relay.changed(jobId);
    vi.runAllTimers();
    relay.changed("c");
    vi.runAllTimers();

    expect(told).toEqual([["a", "b"], ["c"]]);
  });

  it("become one word when they are more than fit", () => {
    const { relay, told } = relayTo(true);

    for (let at = 0; at < 100_000; at++) relay.changed(String(at));
    vi.runAllTimers();

    expect(told).toEqual(["any"]);
  });

  it("end with the hub", () => {
    const { relay, told } = relayTo(true);

    relay.changed("a");
    relay.stop();
    vi.runAllTimers();

    expect(told).toEqual([]);
  });
});
