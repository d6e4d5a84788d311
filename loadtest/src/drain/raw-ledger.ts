import type { RawLedgerParams, RawLedgerSays } from "../programs/raw-ledger.js";
import type { Contestant } from "./contestant.js";
import { submitToHub, unfinishedInLedger } from "./holdfast.js";

const settings = { batchJobs: 512, batchesInFlight: 3 };

export const rawLedger: Contestant = {
  name: "raw",
  title: "The same SQL, no hub, no gRPC",
  settings,
  preload: submitToHub,
  drain: async ({ stage, label, databaseUrl, jobs, stepMsMax }, drained) => {
    const params: RawLedgerParams = { databaseUrl, jobs, ...settings };
    const ledger = stage.start<RawLedgerParams, RawLedgerSays>("raw-ledger", params, label);
    try {
      await drained(await ledger.said("drained", stepMsMax));
    } finally {
      await ledger.stop();
    }
  },
  unfinishedQuery: unfinishedInLedger,
};
