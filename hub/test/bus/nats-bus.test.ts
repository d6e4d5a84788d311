import { afterEach, vi } from "vitest";
import { createNatsBus } from "../../src/bus/nats-bus.js";
import { defaultNatsLinkSettings, type NatsLink, startNatsLink } from "../../src/nats/nats-link.js";
import { useNats } from "../harness/nats.js";
import { pausableProxy } from "../harness/raw-proxy.js";
import { describeBus } from "./conformance.js";

const nats = useNats();
const links: { link: NatsLink; close: () => Promise<void> }[] = [];

afterEach(async () => {
  for (const { close } of links.splice(0)) await close();
});

describeBus("NATS", async (observer) => {
  const proxy = await pausableProxy(new URL(nats.url()).host);
  const link = await startNatsLink(
    { ...defaultNatsLinkSettings, url: `nats://${proxy.address}`, name: "test" },
    () => undefined,
  );
  links.push({ link, close: () => link.close().then(() => proxy.close()) });
  const untilIs = (status: string) =>
    vi.waitFor(
      () => {
        if (link.state.status !== status) throw new Error(`the link is ${link.state.status}`);
      },
      { timeout: 30_000, interval: 10 },
    );
  return {
    bus: createNatsBus(link, "test", observer),
    cut: async () => {
      proxy.cut();
      await untilIs("down");
    },
    mend: async () => {
      proxy.mend();
      await untilIs("up");
    },
  };
});
