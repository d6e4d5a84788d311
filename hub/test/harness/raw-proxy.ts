import { once } from "node:events";
import net from "node:net";

/** A wire between a client and a hub that a test can clog: from then on nothing comes down it, yet it stays open. */
export interface PausableProxy {
  readonly address: string;
  /** What the hub sends is read no more: it piles up in the hub's sockets. The other direction goes on. */
  stopReading(): void;
  close(): Promise<void>;
}

export async function pausableProxy(target: string): Promise<PausableProxy> {
  const [host = "", port = ""] = target.split(":");
  const sockets = new Set<net.Socket>();
  const downs: net.Socket[] = [];
  const server = net.createServer((near) => {
    const far = net.connect(Number(port), host);
    downs.push(far);
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on("error", () => socket.destroy());
      socket.on("close", () => {
        sockets.delete(socket);
        (socket === near ? far : near).destroy();
      });
    }
    near.pipe(far);
    far.pipe(near);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port: own } = server.address() as net.AddressInfo;
  return {
    address: `127.0.0.1:${own}`,
    stopReading() {
      for (const far of downs) {
        far.unpipe();
        far.pause();
      }
    },
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}
