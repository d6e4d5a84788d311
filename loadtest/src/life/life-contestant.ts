import type { Racer } from "../drain/contestant.js";
import type { Stage } from "../stage.js";
import type { Program } from "../start-program.js";
import type { LifeEnd, LifeMark, LifeParams, LifeSays } from "./life-program.js";

/** One try of one contestant, on a database of its own. */
export interface LifeHeat {
  readonly stage: Stage;
  /** Contestant and round. */
  readonly label: string;
  readonly databaseUrl: string;
  readonly life: LifeParams;
  /** No step may take longer. */
  readonly stepMsMax: number;
}

/** Hears of each step when it is reached. */
export interface LifeWatch {
  warm(mark: LifeMark): Promise<void>;
  lived(mark: LifeMark): Promise<void>;
}

export interface LifeContestant extends Racer {
  /** Submits and works; when it resolves no program of it is left. */
  live(heat: LifeHeat, watch: LifeWatch): Promise<LifeEnd>;
}

/** Follows a program through its life and ends it. */
export async function followLife(
  program: Program<LifeSays>,
  { stepMsMax }: LifeHeat,
  watch: LifeWatch,
): Promise<LifeEnd> {
  try {
    await watch.warm(await program.said("warm", stepMsMax));
    await watch.lived(await program.said("lived", stepMsMax));
    return await program.said("ended", stepMsMax);
  } finally {
    await program.stop();
  }
}
