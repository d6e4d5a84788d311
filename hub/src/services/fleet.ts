import type { HubView, LedgerFacts, SessionView } from "../domain/fleet-view.js";
import type { Lane } from "../domain/lane.js";
import type { Principal } from "../domain/scope.js";
import type { LaneStats, Lanes } from "../lanes/lanes.js";
import type { Ledger } from "../ledger/ledger.js";
import type { LaneBook } from "./lane-book.js";
import type { Sessions } from "./sessions.js";

export interface HubStatus {
  readonly hubVersion: string;
  readonly writerId: number;
  readonly startedAtMs: number;
  readonly isEmbedded: boolean;
  readonly ledger: LedgerFacts;
  readonly streams: number;
  /** Every hub of the fleet. */
  readonly hubs: readonly HubView[];
  readonly lanes: readonly {
    readonly lane: Lane;
    readonly fairnessWeight: number;
    readonly stats: LaneStats;
    readonly headReadyAtMs: number | null;
  }[];
}

/** What operators see of this hub and of the sessions on any hub. */
export class Fleet {
  readonly #ledger: Pick<Ledger, "writerId" | "readFacts" | "listHubs" | "listSessions">;
  readonly #lanes: Lanes;
  readonly #book: LaneBook;
  readonly #sessions: Sessions;
  readonly #about: { readonly hubVersion: string; readonly isEmbedded: boolean };
  readonly #startedAtMs = Date.now();

  constructor(
    ledger: Pick<Ledger, "writerId" | "readFacts" | "listHubs" | "listSessions">,
    lanes: Lanes,
    book: LaneBook,
    sessions: Sessions,
    about: { readonly hubVersion: string; readonly isEmbedded: boolean },
  ) {
    this.#ledger = ledger;
    this.#lanes = lanes;
    this.#book = book;
    this.#sessions = sessions;
    this.#about = about;
  }

  async status(principal: Principal): Promise<HubStatus> {
    const own = [...this.#book.all()].filter((lane) => lane.tenantId === principal.tenantId);
    return {
      ...this.#about,
      writerId: this.#ledger.writerId,
      startedAtMs: this.#startedAtMs,
      ledger: await this.#ledger.readFacts(),
      hubs: await this.#ledger.listHubs(principal.tenantId),
      streams: this.#sessions.streams,
      lanes: own.map((lane) => ({
        lane,
        fairnessWeight: this.#book.fairnessWeight(lane),
        stats: this.#lanes.stats(lane.laneId),
        headReadyAtMs: this.#lanes.head(lane.laneId)?.readyAtMs ?? null,
      })),
    };
  }

  sessions(principal: Principal, beforeId: string, limit: number): Promise<SessionView[]> {
    return this.#ledger.listSessions(principal.tenantId, beforeId, limit);
  }
}
