import {
  createJetstreamLanes,
  defaultJetstreamLanesSettings,
  type JetstreamLanesSettings,
  type LaneTraffic,
} from "../../src/lanes/jetstream-lanes.js";
import type { Lanes } from "../../src/lanes/lanes.js";
import { defaultNatsLinkSettings, type NatsLink, startNatsLink } from "../../src/nats/nats-link.js";

/** One hub's lanes on a link of their own, opened. */
export interface SharedLanes {
  readonly lanes: Lanes;
  readonly link: NatsLink;
  readonly lines: readonly string[];
  /** Refs that went each way. */
  readonly moved: Map<LaneTraffic, number>;
  close(): Promise<void>;
}

export async function openSharedLanes(
  url: string,
  settings: Partial<JetstreamLanesSettings> & { readonly prefix: string },
  hear: (line: string) => void = () => undefined,
): Promise<SharedLanes> {
  const lines: string[] = [];
  const moved = new Map<LaneTraffic, number>();
  let said: (line: string) => void = () => undefined;
  const isOpen = new Promise<void>((resolve) => {
    said = (line) => {
      lines.push(line);
      hear(line);
      if (line.startsWith("lanes are shared")) resolve();
    };
  });
  const link = await startNatsLink({ ...defaultNatsLinkSettings, url, name: "test" }, (line) => said(line));
  const lanes = createJetstreamLanes(
    link,
    { ...defaultJetstreamLanesSettings, ...settings },
    {
      moved: (traffic, refs) => void moved.set(traffic, (moved.get(traffic) ?? 0) + refs),
      streamLost: () => undefined,
    },
    (line) => said(line),
  );
  await isOpen;
  return {
    lanes,
    link,
    lines,
    moved,
    close: async () => {
      await lanes.stop();
      await link.close();
    },
  };
}
