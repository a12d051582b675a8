"""Adaptive sizing, as an option. A template: what stands between the two marks is printed as it is."""

# poolpick: begin
import time


class Size:
    """Optional: finds the number of tasks at once by itself, between `least` and `most`. Give it to `in_threads` as `size`.

    Every `period` seconds it compares the throughput with that of the size before. It goes on in one direction while that
    pays by more than `margin`; else it turns back and rests for `rest` periods, so that noise does not make it swing.
    """

    def __init__(self, least, most, period=2.0, margin=0.05, rest=5, clock=time.monotonic):
        self.room, self.least, self.most = least, least, most
        self.period, self.margin, self.rest, self.clock = period, margin, rest, clock
        self.count, self.since, self.before, self.step, self.resting = 0, clock(), 0.0, 1, 0

    def ended(self):
        """One more task has ended."""
        self.count += 1
        spent = self.clock() - self.since
        if spent < self.period:
            return
        rate = self.count / spent
        self.count, self.since = 0, self.clock()
        if self.resting:
            self.resting -= 1
            self.before = rate
            return
        if rate <= self.before * (1 + self.margin):
            self.step, self.resting = -self.step, self.rest
        self.before = rate
        self.room = min(self.most, max(self.least, self.room + self.step * max(1, self.room // 4)))
# poolpick: end
