import { styleText } from "node:util";

/** Colours by meaning, so that a terminal, a file and a test differ in one object. */
export interface Paint {
  good(text: string): string;
  warn(text: string): string;
  bad(text: string): string;
  strong(text: string): string;
  faint(text: string): string;
}

const unchanged = (text: string) => text;

export const plainPaint: Paint = {
  good: unchanged,
  warn: unchanged,
  bad: unchanged,
  strong: unchanged,
  faint: unchanged,
};

// Whether there is a terminal is decided by whoever chooses this paint, not looked up again for every word.
const style =
  (format: Parameters<typeof styleText>[0]) =>
  (text: string): string =>
    styleText(format, text, { validateStream: false });

export const terminalPaint: Paint = {
  good: style("green"),
  warn: style("yellow"),
  bad: style("red"),
  strong: style("bold"),
  faint: style("dim"),
};
