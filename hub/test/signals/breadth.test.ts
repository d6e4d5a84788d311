import { SignalService } from "@holdfast/gen/holdfast/v1/signal_service_pb";
import { describe, expect, test } from "vitest";
import { openRawClient } from "../harness/raw-client.js";
import { useHub } from "../harness/raw-hub.js";
import { openPublisher, openSubscriber } from "../harness/raw-signals.js";
import { until } from "../harness/raw-wait.js";

const house = useHub({ signalTrimIntervalMs: 100, signalWaitingBytesMax: 1 << 20 });

describe("retention (D15)", () => {
  test("announces what it trimmed as a gap, and refuses a start before it", async () => {
    const client = house.client();
    const channel = { name: "trimmed" };
    await client.call(SignalService.method.configureChannel, {
      channel,
      policy: { maxAge: { seconds: 1n } },
    });
    const publisher = await openPublisher(client, channel);
    await publisher.publish(["1", "2", "3"]);
    await until(async () => {
      const { channel: held } = await client.call(SignalService.method.getChannel, { channel });
      return held?.partitions[0]?.firstSequence === 4n;
    }, "the old signals trimmed");
    await publisher.publish(["4"]);

    const reader = openSubscriber(client, channel, { consumer: "late", start: 2 });
    await reader.stream.next("caughtUp");
    expect(reader.seen().map(({ sequence }) => sequence)).toEqual([4]);
    reader.stream.cancel();
    const at = openSubscriber(client, channel, { start: 4, startSequence: 2n });
    expect(await at.stream.ended).toMatchObject({
      reason: "CURSOR_TOO_OLD",
      metadata: { first_sequence: "4" },
    });
    expect(
      await client.refused(SignalService.method.listSignals, { channel, fromSequence: 3n }),
    ).toMatchObject({ reason: "CURSOR_TOO_OLD" });
    publisher.stream.cancel();
  });

  test("never passes a durable cursor, unless the policy tells it to; then the consumer is told", async () => {
    const client = house.client();
    const channel = { name: "held" };
    const publisher = await openPublisher(client, channel);
    const configure = (trimPastCursors: boolean) =>
      client.call(SignalService.method.configureChannel, {
        channel,
        policy: { maxAge: { seconds: 1n }, trimPastCursors },
      });
    await configure(false);
    const reader = openSubscriber(client, channel, { consumer: "slow" });
    await reader.stream.next("caughtUp");
    for (const text of ["1", "2", "3", "4"]) await publisher.publish([text]);
    await until(() => reader.seen().length === 4, "four signals");
    reader.ack(1, 2);
    await reader.stream.next("cursor");
    const firstHeld = async () => {
      const { channel: held } = await client.call(SignalService.method.getChannel, { channel });
      return Number(held?.partitions[0]?.firstSequence);
    };
    await until(async () => (await firstHeld()) === 3, "what the cursor has passed is trimmed");
    // Several more looks of retention, all of them past the age of what is left.
    await until(
      async () =>
        (
          await house.query(
            "select 1 where now() > (select max(at) + interval '2 s' from signal_page p join channel c using (channel_id) where c.name = 'held')",
          )
        ).length > 0,
      "the age of all",
    );
    expect(await firstHeld()).toBe(3);
    reader.stream.halfClose();
    await reader.stream.ended;

    await configure(true);
    await until(async () => (await firstHeld()) === 5, "the rest trimmed");
    await configure(false);
    await publisher.publish(["5"]);
    const again = openSubscriber(client, channel, { consumer: "slow" });
    expect(await again.stream.next("gap")).toMatchObject({ firstMissing: 3n, lastMissing: 4n, reason: 1 });
    await until(() => again.seen().length === 1, "the signal after the gap");
    again.ack(5);
    expect(await again.stream.next("cursor", ({ ackedThrough }) => ackedThrough === 5n)).toBeDefined();
    again.stream.cancel();
    publisher.stream.cancel();
  });
});

test("what one hub stores, a consumer at another gets in order; the newer attach ends the older at once (D13)", async () => {
  const peer = await house.startPeer();
  const here = house.client();
  const there = openRawClient(peer.grpcAddress);
  const channel = { name: "two-hubs" };
  const [first, second] = [await openPublisher(here, channel, "a"), await openPublisher(there, channel, "b")];
  const reader = openSubscriber(there, channel, { consumer: "reader" });
  await reader.stream.next("restored");
  for (let at = 0; at < 30; at += 1) {
    await first.publish([`a${at}`]);
    await second.publish([`b${at}`]);
  }
  await until(() => reader.seen().length === 60, "all signals of both hubs");
  expect(reader.seen().map(({ sequence }) => sequence)).toEqual(
    Array.from({ length: 60 }, (_, at) => at + 1),
  );
  const newer = openSubscriber(here, channel, { consumer: "reader" });
  await newer.stream.next("restored");
  expect(await reader.stream.ended).toMatchObject({ reason: "SUPERSEDED" });
  for (const { stream } of [newer, first, second]) stream.cancel();
  there.close();
});

test("a consumer that does not read stalls neither producers nor other consumers, and loses nothing", async () => {
  const client = house.client();
  const channel = { name: "stalled" };
  const publisher = await openPublisher(client, channel);
  const stuck = openSubscriber(client, channel, { consumer: "stuck" });
  await stuck.stream.next("caughtUp");
  stuck.stream.pause();
  const idle = openSubscriber(client, channel, { consumer: "no-credit" }, { signals: 0, bytes: 0 });
  const quick = openSubscriber(client, channel, { consumer: "quick" });
  const payload = Buffer.alloc(30_000);
  for (let at = 0; at < 40; at += 1) await publisher.publish(Array.from({ length: 20 }, () => ({ payload })));
  await until(() => quick.seen().length === 800, "the quick consumer");
  expect(idle.seen()).toEqual([]);
  stuck.stream.resume();
  await until(() => stuck.seen().length === 800, "the stuck consumer");
  expect(stuck.seen().map(({ sequence }) => sequence)).toEqual(
    Array.from({ length: 800 }, (_, at) => at + 1),
  );
  for (const { stream } of [publisher, stuck, idle, quick]) stream.cancel();
});

test("credit bounds what is sent, in signals and in bytes; what comes again spends none", async () => {
  const client = house.client();
  const channel = { name: "credit" };
  const publisher = await openPublisher(client, channel);
  await publisher.publish(
    Array.from({ length: 50 }, (_, at) => ({ payload: Buffer.alloc(at === 9 ? 5_000 : 100) })),
  );
  const reader = openSubscriber(client, channel, { consumer: "c" }, { signals: 7, bytes: 1 << 20 });
  await until(() => reader.seen().length === 7, "seven");
  reader.grant(20, 0);
  await until(() => reader.seen().length === 27, "twenty more");
  reader.stream.halfClose();
  await reader.stream.ended;
  const again = openSubscriber(client, channel, { consumer: "c" }, { signals: 5, bytes: 300 });
  await until(() => again.seen().length >= 29, "27 again, and what 300 bytes allow");
  expect(
    again
      .seen()
      .map(({ isRedelivered }) => isRedelivered)
      .lastIndexOf(true),
  ).toBe(26);
  expect(again.seen().length).toBe(29);
  const over = openSubscriber(client, channel, {}, { signals: 1_000_000, bytes: 0 });
  over.grant(1, 0);
  expect(await over.stream.ended).toMatchObject({ reason: "CREDIT_OVERFLOW" });
  for (const { stream } of [publisher, again]) stream.cancel();
});

test("producers are told to pause at the high watermark and to go on below the low one, and nothing is lost", async () => {
  const client = house.client();
  const channel = { name: "paused" };
  const publishers = await Promise.all([1, 2, 3].map((n) => openPublisher(client, channel, `p${n}`)));
  const payload = Buffer.alloc(60_000);
  for (const { send } of publishers)
    for (let batch = 0; batch < 10; batch += 1)
      send(
        Array.from({ length: 10 }, (_, at) => ({ producerSequence: BigInt(batch * 10 + at + 1), payload })),
      );
  const [first] = publishers;
  await first?.stream.next("pause");
  await first?.stream.next("resume");
  await until(async () => {
    const { channel: held } = await client.call(SignalService.method.getChannel, { channel });
    return held?.partitions[0]?.lastSequence === 300n;
  }, "every signal stored");
  for (const { stream } of publishers) stream.cancel();
});

test("keys keep signals in order over partitions, and another tenant's channel is not there", async () => {
  const client = house.client();
  const channel = { name: "keyed" };
  await client.call(SignalService.method.configureChannel, { channel, partitions: 8 });
  const publisher = await openPublisher(client, channel);
  const reader = openSubscriber(client, channel, { consumer: "all" });
  const signals = Array.from({ length: 200 }, (_, at) => ({
    key: `k${at % 20}`,
    payload: Buffer.from(`k${at % 20}:${at}`),
  }));
  await publisher.publish(signals);
  await until(() => reader.seen().length === 200, "all");
  const byKey = new Map<string, { partition: number; at: number }[]>();
  for (const { text, partition } of reader.seen()) {
    const [key = "", at] = text.split(":");
    byKey.set(key, [...(byKey.get(key) ?? []), { partition, at: Number(at) }]);
  }
  expect(byKey.size).toBe(20);
  for (const places of byKey.values()) {
    expect(new Set(places.map(({ partition }) => partition)).size).toBe(1);
    expect(places.map(({ at }) => at)).toEqual(places.map(({ at }) => at).sort((a, b) => a - b));
  }
  expect(
    await client.refused(SignalService.method.configureChannel, { channel, partitions: 4 }),
  ).toMatchObject({ reason: "INVALID_FIELD", metadata: { field: "partitions" } });
  for (const { stream } of [publisher, reader]) stream.cancel();
});
