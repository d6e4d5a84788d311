import { Command } from "commander";
import { expect, onTestFinished, test, vi } from "vitest";
import { grpcAddressesOption } from "./addresses.js";

const addressesOf = (...args: string[]) =>
  new Command().addOption(grpcAddressesOption("--address")).parse(args, { from: "user" }).opts().address;

test("the hubs are those that were given, and no other", () => {
  expect(addressesOf("--address", "a:1,b:2")).toEqual(["a:1", "b:2"]);
  vi.stubEnv("HOLDFAST_ADDRESS", "c:3, d:4");
  onTestFinished(() => void vi.unstubAllEnvs());
  expect(addressesOf()).toEqual(["c:3", "d:4"]);
  expect(addressesOf("--address", "a:1")).toEqual(["a:1"]);
});
