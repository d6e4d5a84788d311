import { expect, it } from "vitest";
import { isNewEnough } from "./nats-server-binary.js";

it.each([
  ["nats-server: v2.10.0", true],
  ["nats-server: v2.15.2", true],
  ["nats-server: v3.0.0-beta", true],
  ["nats-server: v2.9.25", false],
  ["nats-server: v1.40.0", false],
  ["command not found", false],
])("a server that says %j is used: %j", (said, isUsed) => {
  expect(isNewEnough(said)).toBe(isUsed);
});
