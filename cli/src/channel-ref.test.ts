import { create } from "@bufbuild/protobuf";
import { ChannelRefSchema } from "@holdfast/gen/holdfast/v1/signal_service_pb";
import { expect, test } from "vitest";
import { channelText, parseChannel } from "./channel-ref.js";

test.each([
  "line-3/heat",
  "job:0198c7f0-0000-7000-8000-000000000000/steps",
  "run:0198c7f0-0000-7000-8000-000000000000/steps",
])("%s is read as it is written", (text) => {
  expect(channelText(create(ChannelRefSchema, parseChannel(text)))).toBe(text);
});

test("a name alone is one of the default owner", () => {
  expect(parseChannel("heat")).toEqual({ name: "heat" });
});

test.each(["", "/", "a/", "/a", "a/b/c"])('"%s" names no channel', (text) => {
  expect(() => parseChannel(text)).toThrow("does not name a channel");
});
