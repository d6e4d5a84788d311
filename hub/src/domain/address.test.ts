import { describe, expect, it } from "vitest";
import { isLoopback, splitAddress } from "./address.js";

describe("an address", () => {
  it.each([
    ["127.0.0.1:7420", { host: "127.0.0.1", port: 7420 }],
    ["localhost:0", { host: "localhost", port: 0 }],
    ["[::1]:7420", { host: "::1", port: 7420 }],
    ["0.0.0.0:1", { host: "0.0.0.0", port: 1 }],
  ])("%s has a host and a port", (address, parts) => {
    expect(splitAddress(address)).toEqual(parts);
  });

  it.each([
    ["127.0.0.1", true],
    ["127.9.9.9", true],
    ["::1", true],
    ["localhost", true],
    ["0.0.0.0", false],
    ["::", false],
    ["10.0.0.1", false],
    ["127.0.0.1.example.com", false],
    ["localhost.example.com", false],
  ])("%s is on this machine only: %s", (host, isLocal) => {
    expect(isLoopback(host)).toBe(isLocal);
  });
});
