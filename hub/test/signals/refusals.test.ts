import { GapReason, SignalService } from "@holdfast/gen/holdfast/v1/signal_service_pb";
import { describe, expect, test } from "vitest";
import { openRawClient, type RawClient } from "../harness/raw-client.js";
import { useHub } from "../harness/raw-hub.js";
import { openPublisher, openSubscriber, type RawSubscriber } from "../harness/raw-signals.js";
import { until } from "../harness/raw-wait.js";

const house = useHub();
let channels = 0;

/** A channel with five signals, and a consumer that was sent the first three and acknowledged one. */
async function threeSent(): Promise<{ client: RawClient; name: string; subscriber: RawSubscriber }> {
  const client = house.client();
  const name = `wrong-${++channels}`;
  const publisher = await openPublisher(client, { name });
  await publisher.publish(["1", "2", "3", "4", "5"]);
  publisher.stream.halfClose();
  const subscriber = openSubscriber(client, { name }, { consumer: "reader" }, { signals: 3, bytes: 1 << 20 });
  await until(() => subscriber.seen().length === 3, "three signals");
  subscriber.ack(1);
  await subscriber.stream.next("cursor");
  return { client, name, subscriber };
}

async function cursorOf(client: RawClient, name: string) {
  const { cursors } = await client.call(SignalService.method.listCursors, { channel: { name } });
  const [cursor] = cursors;
  return {
    acked: Number(cursor?.ackedThrough),
    delivered: Number(cursor?.deliveredThrough),
    checkpoint: cursor?.checkpointSequence,
  };
}

const untouched = { acked: 1, delivered: 3, checkpoint: undefined };

describe("acknowledging wrongly changes nothing and says why (D13)", () => {
  const wrongs: [string, (subscriber: RawSubscriber) => void, { reason: string; field?: string }][] = [
    ["beyond what was sent", (to) => to.ack(4), { reason: "ACK_BEYOND_SENT" }],
    ["beyond what was published", (to) => to.ack(2, 99), { reason: "ACK_BEYOND_SENT" }],
    [
      "one good range and one beyond",
      (to) =>
        to.stream.send({
          message: {
            case: "ack",
            value: {
              ranges: [
                { first: 2n, last: 3n },
                { first: 4n, last: 4n },
              ],
            },
          },
        }),
      { reason: "ACK_BEYOND_SENT" },
    ],
    ["sequence 0", (to) => to.ack(0, 2), { reason: "INVALID_FIELD", field: "ack.ranges[0].first" }],
    [
      "a range that ends before it begins",
      (to) => to.ack(3, 2),
      { reason: "INVALID_FIELD", field: "ack.ranges[0].last" },
    ],
    [
      "nothing",
      (to) => to.stream.send({ message: { case: "ack", value: {} } }),
      { reason: "INVALID_FIELD", field: "ack.ranges" },
    ],
    [
      "a partition that is not subscribed to",
      (to) => to.ack(2, 2, 7),
      { reason: "INVALID_FIELD", field: "ack.partition" },
    ],
    [
      "a partition that cannot be",
      (to) => to.ack(2, 2, 64),
      { reason: "INVALID_FIELD", field: "ack.partition" },
    ],
    [
      "by a checkpoint beyond what was sent",
      (to) => to.checkpoint(4, "state"),
      { reason: "ACK_BEYOND_SENT" },
    ],
    ["by refusing what was never sent", (to) => to.nack(4), { reason: "ACK_BEYOND_SENT" }],
  ];

  test.each(wrongs)("%s", async (_, act, { reason, field }) => {
    const { client, name, subscriber } = await threeSent();
    act(subscriber);
    const failure = await subscriber.stream.ended;
    expect(failure).toMatchObject({ reason, ...(field && { metadata: { field } }) });
    expect(await cursorOf(client, name)).toEqual(untouched);
  });

  test("a state too large is refused whole", async () => {
    const { client, name, subscriber } = await threeSent();
    subscriber.checkpoint(3, "x".repeat((1 << 20) + 1));
    expect(await subscriber.stream.ended).toMatchObject({
      reason: "PAYLOAD_TOO_LARGE",
      metadata: { limit: "checkpointBytesMax" },
    });
    expect(await cursorOf(client, name)).toEqual(untouched);
  });

  test("a checkpoint behind the newest is refused and the newest stays", async () => {
    const { client, name, subscriber } = await threeSent();
    subscriber.checkpoint(3, "three");
    await subscriber.stream.next("checkpointSaved");
    subscriber.checkpoint(2, "two");
    expect(await subscriber.stream.ended).toMatchObject({
      reason: "CHECKPOINT_BEHIND",
      metadata: { newest: "3" },
    });
    expect(await cursorOf(client, name)).toEqual({ acked: 3, delivered: 3, checkpoint: 3n });
  });

  test("a follower without a name has nothing to acknowledge with", async () => {
    const { client, name } = await threeSent();
    const follower = openSubscriber(client, { name });
    await follower.stream.next("caughtUp");
    follower.ack(1);
    expect(await follower.stream.ended).toMatchObject({
      reason: "INVALID_FIELD",
      metadata: { field: "open.consumer" },
    });
  });

  test("a consumer that was fenced out moves nothing, whichever hub it is attached to", async () => {
    const { client, name, subscriber } = await threeSent();
    const newer = openSubscriber(client, { name }, { consumer: "reader" });
    await newer.stream.next("restored");
    subscriber.ack(2, 3);
    expect(await subscriber.stream.ended).toMatchObject({ reason: "SUPERSEDED" });
    await newer.stream.next("caughtUp");
    expect((await cursorOf(client, name)).acked).toBe(1);
    newer.stream.cancel();
  });
});

describe("a refused signal that is trimmed meanwhile (D15)", () => {
  /** A consumer on another hub than the publisher's, which has to look into the ledger; it was sent three signals. */
  async function sentElsewhere(name: string) {
    const client = house.client();
    await client.call(SignalService.method.configureChannel, {
      channel: { name },
      policy: { trimPastCursors: true, redeliveriesMax: 1 },
    });
    const publisher = await openPublisher(client, { name });
    for (const text of ["1", "2", "3"]) await publisher.publish([text]);
    publisher.stream.halfClose();
    const there = openRawClient((await house.startPeer()).grpcAddress);
    const subscriber = openSubscriber(there, { name }, { consumer: "reader" });
    await until(() => subscriber.seen().length === 3, "three signals");
    return { client, subscriber, close: () => there.close() };
  }

  async function trimFirst(name: string): Promise<void> {
    await house.query("select trim_signals(channel_id, 0::smallint, 1, true) from channel where name = $1", [
      name,
    ]);
  }

  async function expectGap(subscriber: RawSubscriber): Promise<void> {
    expect(await subscriber.stream.next("gap")).toMatchObject({
      firstMissing: 1n,
      lastMissing: 1n,
      reason: GapReason.CURSOR_TOO_OLD,
    });
    await subscriber.stream.next("cursor", ({ ackedThrough }) => ackedThrough === 3n);
  }

  test("is announced as a gap, and the cursor passes it", async () => {
    const name = "trimmed-before-it-comes-again";
    const { client, subscriber, close } = await sentElsewhere(name);
    subscriber.nack(1, "not yet", 1_000);
    subscriber.ack(2, 3);
    await trimFirst(name);

    await expectGap(subscriber);

    expect((await cursorOf(client, name)).acked).toBe(3);
    close();
  });

  test("is announced as a gap where it was to become a dead letter", async () => {
    const name = "trimmed-before-it-is-dead";
    const { client, subscriber, close } = await sentElsewhere(name);
    subscriber.nack(1);
    await until(() => subscriber.seen().length === 4, "the first once more");
    subscriber.ack(2, 3);
    await trimFirst(name);
    subscriber.nack(1);

    await expectGap(subscriber);

    expect((await cursorOf(client, name)).acked).toBe(3);
    close();
  });
});

describe("publishing wrongly leaves no hole (D11)", () => {
  const good = { producerSequence: 2n, payload: Buffer.from("good") };
  const wrongs: [string, object[], { reason: string; field?: string }][] = [
    ["nothing", [], { reason: "INVALID_FIELD", field: "batch.signals" }],
    [
      "a payload beyond 64 KiB beside a good one",
      [good, { producerSequence: 3n, payload: Buffer.alloc((64 << 10) + 1) }],
      { reason: "PAYLOAD_TOO_LARGE", field: "batch.signals[1].payload" },
    ],
    ["number 0", [{ ...good, producerSequence: 0n }], { reason: "INVALID_FIELD" }],
    [
      "numbers that do not rise",
      [good, good],
      { reason: "INVALID_FIELD", field: "batch.signals[1].producer_sequence" },
    ],
    [
      "a key too long",
      [{ ...good, key: "k".repeat(257) }],
      { reason: "INVALID_FIELD", field: "batch.signals[0].key" },
    ],
    ["an origin of its own", [{ ...good, deadLetter: { channel: "x" } }], { reason: "INVALID_FIELD" }],
    [
      "more than 1 MiB together",
      Array.from({ length: 20 }, (_, at) => ({
        producerSequence: BigInt(at + 2),
        payload: Buffer.alloc(60_000),
      })),
      { reason: "INVALID_FIELD", field: "batch.signals" },
    ],
  ];

  test.each(wrongs)("%s", async (_, signals, { reason, field }) => {
    const client = house.client();
    const channel = { name: `bad-${++channels}` };
    const publisher = await openPublisher(client, channel);
    await publisher.publish(["first"]);
    publisher.send(signals);
    expect(await publisher.stream.ended).toMatchObject({ reason, ...(field && { metadata: { field } }) });
    const again = await openPublisher(client, channel);
    expect(again.opened.lastProducerSequence).toBe(1n);
    expect(await again.publish(["second"])).toMatchObject([{ outcome: { value: { firstSequence: 2n } } }]);
    again.stream.cancel();
  });

  test("what passes the channel's quota is refused whole, and room makes it go on without a hole", async () => {
    const client = house.client();
    const channel = { name: "full" };
    await client.call(SignalService.method.configureChannel, {
      channel,
      policy: { maxBytes: BigInt(1 << 20) },
    });
    const payload = Buffer.alloc(60_000);
    const publisher = await openPublisher(client, channel);
    for (let at = 0; at < 17; at += 1) await publisher.publish([{ payload }]);
    publisher.send([{ producerSequence: 18n, payload }]);
    expect(await publisher.stream.ended).toMatchObject({ reason: "QUOTA_EXCEEDED" });
    await client.call(SignalService.method.configureChannel, {
      channel,
      policy: { maxBytes: BigInt(2 << 20) },
    });
    const again = await openPublisher(client, channel);
    expect(await again.publish([{ payload }])).toMatchObject([
      { outcome: { value: { firstSequence: 18n } } },
    ]);
    again.stream.cancel();
  });

  test("a best-effort channel says what it drops, and goes on", async () => {
    const client = house.client();
    const channel = { name: "lossy" };
    await client.call(SignalService.method.configureChannel, {
      channel,
      policy: { maxBytes: BigInt(1 << 20), delivery: 2 },
    });
    const payload = Buffer.alloc(60_000);
    const publisher = await openPublisher(client, channel);
    for (let at = 0; at < 17; at += 1) await publisher.publish([{ payload }]);
    expect(await publisher.publish([{ payload }])).toMatchObject([
      { producerSequence: 18n, outcome: { case: "dropped", value: { reason: "QUOTA_EXCEEDED" } } },
    ]);
    expect(await publisher.publish(["small"])).toMatchObject([
      { producerSequence: 19n, outcome: { case: "stored", value: { firstSequence: 18n } } },
    ]);
    publisher.stream.cancel();
  });

  test("a channel of a job that is not there is not made", async () => {
    const client = house.client();
    const stream = client.duplex(SignalService.method.publish);
    const jobId = "0190b5a0-0000-7000-8000-000000000000";
    stream.send({
      message: {
        case: "open",
        value: { producer: "p", channel: { name: "n", owner: { case: "jobId", value: jobId } } },
      },
    });
    expect(await stream.ended).toMatchObject({ reason: "JOB_NOT_FOUND" });
  });
});
