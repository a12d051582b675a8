"""The end of the printed file, for coroutines. A template: what stands between the two marks is printed, with RUN replaced."""

from loop import drain, in_loop


def RUN(function, items):
    return in_loop(function, items, workers=1)


# poolpick: begin
import asyncio


async def coroutine(item):
    """One task: put your own coroutine here."""
    return item


def main():
    asyncio.run(drain(RUN(coroutine, range(100)), print))


if __name__ == "__main__":
    main()
# poolpick: end
