// Effects: claims, and what their holders do. The ledger decides each act in one statement; here its answers become
// what callers are told. A refusal is a Fault, which the lease stream sends as the verdict of its item.
import type { EffectName } from "../domain/effect.js";
import type { EffectView } from "../domain/effect-view.js";
import { Fault } from "../domain/fault.js";
import type { Principal } from "../domain/scope.js";
import type { EffectItem } from "../ledger/effect-items.js";
import type { EffectRefusal } from "../ledger/effect-refusal.js";
import { type Committed, type Ledger, patience } from "../ledger/ledger.js";
import { requireScope } from "./access.js";
import type { EffectAnswer, EffectRequest, EffectTarget } from "./effect-requests.js";
import type { JobFeed } from "./job-feed.js";

type EffectLedger = Pick<
  Ledger,
  "claimEffects" | "renewEffects" | "completeEffects" | "giveBackEffects" | "readEffect" | "listEffects"
>;

export class Effects {
  readonly #ledger: EffectLedger;
  readonly #feed: JobFeed;
  readonly #count: (act: string, answer: string) => void;

  constructor(ledger: EffectLedger, feed: JobFeed, count: (act: string, answer: string) => void) {
    this.#ledger = ledger;
    this.#feed = feed;
    this.#count = count;
  }

  /** @throws Fault STALE_FENCE, EFFECT_COMPLETED, EFFECT_NOT_FOUND, JOB_NOT_FOUND */
  async act(target: EffectTarget, request: EffectRequest): Promise<EffectAnswer> {
    try {
      const answer = await this.#act(target, request);
      this.#count(request.type, answer.type);
      return answer;
    } catch (error) {
      if (error instanceof Fault) this.#count(request.type, error.reason.toLowerCase());
      throw error;
    }
  }

  /**
   * Takes an effect away from whoever holds it, by an operator.
   *
   * @throws Fault SCOPE_MISSING, EFFECT_COMPLETED, EFFECT_NOT_FOUND
   */
  async takeAway(principal: Principal, name: EffectName, reason: string): Promise<void> {
    requireScope(principal, "jobs:operate");
    const target = { principal, name, sessionId: null, fencingToken: null };
    const result = await only(
      this.#ledger.giveBackEffects([{ ...itemOf(target), effectToken: null, reason }], patience.callMs),
    );
    this.#count("take_away", result.type);
    if (result.type !== "written") throw refused(name, result);
  }

  /** @throws Fault EFFECT_NOT_FOUND */
  async get(principal: Principal, name: EffectName): Promise<EffectView> {
    const effect = await this.#ledger.readEffect(principal.tenantId, name);
    if (!effect) throw refused(name, { type: "absent" });
    return effect;
  }

  list(
    principal: Principal,
    owner: Pick<EffectName, "jobId" | "scope">,
    afterKey: string,
    limit: number,
  ): Promise<EffectView[]> {
    return this.#ledger.listEffects(principal.tenantId, owner, afterKey, limit);
  }

  async #act(target: EffectTarget, request: EffectRequest): Promise<EffectAnswer> {
    const item = itemOf(target);
    // A stream outlasts a restart of the server; a caller is told to try again.
    const patienceMs = target.sessionId === null ? patience.callMs : patience.streamMs;
    switch (request.type) {
      case "claim": {
        const result = await only(this.#ledger.claimEffects([{ ...item, ...request }], patienceMs));
        if (result.type === "no_job") throw noJob(target.name);
        if (result.type === "stale") throw refused(target.name, { type: "stale", of: "job" });
        return result;
      }
      case "renew": {
        const result = await only(this.#ledger.renewEffects([{ ...item, ...request }], patienceMs));
        if (result.type !== "renewed") throw refused(target.name, result);
        return result;
      }
      case "complete": {
        const result = await only(this.#ledger.completeEffects([{ ...item, ...request }], patienceMs));
        if (result.type !== "written") throw refused(target.name, result);
        if (target.name.jobId && !result.isExisting) this.#feed.changed(target.name.jobId);
        return result;
      }
      case "release":
      case "abandon": {
        const { effectToken } = request;
        const reason = request.type === "abandon" ? request.reason : null;
        const result = await only(
          this.#ledger.giveBackEffects([{ ...item, effectToken, reason }], patienceMs),
        );
        if (result.type !== "written") throw refused(target.name, result);
        return result;
      }
    }
  }
}

function itemOf({ principal, name, sessionId, fencingToken }: EffectTarget): EffectItem {
  const { tenantId, subject } = principal;
  return { tenantId, subject, name, lease: fencingToken === null ? null : { sessionId, fencingToken } };
}

async function only<Result>(results: Committed<Result>): Promise<Result> {
  return (await results)[0] as Result;
}

function refused(name: EffectName, refusal: EffectRefusal): Fault {
  const about = aboutEffect(name);
  switch (refusal.type) {
    case "completed":
      return new Fault(
        "EFFECT_COMPLETED",
        "The effect is completed; that is final. Claim it to be given its result.",
        about,
      );
    case "absent":
      return new Fault("EFFECT_NOT_FOUND", "There is no such effect.", about);
    case "stale":
      return refusal.of === "job"
        ? new Fault("STALE_FENCE", "The job is not leased to the caller under this fencing token.", {
            ...about,
            token: "fencing_token",
          })
        : new Fault("STALE_FENCE", "The caller does not hold the effect under this effect token.", {
            ...about,
            token: "effect_token",
          });
  }
}

function noJob(name: EffectName): Fault {
  return new Fault("JOB_NOT_FOUND", "There is no such job.", { job_id: name.jobId ?? "" });
}

function aboutEffect({ jobId, scope, key }: EffectName): Record<string, string> {
  return jobId === null ? { scope, key } : { job_id: jobId, key };
}
