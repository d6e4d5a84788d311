import { AuditService } from "@holdfast/gen/holdfast/v1/audit_service_pb";
import { LimitService } from "@holdfast/gen/holdfast/v1/limit_service_pb";
import { BundleCheck, type CheckedBundle, type ReadSigned } from "../../src/domain/audit-check.js";
import type { RawClient } from "./raw-client.js";

/** An act of an operator: pauses a queue. */
export async function pauseQueue(client: RawClient, queue: string, reason = "why"): Promise<void> {
  await client.call(LimitService.method.set, {
    target: { target: { case: "queue", value: { product: "default", queue } } },
    settings: { settings: { case: "pause", value: {} } },
    justification: { reason, ticket: "OPS-1" },
  });
}

/** Lines of the bundle that the hub exports. */
export async function exportLines(
  client: RawClient,
  range: { first?: bigint; last?: bigint } = {},
): Promise<string[]> {
  const chunks: Uint8Array[] = [];
  for await (const { chunk } of client.serverStream(AuditService.method.export, range)) chunks.push(chunk);
  return Buffer.concat(chunks).toString().split("\n").slice(0, -1);
}

export async function checkLines(lines: readonly string[], readSigned: ReadSigned): Promise<CheckedBundle> {
  const check = new BundleCheck(readSigned);
  for (const line of lines) await check.take(Buffer.from(line));
  return check.finish();
}

export function operationsIn(lines: readonly string[]): Record<string, unknown>[] {
  return lines.flatMap((line) => (line.startsWith('{"operation"') ? [JSON.parse(line).operation] : []));
}
