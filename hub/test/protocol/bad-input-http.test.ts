// Requests that are hardly HTTP: each ends its own connection or stream, and never the hub.
import http2 from "node:http2";
import net from "node:net";
import { JobService } from "@holdfast/gen/holdfast/v1/job_service_pb";
import { expect, test } from "vitest";
import { splitAddress } from "../../src/domain/address.js";
import { callHttp } from "../harness/raw-http.js";
import { useHub } from "../harness/raw-hub.js";

const house = useHub();

/** What the hub answers to these bytes until it, or we after the first answer, hang up. */
function exchange(bytes: string): Promise<string> {
  const socket = net.connect(splitAddress(house.hub().httpAddress));
  let answer = "";
  socket.on("data", (chunk) => {
    answer += chunk;
    socket.end();
  });
  socket.on("error", () => undefined);
  socket.write(bytes);
  return new Promise((resolve) => socket.on("close", () => resolve(answer)));
}

async function expectHubAlive(): Promise<void> {
  expect(await callHttp(house.hub().httpAddress, JobService.method.list, {})).toHaveProperty("body");
}

const call = "POST /holdfast.v1.JobService/Get HTTP";
const emptyJson = "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";

test.each([
  ["a path that is no path", "GET // HTTP/1.1\r\nHost: hub\r\n\r\n", 404],
  ["a URL that is no URL", "GET http://%%/ HTTP/1.1\r\nHost: hub\r\n\r\n", 404],
  ["no path at all", "OPTIONS * HTTP/1.1\r\nHost: hub\r\n\r\n", 404],
  ["a call to a host that is none", `${call}/1.1\r\nHost: [\r\n${emptyJson}`, 400],
  ["a call to no host", `${call}/1.0\r\n${emptyJson}`, 400],
  ["no HTTP", "\x01\x02\x03\r\n\r\n", 400],
])("%s is answered, and the hub lives", async (_, bytes, status) => {
  expect(await exchange(bytes)).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
  await expectHubAlive();
});

test.each(["/readyz", "/metrics", "/holdfast.v1.JobService/Get"])(
  "a stream for %s that is reset at once ends alone",
  async (path) => {
    const session = http2.connect(`http://${house.hub().httpAddress}`);
    const ended = Array.from({ length: 20 }, () => {
      const stream = session.request({
        ":path": path,
        ":method": "POST",
        "content-type": "application/json",
      });
      stream.on("error", () => undefined);
      stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR);
      return new Promise((resolve) => stream.on("close", resolve));
    });
    await Promise.all(ended);
    session.close();

    await expectHubAlive();
  },
);
