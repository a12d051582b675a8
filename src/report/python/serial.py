"""No pool at all, with the same outcomes. A template: what stands between the two marks is printed as it is."""

from common import Outcome, interruptible, stop

# poolpick: begin
def in_turn(function, items):
    """Yields an Outcome for each item, one after another."""
    with interruptible():
        for item in items:
            try:
                outcome = Outcome(item, function(item))
            except Exception as error:
                outcome = Outcome(item, error=error)
            yield outcome
            if stop.is_set():
                raise KeyboardInterrupt
# poolpick: end
