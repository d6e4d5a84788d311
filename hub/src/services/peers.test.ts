import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { BusMessage } from "../bus/bus.js";
import { Peers } from "./peers.js";

beforeEach(() => vi.useFakeTimers());
afterEach(() => {
  for (const { peers } of opened.splice(0)) peers.stop();
  vi.useRealTimers();
});

const opened: { peers: Peers }[] = [];

function open() {
  const sent: BusMessage[] = [];
  let hear: (message: BusMessage) => void = () => undefined;
  const peers = new Peers(
    {
      publish: (message) => sent.push(message) > 0,
      onMessage: (listener) => {
        hear = listener;
      },
      onResumed: () => undefined,
      close: async () => undefined,
    },
    "own",
  );
  peers.start();
  opened.push({ peers });
  return { peers, sent, hear: (message: BusMessage) => hear(message) };
}

const here = (hub: string, isWatching = false): BusMessage => ({ type: "here", hub, isWatching });
const lease = { jobId: "j", fencingToken: 1n, reason: "cancelled", graceMs: 0, message: "" } as const;

describe("the other hubs", () => {
  it("are none until one is heard, and nothing is told to nobody", () => {
    const { peers, sent } = open();

    peers.keyRevoked("k");
    peers.jobsChanged(["j"]);

    expect(peers.count).toBe(0);
    expect(sent).toEqual([here("own")]);
  });

  it("are answered when they are new, and forgotten when they are silent or leave", () => {
    const { peers, sent, hear } = open();

    hear(here("a"));
    hear(here("b"));
    hear(here("a"));

    expect(peers.count).toBe(2);
    expect(sent).toHaveLength(3);
    hear({ type: "drain", hub: "a" });
    expect(peers.count).toBe(1);
    vi.advanceTimersByTime(5_000);
    expect(peers.count).toBe(0);
  });

  it("are told of changes only while one of them watches", () => {
    const { peers, hear } = open();

    hear(here("a"));
    expect(peers.areWatching).toBe(false);
    hear(here("b", true));
    expect(peers.areWatching).toBe(true);
    hear(here("b", false));
    expect(peers.areWatching).toBe(false);
    hear(here("b", true));
    hear({ type: "drain", hub: "b" });
    expect(peers.areWatching).toBe(false);
  });

  it("hear at once when somebody begins to watch here, and once", () => {
    const { peers, sent } = open();

    peers.watching(true);
    peers.watching(true);

    expect(sent).toEqual([here("own"), here("own", true)]);
  });

  it("get revokes of one moment together, and no message without bound", async () => {
    const { peers, sent, hear } = open();
    hear(here("a"));
    sent.length = 0;

    for (let at = 0; at < 250; at++) peers.revoke("s", { ...lease, message: "x".repeat(10_000) });
    await Promise.resolve();

    const revokes = sent.flatMap((message) => (message.type === "revoke" ? [message.leases] : []));
    expect(revokes.map((leases) => leases.length)).toEqual([100, 100, 50]);
    expect(JSON.stringify(revokes[0]?.map((one) => one.message)).length).toBeLessThan(100_000);
  });

  it("hear a goodbye, once", () => {
    const { peers, sent } = open();

    peers.stop();
    peers.stop();

    expect(sent.at(-1)).toEqual({ type: "drain", hub: "own" });
    expect(sent).toHaveLength(2);
  });
});
