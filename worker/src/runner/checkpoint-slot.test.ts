import { expect, test } from "vitest";
import { LeaseLostError } from "../job-errors.js";
import { CheckpointSlot } from "./checkpoint-slot.js";

function slot(sequence = 0) {
  const sent: [number, number][] = [];
  return { sent, slot: new CheckpointSlot(sequence, (next, state) => sent.push([next, state[0] ?? -1])) };
}

const state = (value: number) => new Uint8Array([value]);

test("sequences rise from the one that the attempt started with", async () => {
  const { sent, slot: checkpoints } = slot(7);
  const first = checkpoints.save(state(1));
  checkpoints.answered(8, undefined);
  await first;
  void checkpoints.save(state(2));
  expect(sent).toEqual([
    [8, 1],
    [9, 2],
  ]);
});

test("an answer to an older checkpoint, or a second one, changes nothing", async () => {
  const { sent, slot: checkpoints } = slot(0);
  const first = checkpoints.save(state(1));
  const second = checkpoints.save(state(2));
  checkpoints.answered(0, undefined);
  checkpoints.answered(1, undefined);
  checkpoints.answered(1, new Error("late"));
  await first;
  expect(sent).toEqual([
    [1, 1],
    [2, 2],
  ]);
  checkpoints.answered(2, new Error("refused"));
  await expect(second).rejects.toThrow("refused");
});

test("a closed slot refuses what is open, what waits and what comes, with the first reason", async () => {
  const { sent, slot: checkpoints } = slot(0);
  const saves = [checkpoints.save(state(1)), checkpoints.save(state(2))];
  checkpoints.close(new LeaseLostError("gone"));
  checkpoints.close(new Error("ended"));
  saves.push(checkpoints.save(state(3)));
  for (const save of saves) await expect(save).rejects.toThrow("gone");
  expect(sent).toEqual([[1, 1]]);
});
