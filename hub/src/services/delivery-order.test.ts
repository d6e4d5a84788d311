import { describe, expect, it } from "vitest";
import { DeliveryOrder } from "./delivery-order.js";

describe("deliveries of one session", () => {
  it("leave in the order of their numbers, whatever order the ledger answers in (D6)", () => {
    const order = new DeliveryOrder();
    const sent: number[] = [];
    for (const delivery of [1, 2, 3]) order.begin(delivery);

    order.end(2, () => sent.push(2));
    order.end(3, () => sent.push(3));
    expect(sent).toEqual([]);
    expect(order.size).toBe(3);
    order.end(1, () => sent.push(1));

    expect(sent).toEqual([1, 2, 3]);
    expect(order.size).toBe(0);
  });

  it("are not held up by one that came to nothing", () => {
    const order = new DeliveryOrder();
    const sent: number[] = [];
    for (const delivery of [1, 2]) order.begin(delivery);

    order.end(1, () => undefined);
    order.end(2, () => sent.push(2));

    expect(sent).toEqual([2]);
  });
});
