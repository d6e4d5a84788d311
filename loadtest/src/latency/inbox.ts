// How long a job that is submitted in SQL waits for its handler, on a hub that has little else to do.
import { defineBenchmark } from "../benchmark.js";
import { formatCount } from "../table.js";
import { latencyTable, type Offer, offerAndWatch, warmUpSeconds } from "./latency.js";
import { timedPayloadBytesMin } from "./timed-payload.js";

export const inbox = defineBenchmark({
  name: "inbox",
  summary: "from a submit in SQL to the start of its handler, at a steady rate",
  options: {
    rate: { unit: "per second", default: 3, range: [1, 5_000], help: "transactions of one submit each" },
    seconds: {
      unit: "seconds",
      default: 60,
      range: [1, 3_600],
      help: `measured, after ${warmUpSeconds} s of warm-up`,
    },
    bytes: { unit: "count", default: 200, range: [timedPayloadBytesMin, 65_536], help: "bytes of a payload" },
    rounds: { unit: "count", default: 3, range: [1, 100], help: "times that it is done" },
  },
  run: async (stage, { rate, seconds, bytes, rounds }) => {
    const offers: Offer[] = [];
    for (let round = 1; round <= rounds; round += 1)
      offers.push(
        await offerAndWatch(stage, rate, seconds, bytes, `inbox_${round}`, { producer: "inbox-producer" }),
      );
    return {
      table: latencyTable([
        ["begin → handler start", offers.map(({ started }) => started)],
        ["begin → committed", offers.map(({ submitted }) => submitted)],
      ]),
      notes: [
        `${formatCount(rate)} transactions/s for ${seconds} s after ${warmUpSeconds} s of warm-up: begin, holdfast.submit(), commit.`,
        `Timed from before the transaction began. Medians of ${rounds} rounds.`,
      ],
      measured: { offers },
    };
  },
});
