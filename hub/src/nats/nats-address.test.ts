import { describe, expect, it } from "vitest";
import { readNatsAddress } from "./nats-address.js";

describe("the address of NATS", () => {
  it.each([
    ["nats://one", { servers: ["one:4222"] }],
    ["nats://one:1234,nats://two", { servers: ["one:1234", "two:4222"] }],
    ["nats://[::1]:1234", { servers: ["[::1]:1234"] }],
    ["tls://one", { servers: ["one:4222"], tls: {} }],
    ["nats://one,nats://ada:s%40fe@two", { servers: ["one:4222", "two:4222"], user: "ada", pass: "s@fe" }],
    ["nats://s3cret@one", { servers: ["one:4222"], token: "s3cret" }],
  ])("%s is read as servers, credentials and TLS", (text, expected) => {
    expect(readNatsAddress(text)).toEqual(expected);
  });
});
