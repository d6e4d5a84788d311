import { randomUUID } from "node:crypto";
import { afterEach, describe, expect, it, vi } from "vitest";
import { defaultNatsLinkSettings, type NatsLink, startNatsLink } from "../../src/nats/nats-link.js";
import type { NatsServer } from "../../src/nats/nats-server.js";
import { useNats } from "../harness/nats.js";

const nats = useNats();
const links: NatsLink[] = [];
const lines: string[] = [];

afterEach(async () => {
  await Promise.all(links.splice(0).map((link) => link.close()));
  await server().start();
  lines.length = 0;
});

function server(): NatsServer {
  return nats.servers()[0] as NatsServer;
}

async function open(
  more: Partial<typeof defaultNatsLinkSettings> & { url?: string } = {},
): Promise<NatsLink> {
  const link = await startNatsLink(
    { ...defaultNatsLinkSettings, url: nats.url(), name: "test", ...more },
    (line) => lines.push(line),
  );
  links.push(link);
  return link;
}

const until = (condition: () => void) => vi.waitFor(condition, { timeout: 30_000, interval: 20 });
const untilIs = (link: NatsLink, status: string) => until(() => expect(link.state.status).toBe(status));

/** Sends until it is heard: a subscription is in place a little after it was asked for. */
async function untilHeard(sender: NatsLink, subject: string, heard: string[]): Promise<void> {
  const text = randomUUID();
  await until(() => {
    sender.publish(subject, text);
    expect(heard).toContain(text);
  });
}

describe("the link to NATS", () => {
  it("is up when it is handed out, and carries messages to others, not to itself", async () => {
    const [one, two] = [await open(), await open()];
    const [heardByOne, heardByTwo]: string[][] = [[], []];
    one.subscribe("hello", (message) => heardByOne?.push(message.string()));
    two.subscribe("hello", (message) => heardByTwo?.push(message.string()));

    await untilHeard(one, "hello", heardByTwo as string[]);

    expect(one.state.status).toBe("up");
    expect(heardByOne).toEqual([]);
  });

  it("goes on without a NATS that is away at the start, says so, and comes up when it is there (D9)", async () => {
    await server().kill();

    const link = await open({ firstWaitMs: 50 });

    expect(link.state.status).toBe("connecting");
    expect(link.publish("hello", "nobody")).toBe(false);
    expect(lines.join("\n")).toMatch(/NATS did not answer within 50 ms/);
    await server().start();
    await untilIs(link, "up");
  });

  it("tells its listeners of each loss and return, and listens again on the same subjects", async () => {
    const [link, other] = [await open(), await open()];
    const seen: string[] = [];
    const heard: string[] = [];
    link.onUp(() => seen.push("up"));
    link.onDown(() => seen.push("down"));
    link.subscribe("hello", (message) => heard.push(message.string()));

    await server().kill();
    await untilIs(link, "down");
    await server().start({ isWiped: true });
    await untilIs(link, "up");
    await untilIs(other, "up");

    await untilHeard(other, "hello", heard);
    expect(seen).toEqual(["up", "down", "up"]);
  });

  it("drops what is published while NATS is away, and says so to the caller", async () => {
    const [link, other] = [await open(), await open()];
    const heard: string[] = [];
    other.subscribe("hello", (message) => heard.push(message.string()));
    await untilHeard(link, "hello", heard);
    heard.length = 0;
    await server().kill();
    await untilIs(link, "down");

    const taken = Array.from({ length: 1_000 }, () => link.publish("hello", "lost"));

    expect(taken).not.toContain(true);
    await server().start();
    await untilIs(link, "up");
    await untilIs(other, "up");
    await untilHeard(link, "hello", heard);
    expect(heard).not.toContain("lost");
  });

  it("buffers no more than its bound for a server that reads nothing, and notices it by its silence", async () => {
    const link = await open({ pingIntervalMs: 500, unconfirmedBytesMax: 100_000 });
    process.kill(server().pid as number, "SIGSTOP");
    try {
      const taken = Array.from({ length: 100 }, () => link.publish("hello", "x".repeat(10_000)));
      await untilIs(link, "down");

      expect(taken.filter((one) => one)).toHaveLength(9);
    } finally {
      process.kill(server().pid as number, "SIGCONT");
    }
    await untilIs(link, "up");
    expect(link.publish("hello", "x".repeat(10_000))).toBe(true);
  });

  it("refuses a message that is larger than the server takes, and stays up", async () => {
    const link = await open();

    expect(link.publish("hello", "x".repeat(2_000_000))).toBe(false);
    expect(link.state.status).toBe("up");
  });

  it("ends while it is still trying, and can be closed twice", async () => {
    const link = await open({ url: "nats://127.0.0.1:1", firstWaitMs: 10 });

    await link.close();
    await link.close();

    expect(link.state.status).toBe("closed");
    expect(link.publish("hello", "nobody")).toBe(false);
  });

  it("ends while it is reconnecting", async () => {
    const link = await open();
    await server().kill();
    await untilIs(link, "down");

    await link.close();

    expect(link.state.status).toBe("closed");
  });
});
