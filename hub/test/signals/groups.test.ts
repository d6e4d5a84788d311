import { SignalService } from "@holdfast/gen/holdfast/v1/signal_service_pb";
import { expect, test } from "vitest";
import { openRawClient, type RawClient } from "../harness/raw-client.js";
import { useHub } from "../harness/raw-hub.js";
import { openPublisher, openSubscriber, type RawSubscriber } from "../harness/raw-signals.js";
import { until } from "../harness/raw-wait.js";

const house = useHub();
const partitions = 8;

async function openGrouped(client: RawClient, name: string) {
  const channel = { name };
  await client.call(SignalService.method.configureChannel, { channel, partitions });
  const join = (from: RawClient) => openSubscriber(from, channel, { consumer: "group", group: true });
  return { channel, join };
}

/** Partitions that a member has now, by what it was told. */
function partitionsOf({ stream }: RawSubscriber): number[] {
  const held = new Set<number>();
  for (const { message } of stream.received) {
    if (message.case === "restored") held.add(message.value.partition);
    if (message.case === "revoked") held.delete(message.value.partition);
  }
  return [...held].sort((a, b) => a - b);
}

async function untilShared(members: readonly RawSubscriber[]): Promise<void> {
  await until(() => {
    const shares = members.map(partitionsOf);
    const loads = shares.map((share) => share.length);
    const isWhole = shares.flat().length === partitions && new Set(shares.flat()).size === partitions;
    return isWhole && Math.max(...loads) - Math.min(...loads) <= 1;
  }, "the partitions shared");
}

test("members share the partitions, evenly and over hubs, and nothing is lost when they come and go (D13)", async () => {
  const peer = await house.startPeer();
  const here = house.client();
  const there = openRawClient(peer.grpcAddress);
  const { channel, join } = await openGrouped(here, "shared");
  const publisher = await openPublisher(here, channel);
  let published = 0;
  const publish = async (count: number) => {
    const payloads = Array.from({ length: count }, (_, at) => {
      const number = published + at;
      return { key: `key ${number % 50}`, payload: Buffer.from(String(number)) };
    });
    await publisher.publish(payloads);
    published += count;
  };
  const handled = new Map<string, number>();
  const ackAll = (member: RawSubscriber) => {
    const seen = member.seen();
    for (const { text, sequence, partition } of seen.slice(handledBy.get(member) ?? 0)) {
      handled.set(text, (handled.get(text) ?? 0) + 1);
      member.ack(sequence, sequence, partition);
    }
    handledBy.set(member, seen.length);
  };
  const handledBy = new Map<RawSubscriber, number>();
  const members = [join(here)];
  const untilHandled = () =>
    until(() => {
      for (const member of members) ackAll(member);
      return handled.size === published;
    }, "every signal handled by some member");

  await untilShared(members);
  await publish(200);
  await untilHandled();
  members.push(join(there));
  await publish(200);
  await untilShared(members);
  members.push(join(here));
  await publish(200);
  await untilShared(members);
  await untilHandled();
  const [first, second, third] = members as [RawSubscriber, RawSubscriber, RawSubscriber];
  first.stream.cancel();
  members.shift();
  await publish(200);
  await untilShared([second, third]);
  await untilHandled();

  expect([...handled.keys()].map(Number).sort((a, b) => a - b)).toEqual(
    Array.from({ length: published }, (_, at) => at),
  );
  await until(async () => {
    for (const member of members) ackAll(member);
    const { cursors } = await here.call(SignalService.method.listCursors, { channel });
    return cursors.length === partitions && cursors.every(({ lag }) => lag === 0n);
  }, "every cursor at the end");
  for (const { stream } of [second, third]) stream.cancel();
  publisher.stream.cancel();
  there.close();
}, 90_000);

test("what a member acknowledges after it lost the partition moves nothing, and its stream goes on (D13)", async () => {
  const client = house.client();
  const { channel, join } = await openGrouped(client, "late");
  const publisher = await openPublisher(client, channel);
  await publisher.publish(Array.from({ length: 100 }, (_, at) => ({ key: `key ${at}` })));
  const first = join(client);
  await until(() => first.seen().length === 100, "every signal at the only member");
  const second = join(client);
  await untilShared([first, second]);

  const [lost] = partitionsOf(second) as [number];
  first.ack(1, 1, lost);
  const [kept] = partitionsOf(first) as [number];
  first.ack(1, 1, kept);

  await first.stream.next("cursor", ({ partition }) => partition === kept);
  const { cursors } = await client.call(SignalService.method.listCursors, { channel });
  expect(cursors.find(({ partition }) => partition === lost)?.ackedThrough).toBe(0n);
  const redelivered = second.seen().filter(({ partition }) => partition === lost);
  expect(redelivered.every(({ isRedelivered }) => isRedelivered)).toBe(true);
  for (const { stream } of [first, second, publisher]) stream.cancel();
});

test.each([
  ["without a name", { group: true }, "open.consumer"],
  ["with partitions of its own", { group: true, consumer: "c", partitions: [0] }, "open.partitions"],
  ["from a sequence", { group: true, consumer: "c", start: 4, startSequence: 1n }, "open.start"],
])("a member %s is refused", async (_, open, field) => {
  const client = house.client();
  const refused = openSubscriber(client, { name: "refused" }, open);
  expect(await refused.stream.ended).toMatchObject({ reason: "INVALID_FIELD", metadata: { field } });
});
