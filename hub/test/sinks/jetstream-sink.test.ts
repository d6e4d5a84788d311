import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { defaultNatsLinkSettings, type NatsLink, startNatsLink } from "../../src/nats/nats-link.js";
import { JetStreamSink } from "../../src/sinks/jetstream-sink.js";
import { SinkError } from "../../src/sinks/sink.js";
import { readEventStream } from "../harness/event-stream.js";
import { useNats } from "../harness/nats.js";
import { describeSink, outgoing } from "./conformance.js";

const nats = useNats();
const settings = {
  maxAgeMs: 3_600_000,
  maxBytes: 64 << 20,
  dedupeWindowMs: 60_000,
  ackTimeoutMs: 5_000,
};

const openLink = () =>
  startNatsLink({ ...defaultNatsLinkSettings, url: nats.url(), name: "sink test" }, () => undefined);

describeSink("JetStream", async () => {
  const link = await openLink();
  const sink = new JetStreamSink(link, { ...settings, prefix: "conformance" });
  const server = () => nats.servers()[0] as ReturnType<typeof nats.servers>[number];
  return {
    sink,
    ids: async () =>
      (await readEventStream(nats.url(), "conformance")).map(({ headers }) => headers["ce-id"] as string),
    goAway: () => server().stop(),
    comeBack: () => server().start(),
    async end() {
      await sink.close();
      await link.close();
    },
  };
});

describe("the stream of events", () => {
  let link: NatsLink;
  beforeAll(async () => {
    link = await openLink();
  });
  afterAll(() => link.close());

  it("names tenant and type in the subject, and has the CloudEvents attributes in headers", async () => {
    const sink = new JetStreamSink(link, { ...settings, prefix: "shape" });
    const event = outgoing({ tenant: "factory-3", eventId: "7-70000-5" });

    await sink.publish([event]);

    const [stored] = await readEventStream(nats.url(), "shape");
    expect(stored).toMatchObject({
      subject: "shape.event.factory-3.leased",
      headers: {
        "Nats-Msg-Id": "7-70000-5",
        "content-type": "application/json",
        "ce-specversion": "1.0",
        "ce-id": "7-70000-5",
        "ce-source": "shape",
        "ce-type": "dev.holdfast.job.leased",
        "ce-time": "1970-01-01T00:00:00.000Z",
        "ce-revision": "2",
        "ce-attempt": "1",
      },
      data: { state: "leased", revision: 2, fencingToken: "1" },
    });
    await sink.close();
  });

  it("stores an event that comes again within the window once, whichever hub sends it (D20)", async () => {
    const sinks = [1, 2].map(() => new JetStreamSink(link, { ...settings, prefix: "once" }));
    const batch = Array.from({ length: 40 }, () => outgoing());

    for (const sink of sinks) await sink.publish(batch);

    expect(await readEventStream(nats.url(), "once")).toHaveLength(40);
    for (const sink of sinks) await sink.close();
  });

  it("is made again when it was removed, and takes on the limits of the hub that opened it last", async () => {
    const sink = new JetStreamSink(link, { ...settings, prefix: "again" });
    await sink.publish([outgoing()]);
    const connection = await connect({ servers: nats.url().split(",") });
    const { streams } = await jetstreamManager(connection);
    await streams.delete("again_EVENTS");

    const batch = [outgoing()];
    await expect.poll(() => sink.publish(batch).then(() => true, String)).toBe(true);
    const other = new JetStreamSink(link, { ...settings, prefix: "again", maxBytes: 32 << 20 });
    await other.publish([outgoing()]);

    expect((await streams.info("again_EVENTS")).config).toMatchObject({
      storage: "file",
      max_bytes: 32 << 20,
      max_age: 3_600_000 * 1_000_000,
      duplicate_window: 60_000 * 1_000_000,
    });
    await connection.close();
    for (const one of [sink, other]) await one.close();
  });

  it("takes the answer of nobody else for its acknowledgement (D20)", async () => {
    const sink = new JetStreamSink(link, { ...settings, ackTimeoutMs: 500, prefix: "own" });
    await sink.publish([outgoing()]);
    const connection = await connect({ servers: nats.url().split(",") });
    connection.subscribe("own.event.>", { callback: (_, message) => void message.respond("thanks") });
    await connection.flush();
    await (await jetstreamManager(connection)).streams.delete("own_EVENTS");

    await expect(sink.publish([outgoing()])).rejects.toBeInstanceOf(SinkError);

    await connection.close();
    await sink.close();
  });
});
