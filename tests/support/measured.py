MEASURED = "measured"
"""The property of a test's report that holds a summary of its sagas; ``pytest --measured`` prints it."""
