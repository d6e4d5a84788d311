import { once } from "node:events";
import net from "node:net";

/** A wire between a client and a server that a test can cut, or clog: then nothing comes down it, yet it stays open. */
export interface PausableProxy {
  readonly address: string;
  /** What the hub sends is read no more: it piles up in the hub's sockets. The other direction goes on. */
  stopReading(): void;
  /** Ends every connection, and each new one at once, until it is mended. */
  cut(): void;
  mend(): void;
  close(): Promise<void>;
}

export async function pausableProxy(target: string): Promise<PausableProxy> {
  const [host = "", port = ""] = target.split(":");
  const sockets = new Set<net.Socket>();
  const downs: net.Socket[] = [];
  let isCut = false;
  const server = net.createServer((near) => {
    if (isCut) {
      near.destroy();
      return;
    }
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
    cut() {
      isCut = true;
      for (const socket of sockets) socket.destroy();
    },
    mend() {
      isCut = false;
    },
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}
