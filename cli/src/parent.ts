// What a hub or worker tells the `holdfast start` that runs it, over the IPC channel of child processes. Run by
// hand they have no parent and tell nobody.

export type ChildMessage =
  | { readonly type: "listening"; readonly grpcAddress: string; readonly httpAddress: string }
  | { readonly type: "attached"; readonly sessionId: string };

export function tellParent(message: ChildMessage): void {
  if (process.connected === true) {
    process.send?.(message);
  }
}
