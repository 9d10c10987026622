"""A block over all learners: a page of responses with figures, and the same as files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.utils.text import slugify
from opaque_keys.edx.keys import UsageKey

from xblock_user_state.access import Action
from xblock_user_state.console import responses
from xblock_user_state.console.access import require
from xblock_user_state.console.answers import in_words
from xblock_user_state.console.charts import chart
from xblock_user_state.console.hosts import console_host
from xblock_user_state.console.keys import block_of
from xblock_user_state.console.offers import offers
from xblock_user_state.console.pages import page, query, staff_page, text_of
from xblock_user_state.console.sources import database_of_reports
from xblock_user_state.maintenance import reports
from xblock_user_state.state.keys import BlockId
from xblock_user_state.store import users

ROWS = 25
"""Responses on a page."""

COUNTED = 10_000
"""Learners that are counted; of more, the page says that there are more."""

_TYPES = {"csv": "text/csv; charset=utf-8", "jsonl": "application/jsonl"}
_WRITERS = {"csv": responses.as_csv, "jsonl": responses.as_json_lines}


@staff_page
def block(request: HttpRequest, course: str, block: str) -> HttpResponse:
    """Show a page of responses, and figures of a sample of them."""
    key, block_id = _asked(request, course, block)
    host, database = console_host(), database_of_reports()
    describe = host.describe(request.user, key)
    after = _learner_id(text_of(request, "after"))
    found = reports.responses(database, block_id.id, ROWS + 1, after)
    rows = responses.rows_of(found[:ROWS])
    sample = responses.rows_of(reports.responses(database, block_id.id, responses.SAMPLE))
    figures = responses.figures_of(host, key, describe, sample)
    learners = reports.learners_in(database, block_id.id, COUNTED + 1)
    words = [in_words(describe, row.username or "", key, row.state, row.modified) for row in rows]
    question = responses.question_of(words)
    if question:
        words = [[{name: each[name] for name in each if name != "Question"} for each in of_row] for of_row in words]
    context = {
        "course": course,
        "key": key,
        "title": host.title(key),
        "acts": offers(request, key.context_key, key),
        "learners": min(learners, COUNTED),
        "has_more_learners": learners > COUNTED,
        "is_sample": learners > figures.learners,
        "figures": figures,
        "charts": {name: chart(getattr(figures, name)) for name in ("answers", "scores", "attempts")},
        "question": question,
        "rows": list(zip(rows, words, strict=True)),
        "is_first": after is None,
        "next": query(after=found[ROWS - 1].student_id) if len(found) > ROWS else None,
    }
    return page(request, "block", context)


@staff_page
def responses_file(request: HttpRequest, course: str, block: str, form: str) -> HttpResponseBase:
    """Send the responses of all learners as a file, while they are read."""
    key, block_id = _asked(request, course, block)
    host = console_host()
    lines = _WRITERS[form](_all_rows(block_id), host, key, host.describe(request.user, key))
    answer = StreamingHttpResponse(lines, content_type=_TYPES[form])
    # Titles in other scripts leave nothing.
    name = slugify(host.title(key))[:80] or f"{block_id.block_type}-{block_id.id % 2**32:08x}"
    answer["Content-Disposition"] = f'attachment; filename="{name}.{form}"'
    return answer


def _asked(request: HttpRequest, course: str, block: str) -> tuple[UsageKey, BlockId]:
    """Return the block of an address, after asking whether the reader may see all of its learners."""
    key, block_id = block_of(course, block)
    require(request, Action.REPORT, context_key=key.context_key, block_key=key)
    return key, block_id


def _learner_id(text: str) -> Any:
    try:
        return users.checked_id(text) if text else None
    except ValueError:
        return None


def _all_rows(block_id: BlockId) -> Iterator[responses.Row]:
    database, after = database_of_reports(), None
    while True:
        found = reports.responses(database, block_id.id, responses.FILE_PAGE, after)
        yield from responses.rows_of(found)
        if len(found) < responses.FILE_PAGE:
            return
        after = found[-1].student_id
