import {
  type Channel,
  type ChannelHead,
  type ChannelName,
  type ChannelPolicy,
  OwnerType,
} from "../domain/channel.js";
import type { Operator } from "../domain/operation.js";
import { operatorValues, recordOperation } from "./operations.js";
import type { ReadPool } from "./read-pool.js";
import { isByKey, numberArray, toMs } from "./sql-text.js";

interface ChannelRow {
  readonly channel_id: string;
  readonly tenant_id: number;
  readonly owner_type: OwnerType;
  readonly owner: string;
  readonly name: string;
  readonly partitions: number;
  readonly is_best_effort: boolean;
  readonly max_age_ms: string;
  readonly max_bytes: string;
  readonly trim_consumed: boolean;
  readonly trim_past_cursors: boolean;
  readonly redeliveries_max: number;
  readonly created_at_ms: number;
}

const columns = `channel_id, tenant_id, owner_type, owner, name, partitions, is_best_effort, max_age_ms, max_bytes,
  trim_consumed, trim_past_cursors, redeliveries_max, ${toMs("created_at")} as created_at_ms`;

function toChannel(row: ChannelRow): Channel {
  return {
    channelId: Number(row.channel_id),
    tenantId: row.tenant_id,
    ownerType: row.owner_type,
    owner: row.owner,
    name: row.name,
    partitions: row.partitions,
    isBestEffort: row.is_best_effort,
    maxAgeMs: Number(row.max_age_ms),
    maxBytes: Number(row.max_bytes),
    trimConsumed: row.trim_consumed,
    trimPastCursors: row.trim_past_cursors,
    redeliveriesMax: row.redeliveries_max,
    createdAtMs: row.created_at_ms,
  };
}

function nameValues(tenantId: number, { ownerType, owner, name }: ChannelName): unknown[] {
  return [tenantId, ownerType, owner, name];
}

function policyValues(policy: ChannelPolicy): unknown[] {
  return [
    policy.isBestEffort,
    policy.maxAgeMs,
    policy.maxBytes,
    policy.trimConsumed,
    policy.trimPastCursors,
    policy.redeliveriesMax,
  ];
}

/** Name of the channel `c` among the operations, as people write it. */
export const channelTarget = `case c.owner_type when ${OwnerType.Job} then 'job:' when ${OwnerType.Run} then 'run:' else '' end
          || c.owner || '/' || c.name`;

const recordedPolicy = (channel: string) => `jsonb_build_object(
          'delivery', case when ${channel}.is_best_effort then 'best_effort' else 'at_least_once' end,
          'maxAgeMs', ${channel}.max_age_ms, 'maxBytes', ${channel}.max_bytes, 'trimConsumed', ${channel}.trim_consumed,
          'trimPastCursors', ${channel}.trim_past_cursors, 'redeliveriesMax', ${channel}.redeliveries_max)`;

/** A channel, or null: absent and another tenant's look the same. */
export async function readChannel(
  db: ReadPool,
  tenantId: number,
  channel: ChannelName,
): Promise<Channel | null> {
  const { rows } = await db.query<ChannelRow>({
    name: "read_channel",
    text: `select ${columns} from channel where tenant_id = $1 and owner_type = $2 and owner = $3 and name = $4`,
    values: nameValues(tenantId, channel),
  });
  return rows[0] ? toChannel(rows[0]) : null;
}

const insertText = (recording: string) => `
      with made as (
        insert into channel (tenant_id, owner_type, owner, name, partitions, is_best_effort, max_age_ms, max_bytes,
          trim_consumed, trim_past_cursors, redeliveries_max)
        select $1, $2::smallint, $3, $4, $5, $6, $7, $8, $9, $10, $11
        where $12::uuid is null or exists (select from job where id = $12 and tenant_id = $1)
        on conflict do nothing
        returning *
      )${recording}
      insert into channel_partition (channel_id, partition, max_bytes)
      select channel_id, n, max_bytes from made cross join generate_series(0, partitions - 1) as n`;

const makeText = insertText("");

const setNewText = insertText(`, changed as (
        select tenant_id as operation_tenant, 'channel.set' as action, 'channel:' || ${channelTarget} as target,
          null::jsonb as before, ${recordedPolicy("c")} || jsonb_build_object('partitions', partitions) as after
        from made c
      ), ${recordOperation("changed", 13)}`);

/**
 * Makes a channel with its partitions, when it is not there and its job, if it has one, is.
 *
 * @param operator null: it is made because somebody publishes or subscribes
 */
export async function insertChannel(
  db: ReadPool,
  tenantId: number,
  channel: ChannelName,
  partitions: number,
  policy: ChannelPolicy,
  operator: Operator | null,
): Promise<void> {
  await db.query({
    name: operator ? "set_new_channel" : "insert_channel",
    text: operator ? setNewText : makeText,
    values: [
      ...nameValues(tenantId, channel),
      partitions,
      ...policyValues(policy),
      channel.ownerType === OwnerType.Name ? null : channel.owner,
      ...(operator ? operatorValues(operator) : []),
    ],
  });
}

/** Changes the policy of a channel and of its partitions, if it is another; answers the channel. */
export async function configureChannel(
  db: ReadPool,
  operator: Operator,
  channelId: number,
  policy: ChannelPolicy,
): Promise<Channel> {
  const { rows } = await db.query<ChannelRow>({
    name: "configure_channel",
    text: `
      with found as materialized (
        select * from channel where channel_id = $1 for no key update
      ), made as (
        update channel c set is_best_effort = $2, max_age_ms = $3, max_bytes = $4, trim_consumed = $5,
          trim_past_cursors = $6, redeliveries_max = $7
        from found f
        where ${isByKey("c.channel_id", "f.channel_id")} and (f.is_best_effort, f.max_age_ms, f.max_bytes,
          f.trim_consumed, f.trim_past_cursors, f.redeliveries_max) is distinct from ($2, $3, $4, $5, $6, $7)
        returning c.*, ${recordedPolicy("f")} as stood
      ), admitted as (
        update channel_partition p set max_bytes = c.max_bytes from made c
        where ${isByKey("p.channel_id", "c.channel_id")}
      ), changed as (
        select tenant_id as operation_tenant, 'channel.set' as action, 'channel:' || ${channelTarget} as target,
          stood as before, ${recordedPolicy("c")} as after
        from made c
      ), ${recordOperation("changed", 8)}
      select ${columns} from made
      union all select ${columns} from found where not exists (select from made)`,
    values: [channelId, ...policyValues(policy), ...operatorValues(operator)],
  });
  if (!rows[0]) throw new Error(`Channel ${channelId} is gone.`);
  return toChannel(rows[0]);
}

/** Channels of a tenant in the order in which they were made. */
export async function listChannels(
  db: ReadPool,
  tenantId: number,
  afterId: number,
  limit: number,
): Promise<Channel[]> {
  const { rows } = await db.query<ChannelRow>({
    name: "list_channels",
    text: `select ${columns} from channel where tenant_id = $1 and channel_id > $2 order by channel_id limit $3`,
    values: [tenantId, afterId, limit],
  });
  return rows.map(toChannel);
}

/** How many channels a tenant has, counted up to a limit. */
export async function countChannels(db: ReadPool, tenantId: number, limit: number): Promise<number> {
  const { rows } = await db.query<{ channels: number }>({
    name: "count_channels",
    text: `select count(*)::integer as channels
      from (select from channel where tenant_id = $1 and owner_type = ${OwnerType.Name} limit $2) as counted`,
    values: [tenantId, limit],
  });
  return rows[0]?.channels ?? 0;
}

/** Channels of one owner, counted up to a limit. */
export async function countOwned(
  db: ReadPool,
  tenantId: number,
  { ownerType, owner }: Pick<ChannelName, "ownerType" | "owner">,
  limit: number,
): Promise<number> {
  const { rows } = await db.query<{ channels: number }>({
    name: "count_owned_channels",
    text: `select count(*)::integer as channels
      from (select from channel where tenant_id = $1 and owner_type = $2 and owner = $3 limit $4) as counted`,
    values: [tenantId, ownerType, owner, limit],
  });
  return rows[0]?.channels ?? 0;
}

interface HeadRow {
  readonly channel_id: string;
  readonly partition: number;
  readonly first_sequence: string;
  readonly last_sequence: string;
  readonly held_bytes: string;
}

function toHead(row: HeadRow): ChannelHead {
  return {
    channelId: Number(row.channel_id),
    partition: row.partition,
    firstSequence: Number(row.first_sequence),
    lastSequence: Number(row.last_sequence),
    heldBytes: Number(row.held_bytes),
  };
}

/** What the partitions of these channels hold. */
export async function readHeads(db: ReadPool, channelIds: readonly number[]): Promise<ChannelHead[]> {
  const { rows } = await db.query<HeadRow>({
    name: "read_heads",
    text: `select p.channel_id, p.partition, p.first_sequence, p.last_sequence, p.held_bytes
      from unnest($1::bigint[]) as i (channel_id) join channel_partition p on ${isByKey("p.channel_id", "i.channel_id")}
      order by i.channel_id, p.partition`,
    values: [numberArray(channelIds)],
  });
  return rows.map(toHead);
}
