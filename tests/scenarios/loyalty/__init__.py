"""A fifth participant in its own module, database and queue, which joins by a setting alone."""
