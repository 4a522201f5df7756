"""Read, add, change and withdraw products."""

# ruff: noqa: ARG001 - every view receives the request

from __future__ import annotations

from typing import Annotated, Any

from django.http import Http404, HttpRequest
from ninja import Path, Query, Router
from pydantic import ValidationError

from webapp.api.http import ScopedToken
from webapp.api.models import Scope
from webapp.api.orders import ERRORS, PAGE
from webapp.api.problems import Problem, field_error
from webapp.api.schemas import ProblemOutput, ProductInput, ProductOutput, ProductPage
from webapp.orders.catalogue import NewProduct, update_catalogue
from webapp.orders.models import Product
from workers.signals import Sku

router = Router(tags=["products"])
read, write = ScopedToken(Scope.READ_PRODUCTS), ScopedToken(Scope.WRITE_PRODUCTS)


@router.get("", auth=read, response={200: ProductPage, **ERRORS})
def list_products(
    request: HttpRequest,
    after: Annotated[str | None, Query(max_length=64, description="`next` of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=PAGE * 4)] = PAGE,
) -> dict[str, Any]:
    """Products by SKU, the withdrawn ones included."""
    rows = Product.objects.order_by("sku")
    found = list((rows.filter(sku__gt=after) if after else rows)[: limit + 1])
    more, found = len(found) > limit, found[:limit]
    return {"products": found, "next": found[-1].sku if more else None}


@router.get("/{sku}", auth=read, response={200: ProductOutput, 404: ProblemOutput, **ERRORS})
def read_product(request: HttpRequest, sku: Annotated[Sku, Path()]) -> Product:
    """One product."""
    found = Product.objects.filter(sku=sku).first()
    if found is None:
        raise Http404(f"There is no product {sku}.")
    return found


@router.put("/{sku}", auth=write, response={200: ProductOutput, **ERRORS})
def put_product(request: HttpRequest, sku: Annotated[Sku, Path()], payload: ProductInput) -> Product:
    """Add a product or change it. A new price holds for orders that are placed afterwards."""
    try:
        product = NewProduct(sku=sku, **payload.model_dump())
    except ValidationError as invalid:
        fault = invalid.errors(include_url=False, include_input=False)[0]
        wrong = field_error(str(fault["loc"][0]), str(fault["msg"]), "Correct it")
        detail = f"{wrong['field']}: {wrong['fault']}."
        raise Problem(422, "invalid", detail, errors=[wrong]) from None
    update_catalogue([product])
    return Product.objects.get(sku=sku)
