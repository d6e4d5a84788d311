import type { Port } from "./port.js";

/** Two ends of a boundary within one thread; what one posts the other receives, in order, in a later microtask. */
export function inProcessPorts<A, B>(): [Port<A, B>, Port<B, A>] {
  const aToB = channel<A>();
  const bToA = channel<B>();
  return [
    { post: aToB.post, onMessage: bToA.onMessage },
    { post: bToA.post, onMessage: aToB.onMessage },
  ];
}

/** Waiting messages are bounded by what the two sides allow each other to have under way. */
function channel<Message>() {
  let waiting: Message[] = [];
  let receive: ((message: Message) => void) | undefined;
  let isDue = false;

  const deliver = () => {
    isDue = false;
    if (receive === undefined) return;
    const messages = waiting;
    waiting = [];
    for (const message of messages) receive(message);
  };
  const schedule = () => {
    if (isDue) return;
    isDue = true;
    queueMicrotask(deliver);
  };

  return {
    post(message: Message): void {
      waiting.push(message);
      schedule();
    },
    onMessage(receiver: (message: Message) => void): void {
      receive = receiver;
      schedule();
    },
  };
}
