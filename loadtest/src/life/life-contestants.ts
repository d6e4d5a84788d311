import { join } from "node:path";
import { graphile } from "../drain/graphile.js";
import { holdfast, withHub } from "../drain/holdfast.js";
import { pgBoss } from "../drain/pg-boss.js";
import { rawLedger } from "../drain/raw-ledger.js";
import { river } from "../drain/river.js";
import type { GraphileLifeParams } from "../programs/graphile-life.js";
import type { HoldfastLifeParams } from "../programs/holdfast-life.js";
import type { PgBossParams } from "../programs/pg-boss.js";
import type { RawLifeParams } from "../programs/raw-life.js";
import type { RiverParams } from "../programs/river.js";
import { followLife, type LifeContestant } from "./life-contestant.js";
import type { LifeSays } from "./life-program.js";

export const holdfastLife: LifeContestant = {
  ...holdfast,
  live: (heat, watch) =>
    withHub(heat, "drain", async (address) => {
      const journal = join(heat.stage.scratchDir, "journals", heat.label);
      const params: HoldfastLifeParams = { address, journal, life: heat.life };
      const program = heat.stage.start<HoldfastLifeParams, LifeSays>("holdfast-life", params, heat.label);
      return await followLife(program, heat, watch);
    }),
};

const rawLife: LifeContestant = {
  ...rawLedger,
  live: (heat, watch) => {
    const { stage, databaseUrl, label, life } = heat;
    const params: RawLifeParams = { databaseUrl, life };
    return followLife(stage.start<RawLifeParams, LifeSays>("raw-life", params, label), heat, watch);
  },
};

const graphileLife: LifeContestant = {
  ...graphile,
  live: (heat, watch) => {
    const { stage, databaseUrl, label, life } = heat;
    const params: GraphileLifeParams = { databaseUrl, life };
    return followLife(stage.start<GraphileLifeParams, LifeSays>("graphile-life", params, label), heat, watch);
  },
};

const pgBossLife: LifeContestant = {
  ...pgBoss,
  live: (heat, watch) => {
    const { stage, databaseUrl, label, life } = heat;
    const params: PgBossParams = { act: "live", databaseUrl, life };
    return followLife(stage.start<PgBossParams, LifeSays>("pg-boss", params, label), heat, watch);
  },
};

const riverLife: LifeContestant = {
  ...river,
  live: (heat, watch) => {
    const { stage, databaseUrl, label, life } = heat;
    const params: RiverParams = { act: "live", databaseUrl, life };
    return followLife(stage.start<RiverParams, LifeSays>("river", params, label), heat, watch);
  },
};

export const lifeContestants: readonly LifeContestant[] = [
  holdfastLife,
  rawLife,
  graphileLife,
  pgBossLife,
  riverLife,
];
