"""The API's addresses: version 1."""

from __future__ import annotations

from webapp.api import orders, products
from webapp.api.http import api

api.add_router("/orders", orders.router)
api.add_router("/products", products.router)

urls = api.urls
