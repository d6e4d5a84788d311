import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeBusMessage, encodeBusMessage } from "./bus-codec.js";

const id = "01980000-0000-7000-8000-000000000001";
const lease = { sessionId: id, jobId: id, fencingToken: "7", reason: "cancelled", graceMs: 0, message: "" };
const revoke = (change: object) => JSON.stringify({ type: "revoke", leases: [{ ...lease, ...change }] });

describe("a message between hubs", () => {
  it("keeps tokens that no number of JSON can hold", () => {
    const leases = [{ ...lease, reason: "deadline", fencingToken: 2n ** 63n - 1n }] as const;

    expect(decodeBusMessage(encodeBusMessage({ type: "revoke", leases }))).toEqual({
      type: "revoke",
      leases,
    });
  });

  it.each([
    "",
    "{",
    "null",
    "7",
    "[]",
    "{}",
    '{"type":"toString"}',
    '{"type":"newer"}',
    '{"type":"here","hub":"a"}',
    '{"type":"here","hub":"","isWatching":true}',
    '{"type":"drain"}',
    '{"type":"jobs_changed"}',
    '{"type":"jobs_changed","jobIds":"all"}',
    '{"type":"jobs_changed","jobIds":["x"]}',
    '{"type":"wake","laneIds":[-1]}',
    '{"type":"wake","laneIds":["1"]}',
    '{"type":"signals_stored"}',
    '{"type":"signals_stored","channelIds":[0.5]}',
    '{"type":"key_revoked"}',
    '{"type":"config_changed","what":"weather"}',
    '{"type":"revoke"}',
    '{"type":"revoke","leases":[null]}',
    revoke({ fencingToken: 7 }),
    revoke({ fencingToken: "-7" }),
    revoke({ fencingToken: "0x7" }),
    revoke({ sessionId: "x" }),
    revoke({ jobId: undefined }),
    revoke({ reason: "boredom" }),
    revoke({ graceMs: -1 }),
    revoke({ message: 1 }),
  ])("is not %s", (text) => {
    expect(decodeBusMessage(text)).toBeNull();
  });

  it("is never made of anything else, and nothing else makes it throw", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
        expect(decodeBusMessage(text)).toBeNull();
      }),
    );
  });
});
