"""Events of a time step, as stored in a corpus and predicted by a model."""

DOWN = 0
"""The pen stays down after this point: the stroke continues."""
UP = 1
"""The pen lifts after this point: the stroke ends."""
END = 2
"""The sequence ends with this point."""
START = -1
"""No event: the input of the first step."""
