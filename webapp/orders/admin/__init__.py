"""The admin pages of orders, sagas and products."""

from webapp.orders.admin.catalogue import ProductAdmin
from webapp.orders.admin.orders import OrderAdmin
from webapp.orders.admin.sagas import SagaAdmin

__all__ = ["OrderAdmin", "ProductAdmin", "SagaAdmin"]
