"""What a test's report keeps of its sagas; ``pytest --measured`` prints it."""

MEASURED = "measured"
"""The name of the report's property."""
