import type { Bus, BusObserver } from "./bus.js";
import { BusEnd } from "./bus-end.js";

/** A bus within one process: the only hub's, with nobody else on it, or that of several in one test. */
export interface MemoryExchange {
  join(observer: BusObserver): MemoryBus;
}

export interface MemoryBus extends Bus {
  /** From now on nothing reaches this hub, or leaves it. */
  cut(): void;
  mend(): void;
}

/** Text that is on its way to one hub. */
const queuedMax = 10_000;

interface Member {
  readonly end: BusEnd;
  isCut: boolean;
  queued: number;
}

export function createMemoryExchange(): MemoryExchange {
  const members = new Set<Member>();

  /** Later, as over a network; a hub that is not listening then has missed it. */
  function deliver(text: string, to: Member): void {
    if (to.isCut || to.queued >= queuedMax) return;
    to.queued += 1;
    setImmediate(() => {
      to.queued -= 1;
      if (members.has(to) && !to.isCut) to.end.hear(text);
    });
  }

  return {
    join(observer) {
      const end = new BusEnd(observer);
      const member: Member = { end, isCut: false, queued: 0 };
      members.add(member);
      return {
        ...end.listening,
        publish: (message) =>
          end.publish(message, (text) => {
            if (member.isCut || !members.has(member)) return false;
            for (const other of members) if (other !== member) deliver(text, other);
            return true;
          }),
        cut: () => {
          member.isCut = true;
        },
        mend: () => {
          member.isCut = false;
          setImmediate(() => end.resumed());
        },
        close: async () => void members.delete(member),
      };
    },
  };
}
