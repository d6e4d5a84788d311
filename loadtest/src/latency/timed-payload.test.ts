import { expect, test } from "vitest";
import { payloadOf } from "../job-payload.js";
import { timedPayload, timedPayloadBytesMin } from "./timed-payload.js";

test("a payload has exactly the bytes that were asked for", () => {
  expect(JSON.stringify(payloadOf(200))).toHaveLength(200);
  for (const sequence of [0, 72_000_000])
    for (const sentAtMs of [1_795_000_000_000, 1_795_000_000_000.123])
      for (const bytes of [timedPayloadBytesMin, 200])
        expect(JSON.stringify(timedPayload(sequence, sentAtMs, bytes))).toHaveLength(bytes);
});
