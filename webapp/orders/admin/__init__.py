"""Orders, sagas and the catalogue: to look at, and to act on."""

from webapp.orders.admin.catalogue import ProductAdmin
from webapp.orders.admin.orders import OrderAdmin
from webapp.orders.admin.sagas import SagaAdmin

__all__ = ["OrderAdmin", "ProductAdmin", "SagaAdmin"]
