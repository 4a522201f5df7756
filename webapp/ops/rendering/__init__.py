"""Commands tell what is known: sagas as trees, dead letters as tables."""
