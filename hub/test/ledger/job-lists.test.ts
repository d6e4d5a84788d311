import { afterAll, beforeAll, expect, it } from "vitest";
import type { JobFilter } from "../../src/domain/job-view.js";
import { lastUuid } from "../../src/domain/uuid.js";
import { submitItem, unrefused } from "../harness/ledger-acts.js";
import { type LedgerRoom, openLedgerRoom } from "../harness/ledger-room.js";

const all: JobFilter = { states: [], kind: "", queue: "", product: "", labels: {}, submittedAfterMs: 0 };
const others = 20_500;
let room: LedgerRoom;
beforeAll(async () => {
  room = await openLedgerRoom();
});
afterAll(() => room.close());

it("a list goes past the jobs of others, says none of their ids, and has each of its own once", async () => {
  const [other] = await room.sql<{ id: number }>(
    "insert into tenant (name) values ('other') returning tenant_id as id",
  );
  const submit = async (count: number, tenantId: number) => {
    const items = Array.from({ length: count }, () => ({ ...submitItem(room), tenantId }));
    unrefused(await room.ledger.submit(items));
    return items.map((item) => item.jobId);
  };
  const older = await submit(700, 1);
  const theirs = new Set(await submit(others, other?.id ?? 0));
  const newer = await submit(3, 1);

  const listed: string[] = [];
  const said: string[] = [];
  for (let before: string | null = lastUuid; before !== null; ) {
    const page = await room.ledger.listJobs(1, all, before, 500);
    listed.push(...page.jobs.map((job) => job.jobId));
    before = page.nextBeforeId;
    if (before !== null) said.push(before);
  }

  expect(listed).toEqual([...older, ...newer].sort().reverse());
  expect(said.filter((id) => theirs.has(id))).toEqual([]);
});
