"""The real inventory, with faults that a test requests by the SKUs of an order."""
