"""The end of the printed file. A template: what stands between the two marks is printed, with RUN replaced."""

from common import values


def RUN(function, items):
    return (function(item) for item in items)


# poolpick: begin
def task(item):
    """One task: put your own function here, at the top of a module where processes are to find it."""
    return item


def main():
    for value in values(RUN(task, range(100))):
        print(value)


if __name__ == "__main__":
    main()
# poolpick: end
