"""Counts and logs the answers of policies: refusals, and reads of other learners' state."""

from __future__ import annotations

import logging

from xblock_user_state import conf
from xblock_user_state.access import Action, Question
from xblock_user_state.metrics import names
from xblock_user_state.metrics.current import count

_LOG = logging.getLogger("xblock_user_state.access")
_READS = (Action.READ, Action.SEE_HISTORY, Action.REPORT)


def report_access(question: Question, is_allowed: bool) -> None:
    """Report a question to a policy, with its answer. The log names learners, so a setting turns it on."""
    if not is_allowed:
        count(names.ACCESS_REFUSED, 1, question.action)
        if conf.value("LOG_ACCESS"):
            _LOG.warning("%s", question.answered(is_allowed))
    elif question.action in _READS and question.is_of_others:
        count(names.ACCESS_OF_OTHERS, 1, question.action)
        if conf.value("LOG_ACCESS"):
            _LOG.info("%s", question.answered(is_allowed))
