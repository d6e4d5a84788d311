import { Metadata, Server, ServerCredentials, type ServerDuplexStream } from "@grpc/grpc-js";
import { JobService } from "@holdfast/gen/holdfast/v1/job_service_pb";
import { SignalService } from "@holdfast/gen/holdfast/v1/signal_service_pb";
import { expect, onTestFinished, test } from "vitest";
import { methodPath } from "../src/grpc/method-codec.js";
import { createClient } from "../src/index.js";
import { until } from "./scripted-hub.js";

/** A hub that takes every stream, and says nothing on it, or the same on each. */
async function silentHub(says?: Buffer) {
  const open = new Set<string>();
  const server = new Server();
  for (const method of [
    SignalService.method.publish,
    SignalService.method.subscribe,
    JobService.method.watch,
  ]) {
    const { localName } = method;
    const definition = {
      path: methodPath(method),
      requestStream: method.methodKind === "bidi_streaming",
      responseStream: true,
      requestSerialize: (bytes: Buffer) => bytes,
      requestDeserialize: (bytes: Buffer) => bytes,
      responseSerialize: (bytes: Buffer) => bytes,
      responseDeserialize: (bytes: Buffer) => bytes,
    };
    const take = (call: ServerDuplexStream<Buffer, Buffer>) => {
      open.add(localName);
      call.on("cancelled", () => open.delete(localName));
      call.on("error", () => {});
      call.sendMetadata(new Metadata());
      if (says !== undefined) call.write(says);
    };
    server.addService({ [localName]: definition }, { [localName]: take as never });
  }
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    );
  });
  onTestFinished(() => server.forceShutdown());
  return { address: `127.0.0.1:${port}`, open };
}

/** An address where nobody listens. */
async function deadAddress(): Promise<string> {
  const server = new Server();
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    );
  });
  server.forceShutdown();
  return `127.0.0.1:${port}`;
}

test("a client that is closed between two tries of its producers rejects what they were given, and opens nothing more", async () => {
  const client = createClient({ address: await deadAddress() });
  const producer = client.producer("metrics");
  const published = Promise.allSettled([client.publish("orders", "one"), producer.publish("two")]);
  const opened = producer.lastStored();
  await new Promise((resolve) => setTimeout(resolve, 200));

  client.close();

  await expect(opened).rejects.toThrow("the client is closed");
  expect(await published).toMatchObject([
    { status: "rejected", reason: { message: "the client is closed" } },
    { status: "rejected", reason: { message: "the client is closed" } },
  ]);
  await expect(client.publish("orders", "three")).rejects.toThrow("the client is closed");
  await expect(producer.publish("four")).rejects.toThrow("the client is closed");
  await producer.close();
  // Longer than the producers would have waited for their next try.
  await new Promise((resolve) => setTimeout(resolve, 500));
});

test("closing a client ends its producers, subscriptions and watches on the hub too", async () => {
  const hub = await silentHub();
  const client = createClient({ address: hub.address });
  const published = client.publish("orders", "one");
  published.catch(() => {});
  const subscription = client.subscribe("orders", () => {});
  const watching = (async () => {
    for await (const _ of client.watch("a"));
  })();
  watching.catch(() => {});
  await until(() => hub.open.size === 3, "the streams");

  client.close();

  await expect(published).rejects.toThrow("the client is closed");
  await subscription.done;
  await expect(watching).rejects.toMatchObject({ reason: "CANCELLED" });
  await until(() => hub.open.size === 0, "the end of the streams");
});

test("a subscription that waits to connect again ends with its client", async () => {
  const client = createClient({ address: await deadAddress() });
  const subscription = client.subscribe("orders", () => {});
  await new Promise((resolve) => setTimeout(resolve, 200));
  client.close();
  await subscription.done;
});

test("a hub that says what cannot be read ends a producer and a subscription, and not the process", async () => {
  const hub = await silentHub(Buffer.from([0xff, 0xff]));
  const client = createClient({ address: hub.address });
  onTestFinished(() => client.close());
  const subscription = client.subscribe("orders", () => {});
  await expect(client.publish("orders", "one")).rejects.toThrow();
  await expect(subscription.done).rejects.toThrow();
});
