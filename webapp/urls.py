"""The URLs of the site."""

from __future__ import annotations

from django.contrib import admin
from django.urls import URLPattern, URLResolver, path
from django.views.generic import RedirectView

from webapp.api.urls import urls as api_urls
from webapp.audit.lookup import look_up
from webapp.flower.proxy import proxy_flower

admin.site.site_header = admin.site.site_title = "OrderSaga"
admin.site.index_title = "Orders and their sagas"
admin.site.site_url = None  # hides "View site": the admin is the only site

urlpatterns: list[URLPattern | URLResolver] = [
    path("admin/flower/", proxy_flower, name="flower_home"),
    path("admin/flower/<path:page>", proxy_flower, name="flower"),
    path("admin/go/<path:term>", look_up, name="go"),
    path("admin/", admin.site.urls),
    path("api/v1/", api_urls),
    path("", RedirectView.as_view(pattern_name="admin:index")),
]
