import { expect, test } from "vitest";
import { digestOfSeal, type Seal } from "../domain/audit.js";
import type { AuditSigner } from "./audit-key.js";
import { Sealer } from "./sealer.js";

const at = "2026-01-01T00:00:00.000000Z";
const operation = {
  ...{
    operationId: "01980000-0000-7000-8000-000000000000",
    at,
    subject: "",
    action: "pause.set",
    target: "tenant",
  },
  ...{ reason: "", ticket: "", before: null, after: null },
};

/** Signs by writing the payload as it is. */
const signer: AuditSigner = {
  keyId: "key",
  publicKeyPem: "",
  read: async (jws) => JSON.parse(jws),
  sign: async (_type, payload) => JSON.stringify(payload),
};

/** A sealer on a ledger of which there is always more to seal. */
function openSealer() {
  const seals: string[] = [];
  const errors: unknown[] = [];
  const ledger = {
    readUnsealedTenants: async () => [{ tenantId: 1, oldestMs: Date.now() }],
    readSealedTenants: async () => [],
    readSealTexts: async (_tenantId: number, from: number, limit: number) =>
      seals.slice(from - 1, from - 1 + limit).map((seal, n) => ({ number: from + n, seal })),
    readUnsealed: async (_tenantId: number, seenNumber: number) => {
      await new Promise((resolve) => setTimeout(resolve, 1));
      return {
        tenant: "default",
        last: { number: seals.length, seal: seals.at(-1) ?? "" },
        seen: seals[seenNumber - 1] ?? null,
        now: at,
        operations: [operation],
      };
    },
    writeSeal: async (_tenantId: number, number: number, seal: string) => seals.push(seal) === number,
  };
  const observer = { sealed: () => undefined, waited: () => undefined };
  const sealer = new Sealer(ledger, signer, observer, (error) => errors.push(error), 1);
  return { sealer, seals, errors };
}

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

test("a hub that stops does not seal a backlog to its end first", async () => {
  const { sealer, seals, errors } = openSealer();
  sealer.start();
  while (seals.length < 3) await sleep(1);
  await sealer.stop();
  const { length } = seals;
  await sleep(20);
  expect(seals).toHaveLength(length);
  expect(errors).toEqual([]);
  for (const [n, seal] of seals.entries())
    expect((JSON.parse(seal) as Seal).previous).toBe(n === 0 ? "" : digestOfSeal(seals[n - 1] ?? ""));
});
