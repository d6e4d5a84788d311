// Submits jobs with a unique key: at most one open job per tenant and key. A longer variant of the submit statement, which
// jobs without such a key do not pay for.
//
// Invariants
//  1. Whoever makes a job open that has a unique key (a submit, a revival) locks the key's row, and raises its turn.
//  2. A key is free if its job has ended, as the statement's snapshot has it. If the row that was locked is of a later turn
//     than the snapshot's, the snapshot is too old to tell: nothing is done for that key, and it is tried again.
//  3. A job that is replaced is cancelled in the transaction that inserts the one in its place, or neither happens. That
//     nobody waits for it is read from its own row, which shows what was committed while its lock was waited for.
import { Fault } from "../domain/fault.js";
import { UniquePolicy } from "../domain/job-spec.js";
import { JobEventType, JobState } from "../domain/job-state.js";
import type { BatchContext, BatchResult, BatchStatement, GroupCommit } from "./group-commit.js";
import { allJobs } from "./job-partitions.js";
import { isByKey, isByKeyOf, linkHistory, numberArray } from "./sql-text.js";
import {
  type AdoptResult,
  accepted,
  adoptJobs,
  findHolders,
  type InsertedRow,
  insertText,
  insertValues,
  judge,
  readBack,
  type SubmitItem,
  type SubmitResult,
  submitJobs,
} from "./submit-jobs.js";

/** Whether a key is free is known at its next try; jobs of one call that replace each other take a turn each. */
const turnsMax = 200;

const noJob = "'00000000-0000-0000-0000-000000000000'::uuid";

/** A submit that comes again is not asked to replace itself, and one whose idempotency key was used replaces nobody. */
const before = `
), locked as (
  select a.id, a.unique_policy, u.tenant_id, u.key, u.job_id, u.turn
  from asked a join unique_key u on ${isByKey("u.tenant_id", "a.tenant_id")} and ${isByKey("u.key", "a.unique_key")}
  where u.job_id <> a.id and not exists (
    select from idempotency k where ${isByKeyOf("k", "a", "tenant_id", "key")})
  order by a.tenant_id, a.unique_key collate "C" for update of u
), holder as (
  select l.id, l.unique_policy, l.tenant_id, l.key, l.job_id, l.job_id = ${noJob} or j.state >= ${JobState.Succeeded} as is_free
  from locked l
  join unique_key seen on ${isByKeyOf("seen", "l", "tenant_id", "key")}
    and seen.turn = l.turn
  left join job j on ${isByKey("j.id", "l.job_id")}
), replaced as (
  update job j set
      state = ${JobState.Cancelled}, finished_at = now(), fencing_token = j.fencing_token + 1,
      outcome = jsonb_build_object('type', 'cancelled', 'reason', 'replaced by ' || h.id), ${linkHistory}
  from holder h
  where ${isByKey("j.id", "h.job_id")} and not h.is_free and h.unique_policy = ${UniquePolicy.Replace}
    and j.state < ${JobState.Leased} and j.attempt = 0 and j.has_waited is null and j.is_linked is null
  returning j.*, h.id as successor, 'replaced by ' || h.id as reason
), input as (
  select a.* from asked a
  where a.id in (select id from holder where is_free) or a.id in (select successor from replaced)
`;

const after = `
), taken as (
  update unique_key u set job_id = i.id, turn = u.turn + 1
  from input i
  where i.id in (select id from inserted)
    and ${isByKey("u.tenant_id", "i.tenant_id")} and ${isByKey("u.key", "i.unique_key")}
), all_told as (
  select * from told
  union all
  select id, state, revision, attempt, fencing_token, run_at, deadline, null, null, ${JobEventType.Cancelled}::smallint,
    null, case when successor in (select id from inserted) then reason else try_again() end,
    prior_at, prior_writer, prior_batch
  from replaced`;

const columns = ", (select r.id from replaced r where r.successor = inserted.id) as replaced_id";

const parts = { before, after, told: "all_told", columns };
const submitting = {
  name: "submit_unique_jobs",
  text: insertText(allJobs, { hasLeases: true, unique: parts }),
};
const adopting = {
  name: "adopt_unique_jobs",
  text: insertText(allJobs, { hasLeases: true, isAdopting: true, unique: parts }),
};

const makeText = `
insert into unique_key (tenant_id, key, job_id)
select tenant_id, key, ${noJob} from unnest($1::integer[], $2::text[]) as i (tenant_id, key) order by tenant_id, key
on conflict do nothing`;

const holdersText = `
select u.job_id, j.state, j.attempt, j.has_waited, j.is_linked is not null as is_linked
from unnest($1::integer[], $2::text[]) with ordinality as i (tenant_id, key, n)
left join unique_key u on ${isByKeyOf("u", "i", "tenant_id", "key")}
left join job j on ${isByKey("j.id", "u.job_id")}
order by i.n`;

/** Again: others took the key meanwhile, or the job that has it started or ended. */
type UniqueResult = SubmitResult | { readonly type: "again" };

/** One item per tenant and key is tried in a batch; the others follow from it, or are answered "again". */
export const submitUniqueJobs: BatchStatement<SubmitItem, UniqueResult> = {
  ...submitJobs,
  name: "submit_unique_jobs",
  run: (on, items) => submitUnique(on, items, submitting),
};

/** The same for entries of the inbox; "again": another hub has it, or the next look at the inbox will tell. */
export const adoptUniqueJobs: BatchStatement<SubmitItem, UniqueResult> = {
  ...submitJobs,
  name: "adopt_unique_jobs",
  run: (on, items) => submitUnique(on, items, adopting),
};

async function submitUnique(
  on: BatchContext,
  items: readonly SubmitItem[],
  statement: typeof submitting,
): Promise<BatchResult<UniqueResult>> {
  const results = new Map<SubmitItem, UniqueResult>(on.isRetry ? await findInserted(on, items) : []);
  // What an earlier try inserted has the key, whichever came first in this one.
  const first = new Map([...results.keys()].map((item) => [keyText(item), item]));
  for (const item of items) if (!first.has(keyText(item))) first.set(keyText(item), item);
  const tried = [...first.values()].filter((item) => !results.has(item));
  const inserted = tried.length > 0 ? await tryEach(on, tried, statement, results) : 0;
  return {
    results: items.map((item) => results.get(item) ?? follow(item, results.get(firstOf(first, item)))),
    wrotePage: inserted > 0,
  };
}

/** Those that an earlier try inserted. */
async function findInserted(
  on: BatchContext,
  items: readonly SubmitItem[],
): Promise<(readonly [SubmitItem, SubmitResult])[]> {
  const ids = items.map((item) => item.jobId);
  const rows = new Map((await readBack(on, ids)).map((row) => [row.id, row]));
  return items.flatMap((item) => {
    const row = rows.get(item.jobId);
    return row ? [[item, accepted(item, row, Number(row.ready_key))] as const] : [];
  });
}

/**
 * Inserts those whose keys are free.
 *
 * @param results what became of each is added to them
 * @returns how many were inserted
 */
async function tryEach(
  on: BatchContext,
  items: readonly SubmitItem[],
  statement: typeof submitting,
  results: Map<SubmitItem, UniqueResult>,
): Promise<number> {
  const firstKey = on.reserveReadyKeys(items.length);
  await makeRows(on, items);
  const inserted = await insertUnique(on, items, firstKey, statement);
  const rows = new Map(inserted.map((row) => [row.id, row]));
  const missing = items.filter((item) => !rows.has(item.jobId));
  const judged = missing.length > 0 ? await judgeMissing(on, missing) : [];
  for (const [at, item] of items.entries()) {
    const row = rows.get(item.jobId);
    if (!row) continue;
    const result = accepted(item, row, firstKey + at);
    const isReplacing = result.type === "accepted" && row.replaced_id;
    results.set(item, isReplacing ? { ...result, replacedJobId: row.replaced_id as string } : result);
  }
  for (const [at, item] of missing.entries()) results.set(item, judged[at] as UniqueResult);
  return inserted.length;
}

/** What becomes of a job whose unique key another one of the batch was tried with. */
function follow(item: SubmitItem, first: UniqueResult | undefined): UniqueResult {
  const { policy } = uniqueOf(item);
  const isHolder = first?.type === "accepted" || first?.type === "held";
  if (!isHolder || policy === UniquePolicy.Replace || item.spec.idempotencyKey !== "")
    return { type: "again" };
  return { type: policy === UniquePolicy.Refuse ? "held" : "existing", jobId: first.jobId };
}

/** Submits jobs, those with a unique key apart from those without; answers in order. */
export async function submitAll(
  writes: GroupCommit,
  items: readonly SubmitItem[],
  patienceMs: number,
): Promise<readonly (SubmitResult | Fault)[]> {
  if (!items.some((item) => item.spec.options.unique)) return writes.commit(submitJobs, items, patienceMs);
  const results = new Map<SubmitItem, SubmitResult | Fault>();
  const enter = async (part: readonly SubmitItem[], answers: Promise<readonly (UniqueResult | Fault)[]>) => {
    const settled = await each(part, answers);
    const again: SubmitItem[] = [];
    for (const [at, item] of part.entries()) {
      const result = settled[at] as UniqueResult | Fault;
      if (!(result instanceof Fault) && result.type === "again") again.push(item);
      else results.set(item, result);
    }
    return again;
  };
  const plain = items.filter((item) => !item.spec.options.unique);
  const plainDone = enter(plain, plain.length > 0 ? writes.commit(submitJobs, plain, patienceMs) : none);
  let open = items.filter((item) => item.spec.options.unique);
  for (let turns = 0; open.length > 0 && turns < turnsMax; turns += 1)
    open = await enter(open, writes.commit(submitUniqueJobs, open, patienceMs));
  await plainDone;
  for (const item of open) results.set(item, keyBusy(uniqueOf(item).key));
  const answers = items.map((item) => results.get(item) as SubmitResult | Fault);
  if (answers.length === 1 && answers[0] instanceof Fault) throw answers[0];
  return answers;
}

/** Makes jobs of entries of the inbox, those with a unique key apart from those without; answers in order. */
export async function adoptAll(
  writes: GroupCommit,
  items: readonly SubmitItem[],
  patienceMs: number,
): Promise<readonly (AdoptResult | Fault)[]> {
  const unique = items.filter((item) => item.spec.options.unique);
  if (unique.length === 0) return writes.commit(adoptJobs, items, patienceMs);
  const plain = items.filter((item) => !item.spec.options.unique);
  const [adopted, taken] = await Promise.all([
    plain.length > 0 ? each(plain, writes.commit(adoptJobs, plain, patienceMs)) : [],
    each(unique, writes.commit(adoptUniqueJobs, unique, patienceMs)),
  ]);
  const results = new Map<SubmitItem, AdoptResult | Fault>();
  for (const [at, item] of plain.entries()) results.set(item, adopted[at] as AdoptResult | Fault);
  for (const [at, item] of unique.entries()) {
    const result = taken[at] as UniqueResult | Fault;
    if (result instanceof Fault || result.type !== "again") results.set(item, result);
    else results.set(item, { type: "elsewhere" });
  }
  return items.map((item) => results.get(item) as AdoptResult | Fault);
}

/** One part of a call may fail and not the other: what refuses all of it is the answer to each of its items. */
async function each<Result>(
  part: readonly SubmitItem[],
  answers: Promise<readonly (Result | Fault)[]>,
): Promise<readonly (Result | Fault)[]> {
  try {
    return await answers;
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    return part.map(() => error);
  }
}

const none: Promise<readonly SubmitResult[]> = Promise.resolve([]);

async function makeRows(on: BatchContext, items: readonly SubmitItem[]): Promise<void> {
  const keys = items.map((item) => uniqueOf(item).key);
  await on.connection.query({
    name: "make_unique_keys",
    text: makeText,
    values: [numberArray(items.map((item) => item.tenantId)), keys],
  });
}

async function insertUnique(
  on: BatchContext,
  items: readonly SubmitItem[],
  firstKey: number,
  statement: typeof submitting,
): Promise<(InsertedRow & { readonly replaced_id: string | null })[]> {
  const { rows } = await on.connection.query<InsertedRow & { readonly replaced_id: string | null }>({
    ...statement,
    values: [
      ...insertValues(on, items, firstKey, true),
      items.map((item) => uniqueOf(item).key),
      numberArray(items.map((item) => uniqueOf(item).policy)),
    ],
  });
  return rows;
}

/** The newest job that had a unique key; nulls when there was none. */
interface HolderRow {
  readonly job_id: string | null;
  readonly state: JobState | null;
  readonly attempt: number | null;
  readonly has_waited: boolean | null;
  /** Other jobs wait for it: it is not replaced. */
  readonly is_linked: boolean;
}

/** What kept the items out: their idempotency key, the open job that has their unique key, or nothing any more. */
async function judgeMissing(on: BatchContext, items: readonly SubmitItem[]): Promise<UniqueResult[]> {
  const used = await findHolders(on, items);
  const { rows } = await on.connection.query<HolderRow>({
    name: "find_unique_keys",
    text: holdersText,
    values: [numberArray(items.map((item) => item.tenantId)), items.map((item) => uniqueOf(item).key)],
  });
  return items.map((item, at): UniqueResult => {
    const first = used[at];
    return first && first.jobId !== item.jobId ? judge(item, first) : judgeHolder(item, rows[at]);
  });
}

function judgeHolder(item: SubmitItem, row: HolderRow | undefined): UniqueResult {
  const { job_id: jobId = null, state = null, attempt = null } = row ?? {};
  const isOpen = state !== null && state < JobState.Succeeded;
  if (jobId === null || jobId === item.jobId || !isOpen) return { type: "again" };
  const isFixed = state >= JobState.Leased || attempt !== 0 || row?.has_waited || row?.is_linked === true;
  switch (uniqueOf(item).policy) {
    case UniquePolicy.Existing:
      return { type: "existing", jobId };
    case UniquePolicy.Refuse:
      return { type: "held", jobId };
    case UniquePolicy.Replace:
      return isFixed ? { type: "existing", jobId } : { type: "again" };
  }
}

function keyText(item: SubmitItem): string {
  return `${item.tenantId}/${uniqueOf(item).key}`;
}

function firstOf(first: ReadonlyMap<string, SubmitItem>, item: SubmitItem): SubmitItem {
  return first.get(keyText(item)) as SubmitItem;
}

function uniqueOf({ spec }: SubmitItem) {
  const { unique } = spec.options;
  if (!unique) throw new Error("A job without a unique key is not submitted here.");
  return unique;
}

function keyBusy(key: string): Fault {
  const message = "Too many submits take this unique key at once; try again shortly.";
  return new Fault("BACKLOG_FULL", message, { unique_key: key }, { retryAfterMs: 500 });
}
