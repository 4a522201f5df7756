"""A fifth participant, as somebody else would write it: its own module, database and queue, joined by a
setting alone.
"""
