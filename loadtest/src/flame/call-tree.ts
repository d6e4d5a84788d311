// What a CPU profile of V8 says, as a tree of calls with their time: pure, so that it can be tested without a profile.

/** The part of a .cpuprofile file that is used here (Chrome DevTools Protocol, Profiler.Profile). */
export interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: {
      readonly functionName: string;
      readonly url: string;
      /** From 0. */
      readonly lineNumber: number;
    };
    readonly children?: readonly number[];
  }[];
  /** Node of each sample. */
  readonly samples: readonly number[];
  /** Microseconds from the sample before. */
  readonly timeDeltas: readonly number[];
}

export interface Call {
  readonly name: string;
  /** File and line, for people; empty for what is not in a file. */
  readonly place: string;
  readonly selfUs: number;
  /** With everything that it called. */
  readonly totalUs: number;
  /** By total, the largest first. */
  readonly callees: readonly Call[];
}

/** Frames in which the thread waits for work. */
const idle = new Set(["(idle)"]);

/** All time that was not idle, by who called whom. Calls of one function from one place are one. */
export function callTree(profile: CpuProfile): Call {
  const selfUs = new Map<number, number>();
  profile.samples.forEach((id, at) => {
    // The time until the next sample is this one's.
    selfUs.set(id, (selfUs.get(id) ?? 0) + Math.max(0, profile.timeDeltas[at + 1] ?? 0));
  });
  const nodes = new Map(profile.nodes.map((node) => [node.id, node]));
  const merge = (ids: readonly number[]): Call[] => {
    const alike = new Map<string, number[]>();
    for (const id of ids) {
      const node = nodes.get(id);
      if (!node || idle.has(node.callFrame.functionName)) continue;
      const key = `${nameOf(node.callFrame)}\n${placeOf(node.callFrame)}`;
      alike.set(key, [...(alike.get(key) ?? []), id]);
    }
    return [...alike.entries()]
      .map(([key, same]) => {
        const [name, place] = key.split("\n") as [string, string];
        const callees = merge(same.flatMap((id) => nodes.get(id)?.children ?? []));
        return callOf(
          name,
          place,
          same.reduce((sum, id) => sum + (selfUs.get(id) ?? 0), 0),
          callees,
        );
      })
      .filter(({ totalUs }) => totalUs > 0)
      .toSorted((a, b) => b.totalUs - a.totalUs);
  };
  const root = profile.nodes[0];
  return callOf("all", "", 0, root ? merge(root.children ?? []) : []);
}

function callOf(name: string, place: string, selfUs: number, callees: readonly Call[]): Call {
  return { name, place, selfUs, totalUs: callees.reduce((sum, call) => sum + call.totalUs, selfUs), callees };
}

type Frame = CpuProfile["nodes"][number]["callFrame"];

function nameOf({ functionName }: Frame): string {
  return functionName === "" ? "(anonymous)" : functionName;
}

/** The last folders of the path tell packages apart, and leave out where this machine keeps them. */
function placeOf({ url, lineNumber }: Frame): string {
  if (url === "") return "";
  const path = url.startsWith("node:") ? url : url.split("/").slice(-4).join("/");
  return `${path}:${lineNumber + 1}`;
}

/** Functions by the time spent in themselves, wherever they were called from. */
export function hottest(
  root: Call,
  count: number,
): readonly { readonly call: string; readonly selfUs: number }[] {
  const selfUs = new Map<string, number>();
  const walk = (call: Call) => {
    const key = call.place === "" ? call.name : `${call.name} ${call.place}`;
    selfUs.set(key, (selfUs.get(key) ?? 0) + call.selfUs);
    for (const callee of call.callees) walk(callee);
  };
  walk(root);
  return [...selfUs.entries()]
    .map(([call, self]) => ({ call, selfUs: self }))
    .toSorted((a, b) => b.selfUs - a.selfUs)
    .slice(0, count);
}
