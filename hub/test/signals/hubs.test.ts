import { afterAll, beforeAll, expect, test } from "vitest";
import { useNats } from "../harness/nats.js";
import { openRawClient, type RawClient } from "../harness/raw-client.js";
import { useHub } from "../harness/raw-hub.js";
import { openPublisher, openSubscriber } from "../harness/raw-signals.js";
import { until } from "../harness/raw-wait.js";

const nats = useNats();
const house = useHub({
  get natsUrl() {
    return nats.url();
  },
});

let here: RawClient;
let there: RawClient;
beforeAll(async () => {
  here = house.client();
  there = openRawClient((await house.startPeer()).grpcAddress);
  await until(
    async () => /^holdfast_peers(?:\{[^}]*\})? 1$/m.test(await metricsPage()),
    "the hubs to know each other",
  );
});
afterAll(() => there.close());

async function metricsPage(): Promise<string> {
  return await (await fetch(`http://${house.hub().httpAddress}/metrics`)).text();
}

test("what is published on one hub wakes its followers on another, in order (D11)", async () => {
  const channel = { name: "woken" };
  const publisher = await openPublisher(here, channel);
  const follower = openSubscriber(there, channel, { start: 3 });
  await follower.stream.next("caughtUp");
  const rounds = 30;

  for (let round = 1; round <= rounds; round += 1) {
    await publisher.publish([`${round}`]);
    await until(() => follower.seen().length === round, "the signal on the other hub");
  }

  expect(follower.seen().map(({ sequence }) => sequence)).toEqual(
    Array.from({ length: rounds }, (_, at) => at + 1),
  );
  const woken =
    /^holdfast_bus_messages_total\{(?=[^}]*type="signals_stored")(?=[^}]*outcome="received")[^}]*\} [1-9]/m;
  await until(async () => woken.test(await metricsPage()), "a message between the hubs");
  for (const { stream } of [publisher, follower]) stream.cancel();
});

test("while no message comes through, followers on another hub miss nothing, and the ledger says the order", async () => {
  const channel = { name: "deaf" };
  const publishers = [await openPublisher(here, channel, "a"), await openPublisher(there, channel, "b")];
  const followers = [
    openSubscriber(here, channel, { start: 2 }),
    openSubscriber(there, channel, { start: 2 }),
  ];
  for (const { stream } of followers) await stream.next("caughtUp");

  for (const server of nats.servers()) await server.stop();
  for (let round = 0; round < 20; round += 1)
    await Promise.all(publishers.map(({ publish }) => publish([`${round}`])));
  for (const follower of followers)
    await until(() => follower.seen().length === 40, "what both hubs stored, without the bus");
  for (const server of nats.servers()) await server.start();

  const [one, other] = followers.map((follower) => follower.seen());
  expect(one?.map(({ sequence }) => sequence)).toEqual(Array.from({ length: 40 }, (_, at) => at + 1));
  expect(other).toEqual(one);
  for (const { stream } of [...publishers, ...followers]) stream.cancel();
});
