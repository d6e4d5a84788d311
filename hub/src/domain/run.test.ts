import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { canChange, isTerminal, JobState } from "./job-state.js";
import { advanceRun, type Run, type RunAct, type RunNode, RunPolicy, reopenNode, waitsFor } from "./run.js";

const parentId = "parent";

interface Shape {
  readonly policy: RunPolicy;
  /** Of each child, the earlier ones that it waits for. */
  readonly edges: readonly (readonly (readonly [place: number, isHard: boolean])[])[];
  /** What each child does when it runs, and in which order those that may run do. */
  readonly fates: readonly { readonly ends: JobState; readonly turn: number }[];
}

const ends = fc.constantFrom<JobState>(
  JobState.Succeeded,
  JobState.Succeeded,
  JobState.Dead,
  JobState.Cancelled,
);
const shape: fc.Arbitrary<Shape> = fc.integer({ min: 1, max: 12 }).chain((size) =>
  fc.record({
    policy: fc.constantFrom(...Object.values(RunPolicy)),
    edges: fc.tuple(
      ...Array.from({ length: size }, (_, at) =>
        fc.uniqueArray(fc.tuple(fc.nat(Math.max(at - 1, 0)), fc.boolean()), {
          maxLength: at,
          selector: ([place]) => place,
        }),
      ),
    ),
    fates: fc.array(fc.record({ ends, turn: fc.nat() }), { minLength: size, maxLength: size }),
  }),
);

const idOf = (place: number) => `child ${place}`;

function begin({ policy, edges }: Shape): Run {
  const children = edges.map((targets, at): RunNode => {
    const dependsOn = targets.map(([place, isHard]) => ({ jobId: idOf(place), isHard }));
    const state = dependsOn.length > 0 ? JobState.Blocked : JobState.Ready;
    return { jobId: idOf(at), isChild: true, dependsOn, state, endedAs: null };
  });
  const parent: RunNode = {
    jobId: parentId,
    isChild: false,
    dependsOn: [],
    state: JobState.Blocked,
    endedAs: null,
  };
  const nodes = new Map([parent, ...children].map((node) => [node.jobId, node]));
  return { runId: parentId, policy, isStopping: false, nodes };
}

const stateAfter: Readonly<Record<RunAct, JobState>> = {
  release: JobState.Ready,
  fail: JobState.Dead,
  cancel: JobState.Cancelled,
  ask_to_stop: JobState.Leased,
};

function withState(run: Run, jobId: string, state: JobState): Run {
  const node = run.nodes.get(jobId) as RunNode;
  if (node.state !== state) expect(canChange(node.state, state)).toBe(true);
  return { ...run, nodes: new Map(run.nodes).set(jobId, { ...node, state }) };
}

/** Counts ends until nothing follows any more. */
function settle(run: Run): Run {
  for (let now = run; ; ) {
    const { acts, run: counted } = advanceRun(now);
    now = counted;
    for (const [jobId, act] of acts) now = withState(now, jobId, stateAfter[act]);
    if (![...now.nodes.values()].some((node) => isTerminal(node.state) && node.endedAs === null)) return now;
  }
}

/** Lives a run to its end, one job after the other; calls back before each start. */
function live({ fates, ...rest }: Shape, onStart: (run: Run, node: RunNode) => void = () => undefined): Run {
  let run = settle(begin({ fates, ...rest }));
  for (;;) {
    const ready = [...run.nodes.values()].filter((node) => node.state === JobState.Ready);
    if (ready.length === 0) return run;
    const fateOf = (node: RunNode) => fates[Number(node.jobId.slice("child ".length))];
    const node = ready.sort((a, b) => (fateOf(a)?.turn ?? 0) - (fateOf(b)?.turn ?? 0))[0] as RunNode;
    onStart(run, node);
    run = withState(run, node.jobId, JobState.Leased);
    run = settle(withState(run, node.jobId, fateOf(node)?.ends ?? JobState.Succeeded));
  }
}

describe("a run", () => {
  it("starts no job before its hard dependencies succeeded and its soft ones ended", () => {
    fc.assert(
      fc.property(shape, (given) => {
        live(given, (run, node) => {
          for (const { jobId, isHard } of node.dependsOn) {
            const state = run.nodes.get(jobId)?.state as JobState;
            expect(isHard ? state === JobState.Succeeded : isTerminal(state)).toBe(true);
          }
        });
      }),
    );
  });

  it("ends with exactly one outcome per job, counted as it ended", () => {
    fc.assert(
      fc.property(shape, (given) => {
        for (const node of live(given).nodes.values()) {
          expect(isTerminal(node.state)).toBe(true);
          expect(node.endedAs).toBe(node.state);
        }
      }),
    );
  });

  it("starts its parent once all children ended, and fails it instead if one did and its policy says so", () => {
    fc.assert(
      fc.property(shape, (given) => {
        let hasStarted = false;
        const run = live(given, (at, node) => {
          if (node.jobId !== parentId) return;
          hasStarted = true;
          for (const other of at.nodes.values()) expect(!other.isChild || isTerminal(other.state)).toBe(true);
        });
        const hasFailure = [...run.nodes.values()].some(
          (node) => node.isChild && node.endedAs !== JobState.Succeeded,
        );
        expect(hasStarted).toBe(given.policy === RunPolicy.Continue || !hasFailure);
      }),
    );
  });

  it("that fails fast starts nothing after the first failure", () => {
    fc.assert(
      fc.property(shape, (given) => {
        live({ ...given, policy: RunPolicy.FailFast }, (run) => {
          for (const node of run.nodes.values())
            expect(!isTerminal(node.state) || node.state === JobState.Succeeded).toBe(true);
        });
      }),
    );
  });

  it("that waits for all or continues starts every child that its dependencies allow", () => {
    fc.assert(
      fc.property(shape, fc.constantFrom(RunPolicy.WaitForAll, RunPolicy.Continue), (given, policy) => {
        const started = new Set<string>();
        const run = live({ ...given, policy }, (_, node) => started.add(node.jobId));
        for (const node of run.nodes.values()) {
          if (!node.isChild) continue;
          const isDoomed = node.dependsOn.some(
            ({ jobId, isHard }) => isHard && run.nodes.get(jobId)?.endedAs !== JobState.Succeeded,
          );
          expect(started.has(node.jobId)).toBe(!isDoomed);
        }
      }),
    );
  });

  it("asks running children to stop and waits for them before it fails", () => {
    const edges = [[], [], []];
    const fates = edges.map(() => ({ ends: JobState.Succeeded, turn: 0 }));
    let run = begin({ policy: RunPolicy.FailFast, edges, fates });
    run = withState(run, idOf(0), JobState.Leased);
    run = withState(withState(run, idOf(1), JobState.Leased), idOf(1), JobState.Dead);

    const { acts, run: counted } = advanceRun(run);

    expect(Object.fromEntries(acts)).toEqual({ [idOf(0)]: "ask_to_stop", [idOf(2)]: "cancel" });
    expect(waitsFor(counted, counted.nodes.get(parentId) as RunNode)).toBe(1);
  });

  it("waits again for a dead letter that is sent back, and lets who was sent back behind it run on", () => {
    const child = (at: number, dependsOn: RunNode["dependsOn"], state: JobState): RunNode => ({
      jobId: idOf(at),
      isChild: true,
      dependsOn,
      state,
      endedAs: isTerminal(state) ? state : null,
    });
    const dead = child(0, [], JobState.Dead);
    const nodes = [
      dead,
      child(1, [{ jobId: dead.jobId, isHard: true }], JobState.Leased),
      child(2, [{ jobId: dead.jobId, isHard: false }], JobState.Blocked),
    ];
    const run = {
      runId: parentId,
      policy: RunPolicy.Continue,
      isStopping: false,
      nodes: new Map(nodes.map((node) => [node.jobId, node])),
    };

    const open = reopenNode(run, dead.jobId);
    expect(nodes.map((node) => waitsFor(open, node))).toEqual([0, 1, 1]);
    const { acts } = advanceRun(
      withState(withState(open, dead.jobId, JobState.Leased), dead.jobId, JobState.Dead),
    );

    expect([...acts]).toEqual([[idOf(2), "release"]]);
  });
});
