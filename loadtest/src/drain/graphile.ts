import { graphileSettings } from "../graphile-settings.js";
import type { GraphileDrainerParams, GraphileDrainerSays } from "../programs/graphile-drainer.js";
import type { GraphileSubmitterParams, GraphileSubmitterSays } from "../programs/graphile-submitter.js";
import type { Contestant } from "./contestant.js";

export const graphile: Contestant = {
  name: "graphile",
  title: "graphile-worker 0.17.3, local queue, batched completion",
  role: "peer",
  settings: graphileSettings,
  preload: async ({ stage, label, databaseUrl, jobs, payloadBytes, stepMsMax }) => {
    const submitter = stage.start<GraphileSubmitterParams, GraphileSubmitterSays>(
      "graphile-submitter",
      { databaseUrl, jobs, payloadBytes },
      `${label}-preload`,
    );
    try {
      await submitter.said("submitted", stepMsMax);
    } finally {
      await submitter.stop();
    }
  },
  drain: async ({ stage, label, databaseUrl, warmUpJobs, stepMsMax }, drained) => {
    const worker = stage.start<GraphileDrainerParams, GraphileDrainerSays>(
      "graphile-drainer",
      { databaseUrl, warmUpJobs },
      label,
    );
    try {
      await drained(await worker.said("drained", stepMsMax));
    } finally {
      await worker.stop();
    }
  },
  unfinishedQuery: "select count(*) from graphile_worker._private_jobs",
};
