"""The command line of operators; this module holds the exit statuses that all commands share."""

FAILED, INTERRUPTED, CLOSED = 2, 130, 141
"""The work could not be done; Ctrl-C; the reader of the output has closed the pipe.

The last two are 128 plus the signal's number, as in a shell.
"""
