"""The transactions that docs/PROTOCOL.md governs."""
