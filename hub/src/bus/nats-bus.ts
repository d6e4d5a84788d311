import type { NatsLink } from "../nats/nats-link.js";
import type { Bus, BusObserver } from "./bus.js";
import { BusEnd } from "./bus-end.js";

/** The bus of a fleet: one subject of NATS core, which keeps nothing and hands everything to whoever listens. */
export function createNatsBus(link: NatsLink, prefix: string, observer: BusObserver): Bus {
  const subject = `${prefix}.bus`;
  const end = new BusEnd(observer);
  const unsubscribe = link.subscribe(subject, (message) => end.hear(message.string()));
  let isFirst = link.state.status === "up";
  const forget = link.onUp((connection) => {
    const isNew = isFirst;
    isFirst = false;
    if (isNew) return;
    // What is published before the server has the subscription is lost: only then it is time to look.
    connection.flush().then(
      () => end.resumed(),
      () => undefined,
    );
  });
  return {
    ...end.listening,
    publish: (message) => end.publish(message, (text) => link.publish(subject, text)),
    close: async () => {
      forget();
      unsubscribe();
    },
  };
}
