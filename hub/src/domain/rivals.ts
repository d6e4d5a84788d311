import type { Lane, Ref } from "./lane.js";

/** A lane and the first ref of it that waits. */
export interface LaneHead {
  readonly lane: Lane;
  readonly ref: Ref;
}

/** What is served before a lane's head, or in turns with it. */
export interface Rivals {
  /** Lanes whose heads go first. */
  readonly lanes: readonly Lane[];
  /** One lane of each fairness key that takes turns with the lane's own. */
  readonly keys: readonly Lane[];
}

/** Of lanes that the same worker serves, those that come before `own` by the rule of hub/src/services/lane-choice.ts. */
export function rivalsOf(
  own: LaneHead,
  others: readonly LaneHead[],
  scoreOf: (head: LaneHead) => number,
): Rivals {
  const ownScore = scoreOf(own);
  const isSharing = ({ lane }: LaneHead) =>
    own.lane.fairnessKey !== "" && lane.fairnessKey !== "" && lane.priority === own.lane.priority;
  const partyScore = others.filter(isSharing).reduce((best, head) => Math.max(best, scoreOf(head)), ownScore);
  const keys = new Map<string, Lane>();
  const lanes: Lane[] = [];
  for (const head of others) {
    const { lane } = head;
    if (isSharing(head) && lane.fairnessKey !== own.lane.fairnessKey) keys.set(lane.fairnessKey, lane);
    else if (scoreOf(head) > (isSharing(head) ? ownScore : partyScore)) lanes.push(lane);
  }
  return { lanes, keys: [...keys.values()] };
}
