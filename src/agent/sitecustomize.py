"""Loads poolpick's agent, then gives way to the `sitecustomize` that this one hides.

Python runs this file because its directory stands in front of PYTHONPATH. Nothing of it may stay behind: the directory
leaves `sys.path` (children find it through the environment), and `sys.modules["sitecustomize"]` becomes the other
one. If there is no other, the import below raises just what Python would have met without us.
"""


def _start():
    import sys

    here = __file__.rpartition("/")[0]
    # The entry may be written in several ways (`dir`, `dir/`): Python has made it absolute, and so is `__file__`.
    entries = [entry for entry in sys.path if isinstance(entry, str) and entry.rstrip("/") == here]
    try:
        # Set by us, the interpreter's own choice is to be seen by nobody.
        import poolpick_agent

        sys.modules["_poolpick_agent"] = sys.modules.pop("poolpick_agent")
        poolpick_agent.start()
    except Exception:
        pass  # No agent: the sampler outside carries on alone.
    for entry in entries:
        try:
            sys.path.remove(entry)
        except ValueError:
            pass
        sys.path_importer_cache.pop(entry, None)
    if not entries:
        return False
    sys.modules.pop("sitecustomize", None)
    return True


if _start():
    # The import system hands out what stands in `sys.modules` after a module ran: the one that is imported here.
    import sitecustomize  # noqa: F401
