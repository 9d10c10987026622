"""Has imported the functions for scores by name."""

from tests.openedx_platform.courseware.model_data import get_score, set_score

__all__ = ["get_score", "set_score"]
