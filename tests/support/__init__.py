"""Helpers of the tests: private servers, real processes, bounded waiting."""
