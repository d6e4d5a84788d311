import { expect, test } from "vitest";
import { type ClientOptions, problemsOfAccess, readAccess } from "./connection-options.js";

const addressesOf = (options: ClientOptions, env: NodeJS.ProcessEnv = {}) =>
  readAccess(options, env).addresses;
const problemsOf = (options: object, env: NodeJS.ProcessEnv = {}) =>
  problemsOfAccess(options as ClientOptions, env).map(({ field, given }) => `${field}: ${given}`);

test("hubs are given as one address, as a list, or in the environment; an option counts before that", () => {
  const env = { HOLDFAST_ADDRESS: "a:1, b:2" };
  expect(addressesOf({ address: "one:1" }, env)).toEqual(["one:1"]);
  expect(addressesOf({ address: ["one:1", "two:2"] }, env)).toEqual(["one:1", "two:2"]);
  expect(addressesOf({ addresses: ["one:1", "two:2"] }, env)).toEqual(["one:1", "two:2"]);
  expect(addressesOf({}, env)).toEqual(["a:1", "b:2"]);
  for (const options of [{ address: "one:1" }, { addresses: ["[::1]:1"] }, {}]) {
    expect(problemsOf(options, env)).toEqual([]);
  }
});

test("no hub at all, both options, an empty list and each wrong address are refused by name", () => {
  expect(problemsOf({})).toEqual(["address: undefined"]);
  expect(problemsOf({ address: "one:1", addresses: ["two:2"] })).toEqual(["addresses: both"]);
  expect(problemsOf({ addresses: [] })).toEqual(["addresses: a list of 0"]);
  expect(problemsOf({ addresses: "one:1" })).toEqual(['addresses: "one:1"']);
  expect(problemsOf({ addresses: ["one:1", "http://two"] })).toEqual(['addresses[1]: "http://two"']);
  expect(problemsOf({}, { HOLDFAST_ADDRESS: "a:1,,b:2" })).toEqual(['HOLDFAST_ADDRESS[1]: ""']);
});
