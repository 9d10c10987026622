"""The names and the answers of the invented learners in `demo.host.sample`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

NAMES = [line.split() for line in (Path(__file__).parent.parent / "course" / "learners.txt").read_text().splitlines()]
"""First and last names. The username is the first name in small letters."""

Given = str | Sequence[str]
"""The input of a learner: one value, or the choices that are ticked."""


class Problem(NamedTuple):
    """A problem with one input. Without `right` answers, the answer is computed from the problem's text."""

    name: str
    right: Sequence[Given]
    wrong: Sequence[Given]
    attempts: int = 12
    """The tries that the problem allows, or as many as the most patient learner makes."""


PROBLEMS: Mapping[str, Problem] = {
    problem.name: problem
    for problem in (
        Problem("torch", ["choice_2"], ["choice_0", "choice_1", "choice_3"]),
        Problem(
            "habits",
            [["choice_0", "choice_1", "choice_3"]],
            [["choice_0", "choice_1"], ["choice_0"], ["choice_0", "choice_3"], ["choice_0", "choice_2", "choice_3"]],
        ),
        Problem("hundredfold", ["100"], ["5", "2.5", "10", "50", "25", "32"]),
        Problem("moonrise", ["sunset"], ["midnight", "noon", "sunrise"]),
        Problem("month", ["29.5", "29.53", "30"], ["27.3", "28", "31", "27"]),
        Problem("terminator", ["choice_1"], ["choice_0", "choice_2"], attempts=2),
        Problem("polaris", ["Polaris", "North Star", "polaris"], ["Sirius", "Vega", "Dubhe"], attempts=3),
        Problem("latitude", ["52"], ["38", "90", "128", "142"]),
        Problem("parallax", [], ["0.1", "3.26", "1", "6.5", "0.5", "32.6"]),
        Problem("andromeda", ["Andromeda", "M31", "Andromeda Galaxy"], ["Milky Way", "M33", "Orion"]),
    )
}

SKY = ("planets", "dozens", "dozens", "hundreds", "hundreds", "milky-way")
TELESCOPE = ("often", "once", "once", "never", "never", "never")
WORDS = (
    "silence",
    "cold",
    "stars",
    "dew",
    "owls",
    "Orion",
    "patience",
    "tea",
    "darkness",
    "frost",
    "wonder",
    "time",
    "home",
    "space",
    "calm",
)
AGREED = ("yes", "yes", "partly", "no")

SENTENCES = (
    "We stood behind the house, away from the lamp at the gate.",
    "It took twenty minutes before I saw more than the brightest stars.",
    "Orion was easy, and below it Sirius flickered in all colours.",
    "Then a neighbour switched on the light in the yard, and we began again.",
    "The Plough stood upright on its handle, and the pointers led us to Polaris.",
    "I had never noticed that Betelgeuse is red and Rigel is blue.",
    "With averted vision the Pleiades became seven stars instead of one smudge.",
    "The Moon had set, and the Milky Way was a pale band over the roof.",
    "A satellite crossed the whole sky in about four minutes.",
    "My daughter counted three shooting stars, I missed two of them.",
    "Clouds came in from the west and took the stars one by one.",
    "The terminator went right through the middle, and the craters looked like bites.",
    "We found the smudge of Andromeda only after the phone was in the pocket for good.",
    "Next time I bring a blanket, a red torch, and tea.",
)
TUESDAYS_ANSWER = (
    "Tuesday night, on the hill behind the church, with my brother. It was so clear that we stayed for two hours. "
    "First we waited half an hour in the dark, which felt long. Then we followed the pointers of the Plough to "
    "Polaris, and measured its height with our fists: five fists and a bit, so we are at about 52 degrees north, "
    "as the course says. Andromeda was a faint smudge left of Cassiopeia. I could only see it when I looked "
    "beside it. That the light is two and a half million years old made us both quiet. At the end a fox came by "
    "and was not interested in us at all."
)
OLD_DRAFT = "Clouds. I will try again next week."
