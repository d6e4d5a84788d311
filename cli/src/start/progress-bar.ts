import { Presets, SingleBar } from "cli-progress";
import type { Io } from "../io.js";
import type { Output } from "../output.js";

export interface Progress {
  advance(done: number): void;
  end(): void;
}

const LINES_IN_ALL = 10;

/** A bar on a terminal, a line for every tenth otherwise, and nothing with --json. */
export function startProgress(what: string, total: number, io: Io, output: Output): Progress {
  if (output.isJson) {
    return { advance: () => {}, end: () => {} };
  }
  return io.stderr.isTTY === true ? startBar(what, total, io) : startLines(what, total, output);
}

function startBar(what: string, total: number, io: Io): Progress {
  const bar = new SingleBar(
    {
      format: `${what} {bar} {value}/{total}  {duration_formatted}`,
      stream: io.stderr as NodeJS.WritableStream,
      hideCursor: true,
      barsize: 40,
      // Signals are `start`'s to answer.
      gracefulExit: false,
    },
    Presets.shades_classic,
  );
  bar.start(total, 0);
  return { advance: (done) => bar.update(done), end: () => bar.stop() };
}

function startLines(what: string, total: number, output: Output): Progress {
  let linesWritten = 0;
  return {
    advance: (done) => {
      const lines = Math.floor((done / total) * LINES_IN_ALL);
      if (lines > linesWritten) {
        linesWritten = lines;
        output.remark(`${what} ${done}/${total}`);
      }
    },
    end: () => {},
  };
}
