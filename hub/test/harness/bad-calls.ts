// Bad input: calls that must be refused, and that nothing changes by them.
import {
  create,
  type DescMessage,
  type DescMethodUnary,
  type MessageInitShape,
  toBinary,
} from "@bufbuild/protobuf";
import { afterAll, beforeAll, expect, test } from "vitest";
import { callHttp } from "./raw-http.js";
import { type HubUnderTest, useHub } from "./raw-hub.js";
import { submitOne } from "./raw-jobs.js";
import { attachWorker, greeting, type RawWorker } from "./raw-worker.js";

export const KiB = 1 << 10;
export const noUuid = "not-a-uuid";
export const absent = "01980000-0000-7000-8000-000000000000";
/** A worker that has nothing to do. */
export const idle = { ...greeting, kinds: ["nothing"] };

export const long = (count: number) => "x".repeat(count);

export function many<Item>(count: number, item: (at: number) => Item): Item[] {
  return Array.from({ length: count }, (_, at) => item(at));
}

/** A page token as no hub made it. */
export function forged(position: unknown, listed: unknown): string {
  return Buffer.from(JSON.stringify([position, JSON.stringify(listed)])).toString("base64url");
}

export interface WitnessedHub extends HubUnderTest {
  /** Does what must neither write anything nor be noticed by the session beside it. */
  changesNothing<Answer>(act: () => Promise<Answer>): Promise<Answer>;
}

/** A hub with small limits and a worker attached, which is still leased jobs and reports them when all is over. */
export function useWitnessedHub(): WitnessedHub {
  const house = useHub({
    payloadBytesMax: 4 * KiB,
    resultBytesMax: 4 * KiB,
    checkpointBytesMax: 4 * KiB,
    batchJobsMax: 5,
  });
  let neighbour: RawWorker;
  let hasNeighbourLeft = false;
  beforeAll(async () => {
    neighbour = await attachWorker(house.client(), { kinds: ["neighbour"] });
    neighbour.credit(100, 1 << 20);
    void neighbour.stream.ended.then(() => {
      hasNeighbourLeft = true;
    });
  });
  afterAll(async () => {
    await submitOne(house.client(), { kind: "neighbour" });
    expect((await neighbour.succeed(await neighbour.lease())).verdict).toBe(1);
  });
  return {
    ...house,
    async changesNothing(act) {
      const before = await written(house);
      const answer = await act();
      expect(await written(house)).toEqual(before);
      expect(hasNeighbourLeft).toBe(false);
      return answer;
    },
  };
}

/**
 * What the ledger holds, table by table. A session's renewal is not a change, nor is a page without events: it fills the number of
 * a statement that changed nothing while another was on its way.
 */
async function written(house: HubUnderTest): Promise<unknown> {
  const tables = [
    "job",
    "event",
    "idempotency",
    "checkpoint",
    "timer",
    "lane",
    "api_key",
    "tenant",
    "session",
  ];
  const counts = tables.map((table) => `(select count(*)::integer from ${table}) as ${table}`);
  return (await house.query(`select ${counts.join(", ")}`))[0];
}

export interface BadCall {
  readonly title: string;
  readonly method: DescMethodUnary;
  readonly request: MessageInitShape<DescMessage>;
  readonly field: string | RegExp;
  readonly code: number;
  readonly reason: string;
}

export function bad<I extends DescMessage, O extends DescMessage>(
  title: string,
  method: DescMethodUnary<I, O>,
  request: MessageInitShape<I>,
  field: string | RegExp,
  [code, reason]: readonly [number, string] = [3, "INVALID_FIELD"],
): BadCall {
  return {
    title,
    method: method as unknown as DescMethodUnary,
    request: request as BadCall["request"],
    field,
    code,
    reason,
  };
}

/** A test for each: refused with ErrorInfo, on both ports alike. */
export function testRefusals(house: WitnessedHub, badCalls: readonly BadCall[]): void {
  for (const { title, method, request, field, code, reason } of badCalls)
    test(`${method.name}: ${title}`, async () => {
      await house.changesNothing(async () => {
        const byGrpc = await house.client().refused(method, request);
        expect(byGrpc).toMatchObject({ code, reason, domain: "holdfast" });
        expect(byGrpc.metadata.field ?? "").toMatch(typeof field === "string" ? asWhole(field) : field);
        const byHttp = await callHttp(
          house.hub().httpAddress,
          method,
          toBinary(method.input, create(method.input, request)),
        );
        expect(byHttp).toMatchObject({ code, reason, domain: "holdfast", metadata: byGrpc.metadata });
      });
    });
}

function asWhole(text: string): RegExp {
  return new RegExp(`^${text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}$`);
}
