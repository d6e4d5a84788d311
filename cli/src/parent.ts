// What a hub, a worker or NATS servers tell the `holdfast start` or `fleet up` that runs them, over the IPC channel of child processes. Run by
// hand they have no parent and tell nobody.

export type ChildMessage =
  | { readonly type: "listening"; readonly grpcAddress: string; readonly httpAddress: string }
  | { readonly type: "attached"; readonly sessionId: string }
  | { readonly type: "nats"; readonly url: string };

export function tellParent(message: ChildMessage): void {
  if (process.connected === true) {
    process.send?.(message);
  }
}
