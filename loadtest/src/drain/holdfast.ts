import { join } from "node:path";
import type { DrainerParams, DrainerSays } from "../programs/holdfast-drainer.js";
import type { SubmitterParams, SubmitterSays } from "../programs/holdfast-submitter.js";
import type { HubParams, HubSays } from "../programs/hub.js";
import type { Contestant, Heat } from "./contestant.js";

/** In the ledger's words: everything but JobState.Succeeded. */
export const unfinishedInLedger = "select count(*) from holdfast.job where state <> 6";

export const holdfast = holdfastContestant("holdfast", "Holdfast, SDK worker", true);
export const holdfastNoJournal = holdfastContestant(
  "holdfast-no-journal",
  "Holdfast, SDK worker, no journal",
  false,
);

function holdfastContestant(name: string, title: string, hasJournal: boolean): Contestant {
  return {
    name,
    title,
    role: "holdfast",
    settings: hasJournal ? {} : { journal: false },
    preload: (heat) => submitToHub(heat),
    drain: async (heat, drained) => {
      await withHub(heat, "drain", async (address) => {
        const journal = hasJournal && join(heat.stage.scratchDir, "journals", heat.label);
        const worker = heat.stage.start<DrainerParams, DrainerSays>(
          "holdfast-drainer",
          { address, jobs: heat.jobs, warmUpJobs: heat.warmUpJobs, journal },
          heat.label,
        );
        try {
          await drained(await worker.said("drained", heat.stepMsMax));
        } finally {
          await worker.stop();
        }
      });
    },
    unfinishedQuery: unfinishedInLedger,
  };
}

/** The backlog of every contestant that has a ledger comes in through a hub. */
export async function submitToHub(heat: Heat, source = ""): Promise<void> {
  await withHub(heat, "preload", async (address) => {
    const params: SubmitterParams = { address, jobs: heat.jobs, payloadBytes: heat.payloadBytes, source };
    const submitter = heat.stage.start<SubmitterParams, SubmitterSays>(
      "holdfast-submitter",
      params,
      `${heat.label}-preload`,
    );
    try {
      await submitter.said("submitted", heat.stepMsMax);
    } finally {
      await submitter.stop();
    }
  });
}

/** Runs a hub, as it ships, for as long as the act lasts. */
export async function withHub<Result>(
  { stage, label, databaseUrl, stepMsMax }: Pick<Heat, "stage" | "label" | "databaseUrl" | "stepMsMax">,
  step: "preload" | "drain",
  act: (address: string) => Promise<Result>,
): Promise<Result> {
  const hub = stage.start<HubParams, HubSays>(
    "hub",
    { databaseUrl },
    step === "drain" ? label : `${label}-preload`,
  );
  try {
    return await act((await hub.said("up", stepMsMax)).grpcAddress);
  } finally {
    await hub.stop();
  }
}
