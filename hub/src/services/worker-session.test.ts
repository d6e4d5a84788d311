import { expect, it } from "vitest";
import { leaseOn, liveSession } from "../../test/harness/sessions.js";

it("keeps the record of its newest delivery, by which another hub knows how far its numbers have come", () => {
  const { session } = liveSession(1, { jobs: 1 });
  session.hold(leaseOn("J", 3));
  session.hold(leaseOn("K", 5));
  session.letGo("K", 5n);
  session.letGo("J", 3n);
  expect(session.takeSettledDeliveries()).toEqual([3]);

  session.hold(leaseOn("L", 6));
  expect(session.takeSettledDeliveries()).toEqual([5]);
});

it("takes over which deliveries the ledger has a record of, and keeps the newest", () => {
  const { session } = liveSession(1, { jobs: 1 });
  session.hold(leaseOn("J", 3));
  session.recordedDeliveries([2, 3, 4, 7]);
  expect(session.takeSettledDeliveries()).toEqual([2, 4]);

  session.hold(leaseOn("K", 8));
  session.letGo("J", 3n);
  expect(session.takeSettledDeliveries()).toEqual([7, 3]);
});

it("counts a job that is leased to it again where it is now", () => {
  const { session } = liveSession(1, { jobs: 1 });
  session.hold(leaseOn("J", 3));
  session.hold(leaseOn("J", 9));
  session.hold(leaseOn("L", 9));
  session.letGo("J", 9n);
  session.hold(leaseOn("M", 10));

  expect(session.takeSettledDeliveries()).toEqual([3]);
  session.letGo("L", 9n);
  expect(session.takeSettledDeliveries()).toEqual([9]);
});
