import type { ReadPool } from "./read-pool.js";
import { isByKeyOf, numberArray, textArray } from "./sql-text.js";
import { uuidArray } from "./uuid-array.js";

/** A stream that shares the partitions of its consumer with others. */
export interface GroupMember {
  readonly channelId: number;
  readonly consumer: string;
  readonly member: string;
}

/**
 * Renews these members, makes those that are not there, drops others of their groups that have expired, and answers
 * all members of these groups: judged by the database's clock.
 */
export async function renewMembers(
  db: ReadPool,
  members: readonly GroupMember[],
  ttlMs: number,
): Promise<GroupMember[]> {
  const { rows } = await db.query<{ channel_id: string; consumer: string; member: string }>({
    name: "renew_members",
    text: `
      with own as materialized (
        select * from unnest($1::bigint[], $2::text[], $3::uuid[]) as i (channel_id, consumer, member)
        order by channel_id, consumer, member
      ), renewed as (
        insert into signal_member (channel_id, consumer, member, expires_at)
        select channel_id, consumer, member, now() + $4 * interval '1 ms' from own
        on conflict (channel_id, consumer, member) do update set expires_at = excluded.expires_at
      ), others as (
        select m.* from (select distinct channel_id, consumer from own) g
        join signal_member m on ${isByKeyOf("m", "g", "channel_id", "consumer")}
        where not exists (select from own o
          where o.channel_id = m.channel_id and o.consumer = m.consumer and o.member = m.member)
      ), dropped as (
        delete from signal_member m using others o
        where ${isByKeyOf("m", "o", "channel_id", "consumer", "member")} and m.expires_at < now()
      )
      select channel_id, consumer, member from own
      union all select channel_id, consumer, member from others where expires_at >= now()`,
    values: [
      numberArray(members.map(({ channelId }) => channelId)),
      textArray(members.map(({ consumer }) => consumer)),
      uuidArray(members.map(({ member }) => member)),
      ttlMs,
    ],
  });
  return rows.map((row) => ({
    channelId: Number(row.channel_id),
    consumer: row.consumer,
    member: row.member,
  }));
}

export async function removeMember(
  db: ReadPool,
  { channelId, consumer, member }: GroupMember,
): Promise<void> {
  await db.query({
    name: "remove_member",
    text: "delete from signal_member where channel_id = $1 and consumer = $2 and member = $3",
    values: [channelId, consumer, member],
  });
}
