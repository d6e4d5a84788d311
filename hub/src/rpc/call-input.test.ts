import { PassThrough } from "node:stream";
import type { ServerDuplexStream } from "@grpc/grpc-js";
import { describe, expect, it } from "vitest";
import { CallInput } from "./call-input.js";

const answered = new Error("answered");

function open() {
  const call = new PassThrough({ objectMode: true, highWaterMark: 2 });
  const input = new CallInput(
    call as unknown as ServerDuplexStream<number, never>,
    (received) => {
      if (received < 0) throw new RangeError("negative");
      return received * 10;
    },
    (error) => error === answered,
  );
  return { call, input };
}

const settled = () => new Promise<void>((resolve) => setTimeout(resolve, 10));

describe("the messages that come up a call", () => {
  it("are handed over in order, those that waited and those that are waited for", async () => {
    const { call, input } = open();
    call.write(1);
    call.write(2);
    await settled();
    const taken: number[] = [];
    const reading = (async () => {
      for await (const message of input) taken.push(message);
    })();
    await settled();
    call.write(3);
    await settled();
    expect(taken).toEqual([10, 20, 30]);
    call.end(4);
    await reading;
    expect(taken).toEqual([10, 20, 30, 40]);
  });

  it("stay with the caller while nobody asks for them", async () => {
    const { call, input } = open();
    for (let number = 1; number <= 20; number += 1) call.write(number);
    await settled();
    expect(call.isPaused()).toBe(true);
    expect(call.writableNeedDrain).toBe(true);
    for (let number = 1; number <= 20; number += 1)
      expect(await input.next()).toEqual({ done: false, value: number * 10 });
  });

  it("go on after one that the method cannot be given", async () => {
    const { call, input } = open();
    call.write(-1);
    call.write(2);
    await expect(input.next()).rejects.toThrow(RangeError);
    expect(await input.next()).toEqual({ done: false, value: 20 });
  });

  it.each(["cancelled", "close"])("end when the caller is gone (%s), also for who waits", async (event) => {
    const { call, input } = open();
    const next = input.next();
    call.emit(event);
    expect(await next).toEqual({ done: true, value: undefined });
    expect(await input.next()).toEqual({ done: true, value: undefined });
  });

  it("end with the answer of the call, and fail with any other error", async () => {
    const one = open();
    const two = open();
    const nexts = [one.input.next(), two.input.next()];
    one.call.emit("error", answered);
    two.call.emit("error", new Error("reset"));
    expect(await nexts[0]).toEqual({ done: true, value: undefined });
    await expect(nexts[1]).rejects.toThrow("reset");
    await expect(two.input.next()).rejects.toThrow("reset");
  });

  it("are dropped once the method has left", async () => {
    const { call, input } = open();
    call.write(1);
    await settled();
    await input.return();
    call.write(2);
    await settled();
    expect(await input.next()).toEqual({ done: true, value: undefined });
  });
});
