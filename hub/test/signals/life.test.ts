import { SignalService } from "@holdfast/gen/holdfast/v1/signal_service_pb";
import { describe, expect, test } from "vitest";
import { useHub } from "../harness/raw-hub.js";
import { openPublisher, openSubscriber } from "../harness/raw-signals.js";
import { until } from "../harness/raw-wait.js";

const house = useHub();

test("what was published is delivered in order, acknowledged, and a consumer goes on after it", async () => {
  const client = house.client();
  const channel = { name: "orders" };
  const publisher = await openPublisher(client, channel);
  expect(publisher.opened.lastProducerSequence).toBe(0n);
  const receipts = await publisher.publish(["a", "b", "c"]);
  expect(receipts).toMatchObject([
    {
      producerSequence: 1n,
      count: 3,
      outcome: { case: "stored", value: { firstSequence: 1n, duplicate: false } },
    },
  ]);

  const first = openSubscriber(client, channel, { consumer: "billing" });
  expect(await first.stream.next("restored")).toMatchObject({ ackedThrough: 0n, position: 0n });
  await first.stream.next("caughtUp");
  expect(first.seen().map(({ sequence, text }) => [sequence, text])).toEqual([
    [1, "a"],
    [2, "b"],
    [3, "c"],
  ]);
  first.ack(1, 2);
  expect(await first.stream.next("cursor")).toMatchObject({ ackedThrough: 2n });
  await publisher.publish(["d"]);
  await until(() => first.seen().length === 4, "the live signal");
  first.stream.cancel();

  const second = openSubscriber(client, channel, { consumer: "billing" });
  expect(await second.stream.next("restored")).toMatchObject({ ackedThrough: 2n, position: 2n });
  await second.stream.next("caughtUp");
  expect(second.seen()).toEqual([
    { sequence: 3, partition: 0, text: "c", isRedelivered: true },
    { sequence: 4, partition: 0, text: "d", isRedelivered: true },
  ]);
  second.stream.cancel();
  publisher.stream.cancel();
});

test("a consumer gets its newest checkpoint, then everything after it, then caught_up, then live signals (D14)", async () => {
  const client = house.client();
  const channel = { name: "ledgered" };
  const publisher = await openPublisher(client, channel);
  await publisher.publish(["1", "2", "3", "4", "5"]);
  const first = openSubscriber(client, channel, { consumer: "sums" });
  await first.stream.next("caughtUp");
  first.checkpoint(3, "sum 6");
  await first.stream.next("checkpointSaved");
  first.ack(4, 5);
  await first.stream.next("cursor", ({ ackedThrough }) => ackedThrough === 5n);
  first.stream.halfClose();
  expect(await first.stream.ended).toBeNull();
  await publisher.publish(["6"]);

  const second = openSubscriber(client, channel, { consumer: "sums" });
  await second.stream.next("caughtUp");
  await publisher.publish(["7"]);
  await until(() => second.seen().length === 4, "the live signal");

  const [restored, ...rest] = second.stream.received.map(({ message }) => message);
  expect(restored).toMatchObject({ case: "restored", value: { position: 3n, ackedThrough: 5n } });
  expect(
    restored?.case === "restored" && Buffer.from(restored.value.checkpoint?.state ?? []).toString(),
  ).toBe("sum 6");
  expect(rest.map((message) => message.case)).toEqual(["signals", "signals", "caughtUp", "signals"]);
  expect(second.seen().map(({ sequence, isRedelivered }) => [sequence, isRedelivered])).toEqual([
    [4, true],
    [5, true],
    [6, false],
    [7, false],
  ]);
  second.stream.cancel();
  publisher.stream.cancel();
});

describe("publishing again (D12)", () => {
  test("answers the first sequence, over every gap in the producer's numbers and every partition", async () => {
    const client = house.client();
    const channel = { name: "again" };
    await client.call(SignalService.method.configureChannel, { channel, partitions: 4 });
    const publisher = await openPublisher(client, channel);
    const signals = Array.from({ length: 40 }, (_, at) => ({
      producerSequence: BigInt(at * 3 + 1),
      key: `key ${at % 7}`,
      payload: Buffer.from(String(at)),
    }));
    publisher.send(signals.slice(0, 25));
    publisher.send(signals.slice(25));
    const placesIn = async () => {
      const places = new Map<bigint, string>();
      for (let answers = 0; answers < 2; answers += 1)
        for (const receipt of (await publisher.stream.next("receipts")).receipts)
          for (let at = 0; at < receipt.count; at += 1)
            if (receipt.outcome.case === "stored")
              places.set(
                receipt.producerSequence + BigInt(at),
                `${receipt.outcome.value.partition}/${receipt.outcome.value.firstSequence + BigInt(at)}`,
              );
      return places;
    };
    const first = await placesIn();
    expect(first.size).toBe(40);

    publisher.send(signals.slice(10));
    publisher.send(signals.slice(0, 10));
    expect([...(await placesIn())].sort()).toEqual([...first].sort());
    const { channel: held } = await client.call(SignalService.method.getChannel, { channel });
    expect(held?.partitions.reduce((sum, { lastSequence }) => sum + Number(lastSequence), 0)).toBe(40);
    publisher.stream.cancel();
  });

  test("on a new stream goes on after the newest number, and fences the older stream out", async () => {
    const client = house.client();
    const channel = { name: "fenced" };
    const older = await openPublisher(client, channel, "meter");
    await older.publish(["1", "2"]);
    const newer = await openPublisher(client, channel, "meter");
    expect(newer.opened.lastProducerSequence).toBe(2n);
    older.send([{ producerSequence: 3n, payload: Buffer.from("late") }]);
    expect(await older.stream.ended).toMatchObject({ reason: "SUPERSEDED" });
    expect(await newer.publish(["3"])).toMatchObject([{ outcome: { value: { firstSequence: 3n } } }]);
    newer.stream.cancel();
  });

  test("with a number that is neither new nor held is refused, and changes nothing", async () => {
    const client = house.client();
    const channel = { name: "behind" };
    const publisher = await openPublisher(client, channel);
    publisher.send([{ producerSequence: 5n, payload: Buffer.from("five") }]);
    await publisher.stream.next("receipts");
    publisher.send([{ producerSequence: 4n, payload: Buffer.from("four") }]);
    expect(await publisher.stream.ended).toMatchObject({ reason: "PRODUCER_SEQUENCE_BEHIND" });
    const { channel: held } = await client.call(SignalService.method.getChannel, { channel });
    expect(held?.partitions[0]?.lastSequence).toBe(1n);
  });
});
