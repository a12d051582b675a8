"""Marks for poolpick: names a region of a program as a stage.

    import poolpick

    with poolpick.stage("parse"):
        ...

    @poolpick.stage("score")
    def score(row): ...

Under `poolpick profile` each pass through the region is a task of the stage. Elsewhere nothing happens: no thread, no
file, about a microsecond. `async with` and coroutine functions work the same; what a region awaits is
part of it.
"""

import sys

__all__ = ["stage", "active"]
__version__ = "0.1.0"


def active() -> bool:
    """Whether this process is being profiled."""
    return "_poolpick_agent" in sys.modules


class stage:
    """A named region: a context manager, plain and asynchronous, and a decorator. One object may be used again, nested
    and from several threads or tasks at once as a decorator; as a context manager, make one for each use."""

    __slots__ = ("name", "_open")

    def __init__(self, name: str) -> None:
        self.name = str(name)
        self._open = []

    def __enter__(self):
        agent = sys.modules.get("_poolpick_agent")
        self._open.append((agent, agent.mark_begin(self.name) if agent is not None else None))
        return self

    def __exit__(self, kind, error, trace):
        agent, token = self._open.pop()
        if token is not None:
            agent.mark_end(token, kind is not None)
        return False

    async def __aenter__(self):
        return self.__enter__()

    async def __aexit__(self, kind, error, trace):
        return self.__exit__(kind, error, trace)

    def __call__(self, function):
        import functools
        import inspect

        name = self.name
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def marked(*args, **kwargs):
                with stage(name):
                    return await function(*args, **kwargs)

        elif inspect.isgeneratorfunction(function):

            @functools.wraps(function)
            def marked(*args, **kwargs):
                with stage(name):
                    return (yield from function(*args, **kwargs))

        elif inspect.isasyncgenfunction(function):
            raise TypeError("an asynchronous generator cannot be marked: put `with poolpick.stage(...)` inside it")
        else:

            @functools.wraps(function)
            def marked(*args, **kwargs):
                with stage(name):
                    return function(*args, **kwargs)

        return marked
