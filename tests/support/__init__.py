"""What the tests stand on: private servers, real processes, bounded waiting."""
