import { describe, expect, it } from "vitest";
import { GateRooms } from "./gate-rooms.js";

const seats = 7;

function fullSeats(): GateRooms {
  const rooms = new GateRooms();
  rooms.watch([seats]);
  rooms.beginLook();
  rooms.found(seats, 0);
  return rooms;
}

describe("seats that stopped a critical job", () => {
  it("have no room for others when that job comes back, until somebody has looked", () => {
    const rooms = fullSeats();
    expect(rooms.leastAtSeats([seats])).toBe(1);
    rooms.take([seats], 1);
    rooms.stopped(seats);
    rooms.take([seats], -1);

    expect([rooms.leastOf([seats]), rooms.leastAtSeats([seats])]).toEqual([0, 0]);

    rooms.beginLook();
    rooms.found(seats, 1);
    expect(rooms.leastOf([seats])).toBe(1);
  });
});

describe("room that was taken", () => {
  it("is there again for what did not start", () => {
    const rooms = fullSeats();
    rooms.beginLook();
    rooms.found(seats, 2);
    rooms.take([seats], 2);
    expect(rooms.leastOf([seats])).toBe(0);
    rooms.take([seats], -1);
    expect(rooms.leastOf([seats])).toBe(1);
  });
});
