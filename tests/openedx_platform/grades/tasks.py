"""Has imported the function for scores by name."""

from tests.openedx_platform.courseware.model_data import get_score

__all__ = ["get_score"]
