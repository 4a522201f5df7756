"""Orders, sagas and the catalogue: to look at, and to act on."""

from webapp.orders.admin.orders import OrderAdmin, ProductAdmin
from webapp.orders.admin.sagas import SagaAdmin

__all__ = ["OrderAdmin", "ProductAdmin", "SagaAdmin"]
