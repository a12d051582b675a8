"""A pool that is interrupted: prints what it took from its source and what came back, one line each. Run by
check_pools.py in a process group of its own, with the shape as its argument; `pools` is the printed file."""

import asyncio
import sys
import time

import pools


PAUSE = 6 if "long" in sys.argv else 0.15


def slow(item):
    time.sleep(PAUSE)
    return item


async def slowly(item):
    await asyncio.sleep(PAUSE)
    return item


def source():
    for item in range(10_000):
        print("took", item, flush=True)
        yield item


def tell(outcome):
    how = "value" if outcome.error is None else type(outcome.error).__name__
    print("back", outcome.item, how, flush=True)


async def loop():
    async for outcome in pools.in_loop(slowly, source(), workers=4):
        tell(outcome)


def main(shape):
    if shape == "loop":
        asyncio.run(loop())
    elif shape == "serial":
        for outcome in pools.in_turn(slow, source()):
            tell(outcome)
    else:
        run = pools.in_threads if shape == "threads" else pools.in_processes
        for outcome in run(slow, source(), workers=3, waiting=3):
            tell(outcome)


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except KeyboardInterrupt:
        print("interrupted", flush=True)
