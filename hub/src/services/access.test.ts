import { describe, expect, it } from "vitest";
import { Access } from "./access.js";

const withoutKeys = {
  hasKeys: async () => false,
  findTenant: async () => 1,
  findGoodKey: async () => null,
  insertKey: () => Promise.reject(new Error("not asked for")),
  listKeys: async () => [],
  revokeKey: async () => null,
};
const hooks = { revoked: () => undefined, closed: () => undefined };

describe("a ledger without keys", () => {
  it("is open to everybody on the machine of its hub", async () => {
    const access = new Access(withoutKeys, hooks, false);

    expect(await access.authenticate(null)).toMatchObject({ tenant: "default", keyId: "" });
  });

  it("is closed at a hub that others can reach, also when its last key is taken away while the hub runs", async () => {
    const access = new Access(withoutKeys, hooks, true);

    await expect(access.authenticate(null)).rejects.toMatchObject({ reason: "UNAUTHENTICATED" });
  });
});
