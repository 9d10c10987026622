"""URLs of the host."""

from __future__ import annotations

from django.contrib.auth.views import LogoutView
from django.contrib.staticfiles.views import serve
from django.urls import include, path, register_converter

from demo.host.accounts import ACCOUNTS, PASSWORD
from demo.host.converters import UsageKeyConverter, UsernameConverter
from demo.host.learners import Login
from demo.host.views import errors, handlers, learner, staff

register_converter(UsageKeyConverter, "usage")
register_converter(UsernameConverter, "username")

login = Login.as_view(extra_context={"accounts": ACCOUNTS, "password": PASSWORD})

handler500 = errors.failed

urlpatterns = [
    path("", learner.outline, name="outline"),
    path("login/", login, name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("units/<slug:slug>/", learner.unit, name="unit"),
    path("xblock/<usage:key>/handler/<str:name>/<path:suffix>", handlers.handler, name="handler"),
    path("xblock/<usage:key>/handler/<str:name>/", handlers.handler, name="handler"),
    # Without the last slash too: a redirect to the address with it would lose the body of the POST.
    path("xblock/<usage:key>/handler/<str:name>", handlers.handler),
    path("xblock/resource/<str:block_type>/<path:path>", handlers.resource, name="resource"),
    path("view-as/<username:username>/", staff.view_as, name="view_as"),
    path("stop-viewing/", staff.stop_viewing, name="stop_viewing"),
    path("console/", include("xblock_user_state.console.urls")),
    # A site has a web server for these files. DEBUG is off, so Django serves them only with `insecure`.
    path("static/<path:path>", serve, {"insecure": True}),
]
