import type { RawLedgerParams, RawLedgerSays } from "../programs/raw-ledger.js";
import type { Contestant } from "./contestant.js";
import { submitToHub, unfinishedInLedger } from "./holdfast.js";
import { rawLedgerSettings } from "./raw-ledger-settings.js";

export const rawLedger: Contestant = {
  name: "raw",
  title: "The same SQL, no hub, no gRPC",
  role: "limit",
  settings: rawLedgerSettings,
  preload: submitToHub,
  drain: async ({ stage, label, databaseUrl, jobs, warmUpJobs, stepMsMax }, drained) => {
    const params: RawLedgerParams = { databaseUrl, jobs, warmUpJobs, ...rawLedgerSettings };
    const ledger = stage.start<RawLedgerParams, RawLedgerSays>("raw-ledger", params, label);
    try {
      await drained(await ledger.said("drained", stepMsMax));
    } finally {
      await ledger.stop();
    }
  },
  unfinishedQuery: unfinishedInLedger,
};
