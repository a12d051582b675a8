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
    # The agent is compiled once, whatever the target's settings say about the target's own files: into this directory,
    # which is poolpick's. Compiled anew in each process it would cost thirty times what it costs so.
    if sys.version_info >= (3, 8):  # An older one could not even read the agent.
        settings = sys.dont_write_bytecode, sys.pycache_prefix
        sys.dont_write_bytecode, sys.pycache_prefix = False, None
        try:
            import poolpick_agent

            sys.modules["_poolpick_agent"] = sys.modules.pop("poolpick_agent")
        except Exception:
            entries_only = True  # No agent: the sampler outside carries on alone.
        else:
            entries_only = False
        sys.dont_write_bytecode, sys.pycache_prefix = settings
        if not entries_only:
            try:
                poolpick_agent.start()
            except Exception:
                pass
        del settings
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
