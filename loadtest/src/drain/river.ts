import type { RiverParams, RiverSays } from "../programs/river.js";
import { riverSettings } from "../river-settings.js";
import type { Contestant } from "./contestant.js";

export const river: Contestant = {
  name: "river",
  title: `River ${riverSettings.version}, as its own benchmark sets it`,
  role: "peer",
  settings: riverSettings,
  preload: async ({ stage, label, databaseUrl, jobs, payloadBytes, stepMsMax }) => {
    const params: RiverParams = { act: "submit", databaseUrl, jobs, payloadBytes };
    const submitter = stage.start<RiverParams, RiverSays>("river", params, `${label}-preload`);
    try {
      await submitter.said("submitted", stepMsMax);
    } finally {
      await submitter.stop();
    }
  },
  drain: async ({ stage, label, databaseUrl, jobs, warmUpJobs, stepMsMax }, drained) => {
    const params: RiverParams = { act: "drain", databaseUrl, jobs, warmUpJobs };
    const worker = stage.start<RiverParams, RiverSays>("river", params, label);
    try {
      await drained(await worker.said("drained", stepMsMax));
    } finally {
      await worker.stop();
    }
  },
  unfinishedQuery: "select count(*) from river_job where state <> 'completed'",
};
