import { expect, test } from "vitest";
import { inProcessPorts } from "./in-process-port.js";

test("messages arrive in order, later, and also those posted before anybody listened", async () => {
  const [a, b] = inProcessPorts<number, string>();
  const received: number[] = [];
  a.post(1);
  a.post(2);
  b.onMessage((message) => {
    received.push(message);
    if (message === 2) a.post(4);
  });
  a.post(3);
  expect(received).toEqual([]);
  await new Promise(setImmediate);
  expect(received).toEqual([1, 2, 3, 4]);
});
