import { describe, expect, it } from "vitest";
import { RememberingOutbox } from "../../test/harness/sessions.js";
import { hearHeartbeat, nextNonce } from "./liveness.js";
import { streamLink } from "./worker-session.js";

const limitMs = 3_000;

function openLink() {
  return streamLink(new RememberingOutbox(), 0);
}

describe("a worker that echoes every nonce and acknowledges what it got", () => {
  it("is alive, for as long as it likes", () => {
    const link = openLink();
    let echo = 0n;
    for (let beat = 1; beat <= 1_000; beat += 1) {
      link.lastSent = beat;
      expect(hearHeartbeat(link, echo, beat - 1, beat * 1_000, limitMs)).toBe("alive");
      echo = nextNonce(link, beat * 1_000);
    }
    expect(link.openNonces.length).toBe(1);
    expect(link.heardAtMs).toBe(1_000_000);
  });

  it("has a whole heartbeat's time to acknowledge what was sent just before a nonce", () => {
    const link = openLink();
    link.lastSent = 5;
    const first = nextNonce(link, 0);

    expect(hearHeartbeat(link, first, 0, 1_000, limitMs)).toBe("alive");
    const second = nextNonce(link, 1_000);
    expect(hearHeartbeat(link, second, 5, 2_000, limitMs)).toBe("alive");
  });

  it("may echo the newest of several nonces", () => {
    const link = openLink();
    nextNonce(link, 0);
    nextNonce(link, 1_000);
    const newest = nextNonce(link, 2_000);

    expect(hearHeartbeat(link, newest, 0, 2_500, limitMs)).toBe("alive");
    expect(link.openNonces).toEqual([]);
  });
});

describe("a worker that sends heartbeats", () => {
  it("but does not read its stream is found deaf once the limit has passed", () => {
    const link = openLink();
    nextNonce(link, 1_000);

    expect(hearHeartbeat(link, 0n, 0, 4_000, limitMs)).toBe("alive");
    expect(hearHeartbeat(link, 0n, 0, 4_001, limitMs)).toBe("deaf");
  });

  it("but stops reading later is found deaf as well", () => {
    const link = openLink();
    const read = nextNonce(link, 1_000);
    expect(hearHeartbeat(link, read, 0, 2_000, limitMs)).toBe("alive");
    nextNonce(link, 2_000);

    expect(hearHeartbeat(link, read, 0, 5_000, limitMs)).toBe("alive");
    expect(hearHeartbeat(link, read, 0, 5_001, limitMs)).toBe("deaf");
  });

  it("and reads, but does not acknowledge deliveries, is found at the echo after the next", () => {
    const link = openLink();
    link.lastSent = 3;
    const first = nextNonce(link, 0);
    expect(hearHeartbeat(link, first, 2, 1_000, limitMs)).toBe("alive");
    const second = nextNonce(link, 1_000);

    expect(hearHeartbeat(link, second, 2, 2_000, limitMs)).toBe("unacknowledged");
  });

  it("without a new echo is not blamed for deliveries that it may not have read", () => {
    const link = openLink();
    link.lastSent = 3;
    const first = nextNonce(link, 0);
    hearHeartbeat(link, first, 0, 1_000, limitMs);
    nextNonce(link, 1_000);

    expect(hearHeartbeat(link, first, 0, 2_000, limitMs)).toBe("alive");
  });
});
