// Submits jobs that wait for others, parents with their children, and jobs that can be undone: each item all or
// nothing, in one transaction (D1, D2).
//
// Invariants
//  1. The run is locked, and a job of no run that others will wait for is locked and marked as linked, before it is
//     looked at: from then on it cannot end without its dependents being released.
//  2. What is not admitted writes nothing; why not is read afterwards.
import pg from "pg";
import type { Dependency } from "../domain/dependency.js";
import { type LinkedSpec, linkedDigest } from "../domain/job-spec.js";
import { JobEventType, JobState } from "../domain/job-state.js";
import type { Ref } from "../domain/lane.js";
import type { RunPolicy } from "../domain/run.js";
import { lockRuns } from "./advance-runs.js";
import type { BatchContext, BatchStatement } from "./group-commit.js";
import {
  booleanArray,
  fromMs,
  isByKey,
  numberArray,
  packBytes,
  rowsByKey,
  textArray,
  toMs,
  writePage,
} from "./sql-text.js";
import { uuidArray } from "./uuid-array.js";

/** An edge between two jobs. */
export interface Edge {
  readonly jobId: string;
  readonly dependentId: string;
  readonly isHard: boolean;
}

/** One job of a linked submit; its dependencies are among the item's edges. */
export interface LinkedJob {
  /** A fresh UUIDv7; ids rise in the order of the jobs. */
  readonly jobId: string;
  readonly laneId: number;
  readonly compensationLaneId: number | null;
  readonly linked: LinkedSpec;
}

export type LinkedSubmit = {
  readonly tenantId: number;
  /** A parent comes first, before its children. */
  readonly jobs: readonly LinkedJob[];
  /** Between jobs of this item. */
  readonly edges: readonly Edge[];
  /** From jobs that were there before. */
  readonly outerEdges: readonly Edge[];
} & (
  | { readonly type: "run"; readonly policy: RunPolicy; readonly stopGraceMs: number }
  | { readonly type: "children"; readonly runId: string }
  /** One job that follows others, or that can be undone. */
  | { readonly type: "single" }
);

export type LinkedResult =
  | {
      readonly type: "accepted";
      /** Of jobs that may be claimed at once. */
      readonly refs: readonly Ref[];
      readonly dueAtMs: number | null;
    }
  /** The ids that the same jobs have already. */
  | { readonly type: "existing"; readonly jobIds: readonly string[] }
  | { readonly type: "conflict"; readonly jobId: string }
  | {
      readonly type: "dependency_not_found" | "dependency_failed" | "dependency_elsewhere";
      readonly jobId: string;
    }
  | { readonly type: "not_waiting" | "parent_not_found" | "too_large" };

/** Jobs of a run, all in all. */
export const runJobsMax = 100_000;
const triesMax = 5;

/**
 * Jobs of no run yet: what has no run to be locked by is locked itself, also when it is linked for another reason. Those
 * that have ended too: a dead letter may be sent back.
 */
const markText = `
update job j set is_linked = true
where j.id = any($1::uuid[]) and j.tenant_id = $2
  and not exists (select from ${rowsByKey("run_node", "job_id", "j.id")} n)`;

const mode = { run: 1, children: 2, single: 3 } as const;

const insertText = `
with input as (
  select * from unnest($3::uuid[], $4::integer[], $5::bigint[], $6::float8[], $7::float8[], $8::text[], $9::text[],
    $10::integer[], $11::integer[], $12::integer[], $13::text[], $14::text[], $15::integer[])
    as i (id, lane_id, ready_key, run_at_ms, deadline_ms, content_type, options, attempts_max, payload_offset,
      payload_length, key, digest, waits_for)
), outer_edge as (
  select * from unnest($16::uuid[], $17::uuid[], $18::boolean[]) as e (job_id, dependent_id, is_hard)
), known as materialized (
  select j.id, j.state, n.run_id, n.is_child
  from (select distinct job_id from outer_edge) o
  join job j on ${isByKey("j.id", "o.job_id")} and j.tenant_id = $19
  left join ${rowsByKey("run_node", "job_id", "j.id")} n on true
), open_edge as materialized (
  select e.dependent_id, e.is_hard, k.state from outer_edge e join known k on k.id = e.job_id
), admitted as materialized (
  select coalesce((select run_id from known where run_id is not null limit 1), $20::uuid) as run_id
  where (select count(*) from known) = (select count(distinct job_id) from outer_edge)
    and not exists (select from open_edge where is_hard and state in (${JobState.Dead}, ${JobState.Cancelled}))
    and case $21::smallint
      when ${mode.children} then exists (
          select from run r join job j on ${isByKey("j.id", "r.run_id")}
          where r.run_id = $20 and r.tenant_id = $19 and r.policy is not null and not r.is_stopping
            and j.state = ${JobState.Blocked} and r.jobs + cardinality($3::uuid[]) <= ${runJobsMax})
        and not exists (select from known where run_id is distinct from $20 or not is_child)
      when ${mode.single} then (select count(distinct run_id) from known) <= 1
        and not exists (
          select from known k join run r on ${isByKey("r.run_id", "k.run_id")} where r.jobs >= ${runJobsMax})
      else true end
), keyed as (
  insert into idempotency (tenant_id, key, job_id, content_digest)
  select $19, key, id, decode(digest, 'hex') from input where key is not null and exists (select from admitted)
  order by key
), placed as materialized (
  select i.*, i.waits_for + (select count(*)::integer from open_edge e
    where e.dependent_id = i.id and e.state < ${JobState.Succeeded}) as waits
  from input i where exists (select from admitted)
), inserted as (
  insert into job (id, tenant_id, lane_id, ready_key, state, attempts_max, submitted_at, ready_at, run_at, deadline,
    page_at, page_writer, page_batch, payload, content_type, options, is_linked)
  select id, $19, lane_id, ready_key,
    case when waits > 0 then ${JobState.Blocked} when ${fromMs("run_at_ms")} > now() then ${JobState.Scheduled}
      else ${JobState.Ready} end,
    attempts_max, now(), now(), ${fromMs("run_at_ms")}, ${fromMs("deadline_ms")}, now(), $1, $2,
    substring($22::bytea from payload_offset + 1 for payload_length), content_type, options::jsonb, true
  from placed
  returning id, lane_id, ready_key, state, run_at, deadline
), nodes as (
  insert into run_node (job_id, run_id, is_child, waits_for)
  select p.id, a.run_id, $21 = ${mode.children} or $21 = ${mode.run} and p.id <> a.run_id, p.waits
  from placed p, admitted a where a.run_id is not null
), former_nodes as (
  insert into run_node (job_id, run_id, is_child, waits_for, ended_as)
  select k.id, a.run_id, false, 0, case when k.state >= ${JobState.Succeeded} then k.state end
  from known k, admitted a where k.run_id is null
), edges as (
  insert into run_edge (job_id, dependent_id, is_hard)
  select * from unnest($23::uuid[], $24::uuid[], $25::boolean[]) as e (job_id, dependent_id, is_hard)
  where exists (select from admitted)
  union all select job_id, dependent_id, is_hard from outer_edge where exists (select from admitted)
), runs as (
  insert into run (run_id, tenant_id, policy, stop_grace_ms, jobs)
  select run_id, $19, $26::smallint, $27::integer, cardinality($3::uuid[]) + (select count(*)::integer from known where run_id is null)
  from admitted where run_id is not null
  on conflict (run_id) do update set jobs = run.jobs + excluded.jobs
), parent as (
  update run_node n set waits_for = n.waits_for + cardinality($3::uuid[])
  from admitted a where $21 = ${mode.children}
    and ${isByKey("n.run_id", "a.run_id")} and ${isByKey("n.job_id", "a.run_id")}
), compensations as (
  insert into compensation (job_id, on_run_failure, tenant_id, lane_id, attempts_max, content_type, options, payload)
  select job_id, on_run_failure, $19, lane_id, attempts_max, content_type, options::jsonb,
    substring($22::bytea from payload_offset + 1 for payload_length)
  from unnest($28::uuid[], $29::boolean[], $30::integer[], $31::integer[], $32::text[], $33::text[], $34::integer[],
    $35::integer[]) as c (job_id, on_run_failure, lane_id, attempts_max, content_type, options, payload_offset,
      payload_length)
  where exists (select from admitted)
), timers as (
  insert into timer (purpose, due_at, job_id, guard)
  select 1, run_at, id, 1 from inserted where state = ${JobState.Scheduled}
  union all select 2, deadline, id, 0 from inserted where deadline is not null
), events as (
  select id, state, 1 as revision, 0::smallint as attempt, 0::bigint as fencing_token,
    ${JobEventType.Submitted}::smallint as event, null::uuid as event_session, null::text as reason,
    null::timestamptz as prior_at, null::integer as prior_writer, null::bigint as prior_batch
  from inserted
), ${writePage("events")}
select id, lane_id, state, ready_key, ${toMs("run_at")} as due_at_ms, ${toMs("now()")} as now_ms from inserted`;

// A replayed run has the children that its original was given while it ran: who adds them again is answered with those.
const keyText = `
select i.n::integer as n, coalesce(p.job_id, k.job_id) as job_id, k.content_digest, r.run_id
from unnest($2::text[]) with ordinality as i (key, n)
cross join lateral (select * from idempotency where tenant_id = $1 and key = i.key offset 0) k
left join lateral (select * from replay_job where replay_id = $3 and origin_id = k.job_id offset 0) p on true
left join ${rowsByKey("run_node", "job_id", "coalesce(p.job_id, k.job_id)")} r on true`;

const originsText = `
select j.id, j.options #>> '{replay,originId}' as origin_id
from unnest($1::uuid[]) as i (id) join job j on ${isByKey("j.id", "i.id")} and j.tenant_id = $2
where j.options ? 'replay'`;

const firstJobsText = "select job_id from run_node where run_id = $1 and is_child order by job_id limit $2";

const refusedText = `
select d.id, j.state, n.run_id, n.is_child
from unnest($1::uuid[]) as d (id)
left join job j on ${isByKey("j.id", "d.id")} and j.tenant_id = $2
left join ${rowsByKey("run_node", "job_id", "j.id")} n on true`;

interface InsertedRow {
  readonly id: string;
  readonly lane_id: number;
  readonly state: JobState;
  readonly ready_key: string;
  readonly due_at_ms: number | null;
  readonly now_ms: number;
}

interface Keyed {
  readonly jobId: string;
  readonly runId: string | null;
  readonly isSame: boolean;
}

export const submitLinked: BatchStatement<LinkedSubmit, LinkedResult> = {
  name: "submit_linked",
  itemsMax: 1,
  bytesMax: 64 << 20,
  bytesOf: (item) => item.jobs.reduce((sum, { linked }) => sum + linked.spec.payload.length + 512, 0),
  run: async (on, [item]) => {
    if (!item) throw new TypeError("Nothing to submit.");
    const firstKey = on.reserveReadyKeys(item.jobs.length);
    const digests = digestsOf(item, await readOrigins(on, item));
    for (let tries = 1; ; tries += 1) {
      // An earlier try of this batch may have committed: then its own keys are found, with its own ids.
      const known = await findExisting(on, item, digests);
      if (known) return { results: [known], wrotePage: false };
      try {
        const rows = await insert(on, item, digests, firstKey);
        const result = rows.length > 0 ? accepted(item, rows) : await judgeRefused(on, item);
        return { results: [result], wrotePage: rows.length > 0 };
      } catch (error) {
        // Somebody else was faster with a key, or with making the run.
        const isTaken = error instanceof pg.DatabaseError && error.code === "23505";
        if (!isTaken || tries === triesMax) throw error;
      }
    }
  },
};

/** Of replayed jobs that added children depend on, those that were submitted first: the original's handler named these. */
async function readOrigins(on: BatchContext, item: LinkedSubmit): Promise<ReadonlyMap<string, string>> {
  if (item.type !== "children" || item.outerEdges.length === 0) return new Map();
  const { rows } = await on.connection.query<{ id: string; origin_id: string }>({
    name: "read_origins",
    text: originsText,
    values: [uuidArray(item.outerEdges.map(({ jobId }) => jobId)), item.tenantId],
  });
  return new Map(rows.map((row) => [row.id, row.origin_id]));
}

/** Null when there is anything to submit. */
async function findExisting(
  on: BatchContext,
  item: LinkedSubmit,
  digests: readonly Buffer[],
): Promise<LinkedResult | null> {
  if (on.isRetry) {
    const { rows } = await on.connection.query({
      text: "select from job where id = $1",
      values: [item.jobs[0]?.jobId],
    });
    if (rows.length > 0) return { type: "existing", jobIds: item.jobs.map(({ jobId }) => jobId) };
  }
  const keys = item.jobs.map(({ linked }) => linked.spec.idempotencyKey || null);
  if (keys.every((key) => key === null)) return null;
  const { rows } = await on.connection.query<{
    n: number;
    job_id: string;
    content_digest: Buffer;
    run_id: string | null;
  }>({
    name: "find_linked_keys",
    text: keyText,
    values: [item.tenantId, keys, item.type === "children" ? item.runId : null],
  });
  if (rows.length === 0) return null;
  const known = new Map(
    rows.map((row): [number, Keyed] => [
      row.n - 1,
      {
        jobId: row.job_id,
        runId: row.run_id,
        isSame: row.content_digest.equals(digests[row.n - 1] as Buffer),
      },
    ]),
  );
  // All were submitted together: of a run the parent's key speaks for all, of children and singles each for itself.
  const isWhole = item.type === "run" ? known.has(0) : known.size === item.jobs.length;
  const [first] = known.values();
  const wrong = [...known.values()].find(
    ({ isSame, runId }) => !isSame || (item.type === "children" && runId !== item.runId),
  );
  if (wrong || !isWhole) return { type: "conflict", jobId: (wrong ?? first)?.jobId ?? "" };
  if (item.type === "run") {
    const runId = known.get(0)?.jobId as string;
    const children = await on.connection.query<{ job_id: string }>({
      name: "read_first_children",
      text: firstJobsText,
      values: [runId, item.jobs.length - 1],
    });
    return { type: "existing", jobIds: [runId, ...children.rows.map((row) => row.job_id)] };
  }
  return { type: "existing", jobIds: item.jobs.map((_, at) => known.get(at)?.jobId ?? "") };
}

function digestsOf(item: LinkedSubmit, origins: ReadonlyMap<string, string>): Buffer[] {
  const specs = item.jobs.map(({ linked }) => ({
    ...linked,
    dependsOn: linked.dependsOn.map((dependency) => dependencyOnOrigin(dependency, origins)),
  }));
  return specs.map((linked, at) =>
    item.type === "run" && at === 0
      ? linkedDigest(linked, specs.slice(1), [item.policy, item.stopGraceMs])
      : linkedDigest(linked, [], []),
  );
}

function dependencyOnOrigin(dependency: Dependency, origins: ReadonlyMap<string, string>): Dependency {
  const { on } = dependency;
  return on.type === "job"
    ? { ...dependency, on: { ...on, jobId: origins.get(on.jobId) ?? on.jobId } }
    : dependency;
}

async function insert(
  on: BatchContext,
  item: LinkedSubmit,
  digests: readonly Buffer[],
  firstKey: number,
): Promise<InsertedRow[]> {
  const { tenantId, jobs } = item;
  const specs = jobs.map(({ linked }) => linked.spec);
  const undone = jobs.filter(({ linked }) => linked.compensation !== null);
  const undoing = undone.map(({ linked }) => linked.compensation?.spec as LinkedSpec["spec"]);
  const payloads = packBytes([...specs, ...undoing].map((spec) => spec.payload));
  const parts = (list: string, from: number, to: number) =>
    `{${list.slice(1, -1).split(",").slice(from, to).join(",")}}`;
  const ids = jobs.map(({ jobId }) => jobId);
  const outer = [...new Set(item.outerEdges.map(({ jobId }) => jobId))];
  const optionsOf = (spec: LinkedSpec["spec"], at: number) => {
    const run = item.type === "run" && at === 0 ? "parent" : "member";
    return JSON.stringify({ ...spec.options, run });
  };
  const runId =
    item.type === "run" ? (ids[0] ?? null) : item.type === "children" ? item.runId : (outer[0] ?? null);
  const lock = lockRuns([...outer, ...(item.type === "children" ? [item.runId] : [])]);
  const answers = await on.connection.together([
    lock,
    { name: "mark_linked", text: markText, values: [uuidArray(outer), tenantId] },
    lock,
    {
      name: "submit_linked",
      text: insertText,
      values: [
        on.writerId,
        on.batch,
        uuidArray(ids),
        numberArray(jobs.map(({ laneId }) => laneId)),
        numberArray(jobs.map((_, at) => firstKey + at)),
        numberArray(specs.map((spec) => spec.runAtMs)),
        numberArray(specs.map((spec) => spec.deadlineMs)),
        textArray(specs.map((spec) => spec.contentType || null)),
        specs.map(optionsOf),
        numberArray(specs.map((spec) => spec.retry.maxAttempts)),
        parts(payloads.offsets, 0, jobs.length),
        parts(payloads.lengths, 0, jobs.length),
        textArray(specs.map((spec) => spec.idempotencyKey || null)),
        specs.map((spec, at) => (spec.idempotencyKey ? digests[at]?.toString("hex") : null)),
        numberArray(waitsWithin(item)),
        ...edgeValues(item.outerEdges),
        tenantId,
        runId,
        mode[item.type],
        payloads.blob,
        ...edgeValues(item.edges),
        item.type === "run" ? item.policy : null,
        item.type === "run" ? item.stopGraceMs : 0,
        uuidArray(undone.map(({ jobId }) => jobId)),
        booleanArray(undone.map(({ linked }) => linked.compensation?.onRunFailure === true)),
        numberArray(undone.map(({ compensationLaneId }) => compensationLaneId)),
        numberArray(undoing.map((spec) => spec.retry.maxAttempts)),
        textArray(undoing.map((spec) => spec.contentType || null)),
        textArray(undoing.map((spec) => JSON.stringify(spec.options))),
        parts(payloads.offsets, jobs.length, payloads.offsets.length),
        parts(payloads.lengths, jobs.length, payloads.lengths.length),
      ],
    },
  ]);
  return (answers.at(-1) as pg.QueryResult<InsertedRow>).rows;
}

/** How many jobs of the same item each waits for; a parent waits for all. */
function waitsWithin(item: LinkedSubmit): number[] {
  const counts = new Map<string, number>();
  for (const { dependentId } of item.edges) counts.set(dependentId, (counts.get(dependentId) ?? 0) + 1);
  return item.jobs.map(({ jobId }, at) =>
    item.type === "run" && at === 0 ? item.jobs.length - 1 : (counts.get(jobId) ?? 0),
  );
}

function edgeValues(edges: readonly Edge[]): [Buffer, Buffer, string] {
  return [
    uuidArray(edges.map(({ jobId }) => jobId)),
    uuidArray(edges.map(({ dependentId }) => dependentId)),
    booleanArray(edges.map(({ isHard }) => isHard)),
  ];
}

function accepted(item: LinkedSubmit, rows: readonly InsertedRow[]): LinkedResult {
  const bytes = new Map(item.jobs.map(({ jobId, linked }) => [jobId, linked.spec.payload.length]));
  const due = rows.filter(({ state }) => state === JobState.Scheduled).map((row) => row.due_at_ms as number);
  return {
    type: "accepted",
    refs: rows
      .filter(({ state }) => state === JobState.Ready)
      .map((row) => ({
        jobId: row.id,
        laneId: row.lane_id,
        readyKey: Number(row.ready_key),
        readyAtMs: row.now_ms,
        attempt: 0,
        bytes: bytes.get(row.id) ?? 0,
      })),
    dueAtMs: due.length > 0 ? Math.min(...due) : null,
  };
}

async function judgeRefused(on: BatchContext, item: LinkedSubmit): Promise<LinkedResult> {
  const outer = [...new Set(item.outerEdges.map(({ jobId }) => jobId))];
  const ids = item.type === "children" ? [...outer, item.runId] : outer;
  const { rows } = await on.connection.query<{
    id: string;
    state: JobState | null;
    run_id: string | null;
    is_child: boolean | null;
  }>({ name: "judge_linked", text: refusedText, values: [uuidArray(ids), item.tenantId] });
  if (item.type === "children") {
    const parent = rows.find((row) => row.id === item.runId);
    if (!parent?.state) return { type: "parent_not_found" };
    if (parent.run_id !== item.runId || parent.state !== JobState.Blocked) return { type: "not_waiting" };
  }
  const hard = new Set(item.outerEdges.filter(({ isHard }) => isHard).map(({ jobId }) => jobId));
  const dependencies = rows.filter((row) => outer.includes(row.id));
  const absent = dependencies.find((row) => row.state === null);
  if (absent) return { type: "dependency_not_found", jobId: absent.id };
  const failed = dependencies.find(({ id, state }) => hard.has(id) && (state ?? 0) > JobState.Succeeded);
  if (failed) return { type: "dependency_failed", jobId: failed.id };
  const runId = item.type === "children" ? item.runId : dependencies.find((row) => row.run_id)?.run_id;
  const elsewhere = dependencies.find(
    (row) => (row.run_id ?? runId) !== runId || (item.type === "children" && row.is_child !== true),
  );
  if (elsewhere) return { type: "dependency_elsewhere", jobId: elsewhere.id };
  return { type: item.type === "children" ? "not_waiting" : "too_large" };
}
