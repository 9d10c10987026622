"""Handlers of blocks, and the static files in their packages."""

from __future__ import annotations

import logging
import mimetypes
from typing import TYPE_CHECKING

from django.http import FileResponse, Http404, HttpResponse, JsonResponse
from django.views.decorators.http import require_POST
from xblock.django.request import django_to_webob_request, webob_to_django_response
from xblock.exceptions import (
    DisallowedFileError,
    NoSuchHandlerError,
    NoSuchUsage,
    NotFoundError,
    ProcessingError,
    XBlockSaveError,
)
from xblock.plugin import PluginMissingError

from demo.host.blocks import ASIDE_TYPES
from demo.host.content import get_course
from demo.host.runtime import CourseRuntime
from demo.host.visits import runtime_of
from xblock_user_state.interface import Conflict, DamagedState, PermissionDenied, ServiceUnavailable
from xblock_user_state.runtime import run_guarded

if TYPE_CHECKING:
    from django.http import HttpRequest
    from opaque_keys.edx.keys import UsageKey
    from webob import Response

log = logging.getLogger(__name__)


# Any handler may change state. So GET is refused: Django checks the CSRF token of a POST, but not of a GET.
@require_POST
def handler(request: HttpRequest, key: UsageKey, name: str, suffix: str = "") -> HttpResponse:
    """Call a handler of a block as the learner of the request, in one guarded unit of work."""

    def work() -> Response:
        # All of it is new in each attempt: the blocks of a failed unit take their fields for saved.
        return runtime_of(request).run_handler(key, name, django_to_webob_request(request), suffix)

    try:
        response = run_guarded(work)
    except (NoSuchUsage, NoSuchHandlerError, NotFoundError) as error:
        raise Http404(str(error)) from error
    except ProcessingError as error:
        # A message of the problem to the learner, such as "no attempts left". The problem's script shows it.
        return JsonResponse({"success": str(error)})
    except PermissionDenied as error:
        # Such as a visitor's state that is too large.
        return HttpResponse(str(error), status=403)
    except (XBlockSaveError, ServiceUnavailable, Conflict):
        log.exception("the handler %s of %s saved nothing", name, key)
        return HttpResponse("The answer could not be saved. Please try again.", status=503)
    except DamagedState:
        log.exception("the handler %s of %s can't read the state", name, key)
        return HttpResponse("Saved work can’t be read. Please ask the course staff for help.", status=500)
    return webob_to_django_response(response)


def resource(request: HttpRequest, block_type: str, path: str) -> FileResponse:
    """Serve a public file from the package of a block."""
    course = get_course()
    runtime = CourseRuntime(course.ids, course.files, course.authored)
    load = runtime.load_aside_type if block_type in ASIDE_TYPES else runtime.load_block_type
    try:
        content = load(block_type).open_local_resource(path)
    except (PluginMissingError, DisallowedFileError, OSError, ValueError) as error:
        raise Http404(path) from error
    return FileResponse(content, content_type=mimetypes.guess_type(path)[0] or "application/octet-stream")
