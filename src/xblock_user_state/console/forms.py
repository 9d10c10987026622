"""Forms of the pages that act."""

from __future__ import annotations

import re
from typing import Any

from django import forms
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from opaque_keys import InvalidKeyError
from opaque_keys.edx.keys import UsageKey

NAMES = 5_000
"""Usernames that a cohort has at most. The command takes more."""


class ReasonForm(forms.Form):
    """The reason of an action."""

    reason = forms.CharField(
        label=_("Reason"),
        max_length=1000,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text=_("The action log keeps it, and the history shows it."),
    )

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **{"auto_id": "xus-%s", "label_suffix": "", **options})


class NothingForm(forms.Form):
    """No parameters."""


class ScoreForm(forms.Form):
    """A score."""

    grade = forms.FloatField(label=_("Points"), required=False, widget=forms.NumberInput(attrs={"step": "any"}))
    max_grade = forms.FloatField(
        label=_("Of possible points"),
        required=False,
        widget=forms.NumberInput(attrs={"step": "any"}),
        help_text=_("Leave both empty to remove the score."),
    )

    def clean(self) -> dict[str, Any]:
        """Check that the points are possible."""
        values = super().clean() or self.cleaned_data
        grade, most = values.get("grade"), values.get("max_grade")
        if grade is not None and most is not None and grade > most:
            self.add_error("grade", _("These are more points than possible."))
        return values


class RevisionForm(forms.Form):
    """A revision of the history."""

    revision = forms.IntegerField(label=_("Revision to bring back"), min_value=1, max_value=2**62)


class TimeForm(forms.Form):
    """A time in the current time zone."""

    at = forms.DateTimeField(
        label=_("As it was at"),
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
    )

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        name = timezone.get_current_timezone_name()
        self.fields["at"].help_text = _("In the time zone %(name)s.") % {"name": name}


class KeyForm(forms.Form):
    """The key of a block."""

    to = forms.CharField(label=_("New usage key"), max_length=255)

    def clean_to(self) -> str:
        """Check that it is a key."""
        text: str = self.cleaned_data["to"]
        try:
            UsageKey.from_string(text)
        except InvalidKeyError as error:
            raise forms.ValidationError(_("This is not the usage key of a block.")) from error
        return text


class WhoForm(forms.Form):
    """All learners, or a cohort."""

    who = forms.ChoiceField(
        label=_("Learners"),
        widget=forms.RadioSelect,
        choices=(("these", _("These learners")), ("all", _("All learners with a state or a score here"))),
        initial="these",
    )
    names = forms.CharField(
        label=_("Usernames, one a line or with commas between"),
        required=False,
        widget=forms.Textarea(attrs={"rows": 4, "spellcheck": "false"}),
    )
    file = forms.FileField(label=_("Or a text file with usernames, one a line or with commas between"), required=False)

    def clean(self) -> dict[str, Any]:
        """Read the names of the cohort."""
        values = super().clean() or self.cleaned_data
        values["cohort"] = None
        if values.get("who") == "these":
            values["cohort"] = names = self._cohort(values)
            if not names:
                self.add_error("names", _("Name the learners, or choose all."))
            elif len(names) > NAMES:
                text = _("Up to %(most)s names can be given here; “manage.py staff_action” takes more.")
                self.add_error("names", text % {"most": NAMES})
        elif values.get("names") or values.get("file"):
            self.add_error("who", _("There are names: choose “These learners”, or leave out the names."))
        return values

    def _cohort(self, values: dict[str, Any]) -> list[str]:
        text = values.get("names") or ""
        if values.get("file"):
            try:
                text += "\n" + values["file"].read().decode("utf-8-sig")
            except UnicodeDecodeError:
                self.add_error("file", _("The file is not a text file in UTF-8."))
        lines = text.replace("\0", "").splitlines()
        names = (name.strip() for line in lines for name in re.split("[,;]", line))
        return list(dict.fromkeys(filter(None, names)))


def form_of(parameters: type[forms.Form], *, has_learner: bool) -> type[ReasonForm]:
    """Return the form of an action: its parameters, the learners unless there is one, and the reason."""
    bases = (parameters,) if has_learner else (WhoForm, parameters)
    names = [name for base in (parameters, WhoForm) for name in base.base_fields]
    return type("ActionForm", (*bases, ReasonForm), {"field_order": [*names, "reason"]})
