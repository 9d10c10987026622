"""Answers of learners to each block of the demo's course, as the page shows them and as the history stores them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from playwright.sync_api import Locator, expect

from tests.acceptance.browsing import Visitor


class Answer(NamedTuple):
    """One answer: its text on the page, and its value in the state."""

    shown: str
    kept: str


class Kind(NamedTuple):
    """Blocks that learners answer in the same way.

    `give` enters an answer and clicks the button that calls `handler`; `seen` expects the answer on the page.
    `field` stores it. A block that was only viewed has `earlier` revisions.
    """

    give: Callable[[Locator, str], None]
    seen: Callable[[Locator, str], None]
    handler: str
    field: str
    earlier: int


class Work(NamedTuple):
    """A block, and each learner's answers there: two where it takes a second answer."""

    unit: str
    block_type: str
    name: str
    kind: Kind
    answers: Mapping[str, list[Answer]]

    def answer(self, visitor: Visitor, answer: Answer) -> None:
        with visitor.page.expect_response(re.compile(rf"{self.name}/handler/.*{self.kind.handler}/?$")) as response:
            self.kind.give(visitor.block(self.name), answer.shown)
        assert response.value.status == 200

    def see(self, visitor: Visitor, answer: Answer) -> None:
        self.kind.seen(visitor.block(self.name), answer.shown)


def _submit(block: Locator) -> None:
    block.get_by_role("button", name="Submit").click()


def _choose(block: Locator, choice: str) -> None:
    for box in block.get_by_role("checkbox", checked=True).all():
        box.uncheck()
    block.get_by_text(choice).click()
    _submit(block)


def _select(block: Locator, option: str) -> None:
    block.locator("select").select_option(option)
    _submit(block)


def _write(block: Locator, text: str) -> None:
    block.locator("input[type=text], textarea").fill(text)
    _submit(block)


def _take_the_word(block: Locator, word: str) -> None:
    block.locator("input").first.fill(word)
    block.get_by_role("button", name="Save").click()


def _answer_all_questions(block: Locator, answer: str) -> None:
    for choice in block.locator(f"input[value={answer}]").all():
        choice.check()
    _submit(block)


def _click(block: Locator, choice: str) -> None:
    block.get_by_text(choice, exact=True).click()


def _toggle(block: Locator, _state: str) -> None:
    block.locator(".done_onoffswitch-label").click()


def _is_chosen(block: Locator, choice: str) -> None:
    expect(block.locator("input:checked")).to_have_accessible_name(re.compile(re.escape(choice)))


def _is_selected(block: Locator, option: str) -> None:
    expect(block.locator("select")).to_have_value(option)


def _is_written(block: Locator, text: str) -> None:
    expect(block.locator("input[type=text], textarea")).to_have_value(text)


def _is_toggled(block: Locator, state: str) -> None:
    expect(block.locator(".done_onoffswitch-checkbox")).to_be_checked(checked=state == "done")


def _is_the_word(block: Locator, word: str) -> None:
    expect(block.locator(".your_words")).to_have_text(word)


def _is_the_answer_to_all_questions(block: Locator, answer: str) -> None:
    chosen = re.compile(rf"^answer-{answer}-")
    for cell in range(3):
        expect(block.locator(".survey-choice").nth(cell)).to_have_attribute("aria-labelledby", chosen)


def _is_clicked(block: Locator, choice: str) -> None:
    expect(block.locator(".poll_answer").filter(has=block.page.locator(".answered"))).to_contain_text(choice)


# Some blocks write state at their first view: a problem stores its random seed, a survey stores that it has no
# answers, feedback stores its choice of question.
CHOICE = Kind(_choose, _is_chosen, "problem_check", "student_answers", earlier=1)
OPTION = Kind(_select, _is_selected, "problem_check", "student_answers", earlier=1)
LINE = Kind(_write, _is_written, "problem_check", "student_answers", earlier=1)
TEXT = Kind(_write, _is_written, "submit", "student_answer", earlier=0)
DONE = Kind(_toggle, _is_toggled, "toggle_button", "done", earlier=0)
POLL = Kind(_choose, _is_chosen, "vote", "choice", earlier=0)
POLL_QUESTION = Kind(_click, _is_clicked, "handle_submit_state", "poll_answer", earlier=0)
CLOUD = Kind(_take_the_word, _is_the_word, "handle_submit_state", "student_words", earlier=0)
SURVEY = Kind(_answer_all_questions, _is_the_answer_to_all_questions, "vote", "choices", earlier=1)
FEEDBACK = Kind(_click, _is_chosen, "feedback", "user_vote", earlier=1)


def _problem(unit: str, name: str, kind: Kind, ada: dict[str, str], ben: dict[str, str]) -> Work:
    return _work(unit, "problem", name, kind, ada, ben)


def _work(unit: str, block_type: str, name: str, kind: Kind, ada: dict[str, str], ben: dict[str, str]) -> Work:
    answers = {
        username: [Answer(shown, kept) for shown, kept in given.items()]
        for username, given in (("ada", ada), ("ben", ben))
    }
    return Work(unit, block_type, name, kind, answers)


def _line(unit: str, name: str, ada: tuple[str, str], ben: tuple[str, str]) -> Work:
    # In quotation marks: a bare number also occurs elsewhere in the state, as in the names of a problem's inputs.
    return _problem(unit, name, LINE, {text: f'"{text}"' for text in ada}, {text: f'"{text}"' for text in ben})


COURSE = [
    _problem(
        "eyes",
        "torch",
        CHOICE,
        {"A bright white head torch": "choice_0", "A dim red torch": "choice_2"},
        {"A dim red torch": "choice_2", "A dim blue torch": "choice_3"},
    ),
    _problem(
        "eyes",
        "habits",
        CHOICE,
        {"Checking your phone every few minutes": "choice_2", "Waiting half an hour in the dark": "choice_0"},
        {"Waiting half an hour in the dark": "choice_0", "Looking slightly to the side of the star": "choice_1"},
    ),
    _work("eyes", "done", "half-hour", DONE, {"done": "true"}, {"done": "true", "not done": "false"}),
    _line("darkness", "hundredfold", ("5", "100"), ("100", "2.5")),
    _work("darkness", "poll", "home-sky", POLL, {"Hundreds of stars": "hundreds"}, {"The Milky Way": "milky-way"}),
    _problem(
        "phases", "moonrise", OPTION, {"noon": "noon", "sunset": "sunset"}, {"sunset": "sunset", "sunrise": "sunrise"}
    ),
    _line("phases", "month", ("28", "29.5"), ("29.5", "30.5")),
    _problem(
        "craters",
        "terminator",
        CHOICE,
        {"Full moon": "choice_0", "First quarter": "choice_1"},
        {"First quarter": "choice_1", "A thin crescent": "choice_2"},
    ),
    _work("craters", "poll_question", "telescope", POLL_QUESTION, {"Not yet": "never"}, {"Yes, once": "once"}),
    _line("north", "polaris", ("Sirius", "Polaris"), ("Polaris", "Vega")),
    _line("north", "latitude", ("38", "52"), ("52", "90")),
    _line("distance", "parallax", ("1", "2"), ("2", "3")),
    _line("distance", "andromeda", ("M33", "M31"), ("M31", "M51")),
    _work("words", "word_cloud", "cloud", CLOUD, {"silence": "silence"}, {"cold": "cold"}),
    _work(
        "log",
        "freetextresponse",
        "first-night",
        TEXT,
        {text: text for text in ("Clouds all over the sky.", "From the balcony: Moon and Jupiter.")},
        {text: text for text in ("Orion above the church tower.", "Too many lamps to see.")},
    ),
    _work("log", "survey", "tour", SURVEY, {"yes": "yes"}, {"partly": "partly"}),
    _work("log", "feedback", "rating", FEEDBACK, {"Good": "1", "Excellent": "0"}, {"Average": "2", "Fair": "3"}),
]
