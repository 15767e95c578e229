"""Codes of the event of a time step, in a corpus and in the predictions of a model."""

DOWN = 0
"""The pen stays down after this point: the stroke continues. In data without strokes, the sequence continues."""
UP = 1
"""The pen lifts after this point: the stroke ends."""
END = 2
"""The sequence ends with this point."""
START = -1
"""Event in the input of the first step, which has no previous step. START is neither stored in a corpus nor predicted
by a model."""
