import { describe, expect, it } from "vitest";
import { Fault } from "../domain/fault.js";
import type { HubMessage } from "../services/session-messages.js";
import { StreamOutbox } from "./outbox.js";

function beat(number: number): HubMessage {
  return { type: "heartbeat", echo: BigInt(number), nonce: 0n, timeLeftMs: 0 };
}

function filled(count: number): StreamOutbox {
  const outbox = new StreamOutbox();
  for (let number = 1; number <= count; number += 1) outbox.send(beat(number));
  return outbox;
}

async function readAll(outbox: StreamOutbox): Promise<number[]> {
  const read: number[] = [];
  for await (const message of outbox) if (message.type === "heartbeat") read.push(Number(message.echo));
  return read;
}

describe("the messages on their way down a stream", () => {
  it("come in order, those that wait and those that are sent while somebody reads", async () => {
    const outbox = filled(2);
    const reading = readAll(outbox);
    await Promise.resolve();

    outbox.send(beat(3));
    await Promise.resolve();
    outbox.send(beat(4));
    outbox.end(null);

    expect(await reading).toEqual([1, 2, 3, 4]);
  });

  it("still go down when the stream ends in good order, and nothing after", async () => {
    const outbox = filled(2);
    outbox.end(null);
    outbox.send(beat(3));

    expect(await readAll(outbox)).toEqual([1, 2]);
  });

  it("are dropped for a fault, which ends the stream at once; the first end counts", async () => {
    const outbox = filled(2);
    const fault = new Fault("SUPERSEDED", "A newer stream has resumed this session.");
    outbox.end(fault);
    outbox.end(null);

    await expect(readAll(outbox)).rejects.toBe(fault);
  });

  it("end with a fault for somebody who waits for the next one", async () => {
    const outbox = new StreamOutbox();
    const reading = readAll(outbox);
    await Promise.resolve();

    outbox.end(new Fault("HUB_STOPPING", "The hub is stopping."));

    await expect(reading).rejects.toMatchObject({ reason: "HUB_STOPPING" });
  });

  it("say once that the stream ended", () => {
    const outbox = new StreamOutbox();
    let ends = 0;
    outbox.onEnd = () => {
      ends += 1;
    };

    outbox.end(null);
    outbox.end(null);

    expect(ends).toBe(1);
  });
});

describe("a worker that does not read", () => {
  it("is sent no more leases from 8 waiting messages on, until it has read down to 2", async () => {
    const outbox = filled(7);
    expect(outbox.isClogged()).toBe(false);
    outbox.send(beat(8));
    expect(outbox.isClogged()).toBe(true);
    let clears = 0;
    outbox.onClear = () => {
      clears += 1;
    };
    const reader = outbox[Symbol.asyncIterator]();

    for (let read = 0; read < 5; read += 1) await reader.next();
    expect(clears).toBe(0);
    await reader.next();
    expect(clears).toBe(1);
    await reader.next();
    expect(clears).toBe(1);
  });

  it("is not read from while 64 answers wait for it", async () => {
    const outbox = filled(63);
    expect(outbox.room()).toBeNull();
    outbox.send(beat(64));
    const room = outbox.room();
    expect(room).not.toBeNull();

    await outbox[Symbol.asyncIterator]().next();

    await room;
    expect(outbox.room()).toBeNull();
  });

  it("lets nobody wait for room once its stream has ended", async () => {
    const outbox = filled(64);
    const room = outbox.room();

    outbox.end(null);

    await room;
    expect(outbox.room()).toBeNull();
  });
});
