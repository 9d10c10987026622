"""The learner of a request: an account, or a visitor who has not logged in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.contrib.auth.views import LoginView

from demo.host.clients import account_client
from xblock_user_state.ephemeral import adopt_visitor
from xblock_user_state.hosting import anonymous_id_for, client_for

if TYPE_CHECKING:
    from django.contrib.auth.forms import AuthenticationForm
    from django.contrib.auth.models import AnonymousUser, User
    from django.contrib.sessions.backends.base import SessionBase
    from django.http import HttpResponse

    from xblock_user_state.interface import XBlockUserStateClient


@dataclass(frozen=True)
class Learner:
    """A user and the client that keeps the user's state. `anonymous_id` is stable and does not reveal the user."""

    user: User | AnonymousUser
    client: XBlockUserStateClient
    anonymous_id: str


def with_account(user: User) -> Learner:
    return Learner(user, client_for(user, accounts=account_client), anonymous_id_for(user))


def visitor(user: AnonymousUser, session: SessionBase) -> Learner:
    return Learner(user, client_for(user, session, accounts=account_client), anonymous_id_for(user, session))


def unidentified(user: AnonymousUser) -> Learner:
    """Return the learner for a request without a session, such as a crawler's. Its state can't be found again."""
    return Learner(user, client_for(user, accounts=account_client), anonymous_id_for(user))


class Login(LoginView):
    """The login page. A successful login moves the visitor's state into the account."""

    template_name = "host/login.html"
    redirect_authenticated_user = True

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        # The login keeps the data of the session, and with it the visitor's id.
        response = super().form_valid(form)
        user = form.get_user()
        adopt_visitor(self.request.session, account_client(user), user.username)
        return response
