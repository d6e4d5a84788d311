import { InvalidArgumentError } from "commander";
import { parseTime } from "./time.js";

/** A window of event time of a source, its end exclusive. */
export interface WindowOf {
  readonly source: string;
  readonly from: Date;
  readonly to: Date;
}

/** Reads "clicks,2027-01-31T00:00:00Z,2027-01-31T01:00:00Z". */
export function parseWindow(text: string): WindowOf {
  const [source, from, to, ...rest] = text.split(",");
  if (!source || !from || !to || rest.length > 0) {
    throw new InvalidArgumentError(
      `"${text}" is not a window: write SOURCE,FROM,TO like clicks,2027-01-31T00:00:00Z,2027-01-31T01:00:00Z.`,
    );
  }
  return { source, from: parseTime(from), to: parseTime(to) };
}
