import { describe, expect, it } from "vitest";
import { type JobNote, JobNoteType, jobNotesMax, newestNotes } from "./job-note.js";

const effect = (number: number, atMs: number): JobNote => ({
  number: BigInt(number),
  type: JobNoteType.EffectCompleted,
  name: "mail",
  bytes: 1,
  atMs,
  signals: 0,
  producer: "",
});
const page = (last: number, signals: number, atMs: number): JobNote => ({
  number: BigInt(last),
  type: JobNoteType.SignalsPublished,
  name: "log",
  bytes: 10,
  atMs,
  signals,
  producer: "press",
});

describe("the summary of a job", () => {
  it("tells of effects and signals together, oldest first", () => {
    const { notes, isTruncated } = newestNotes([effect(1, 5), effect(2, 9), page(4, 4, 7)], false);
    expect(notes.map(({ atMs }) => atMs)).toEqual([5, 7, 9]);
    expect(isTruncated).toBe(false);
  });

  it("keeps the newest, counts each signal, and says that there was more", () => {
    const pages = [page(100, 100, 1), page(200, 100, 2), page(300, 100, 3), page(400, 100, 4)];
    const { notes, isTruncated } = newestNotes(pages, false);
    expect(notes.map(({ number }) => number)).toEqual([200n, 300n, 400n]);
    expect(isTruncated).toBe(true);
  });

  it("keeps no more than it may, and does not forget that some were left out before", () => {
    const effects = Array.from({ length: jobNotesMax + 1 }, (_, at) => effect(at + 1, at));
    expect(newestNotes(effects, false)).toMatchObject({ isTruncated: true, notes: { length: jobNotesMax } });
    expect(newestNotes(effects.slice(1), true).isTruncated).toBe(true);
    expect(newestNotes(effects.slice(1), false).isTruncated).toBe(false);
  });
});
