import { pgBossSettings } from "../pg-boss-settings.js";
import type { PgBossParams, PgBossSays } from "../programs/pg-boss.js";
import type { Contestant } from "./contestant.js";

export const pgBoss: Contestant = {
  name: "pg-boss",
  title: "pg-boss 10.4.2, fetch 500, complete",
  role: "peer",
  settings: pgBossSettings,
  preload: async ({ stage, label, databaseUrl, jobs, payloadBytes, stepMsMax }) => {
    const params: PgBossParams = { act: "submit", databaseUrl, jobs, payloadBytes };
    const submitter = stage.start<PgBossParams, PgBossSays>("pg-boss", params, `${label}-preload`);
    try {
      await submitter.said("submitted", stepMsMax);
    } finally {
      await submitter.stop();
    }
  },
  drain: async ({ stage, label, databaseUrl, jobs, warmUpJobs, stepMsMax }, drained) => {
    const params: PgBossParams = { act: "drain", databaseUrl, jobs, warmUpJobs };
    const worker = stage.start<PgBossParams, PgBossSays>("pg-boss", params, label);
    try {
      await drained(await worker.said("drained", stepMsMax));
    } finally {
      await worker.stop();
    }
  },
  unfinishedQuery: "select count(*) from pgboss.job where state <> 'completed'",
};
