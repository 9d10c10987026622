"""What can be seen from outside: each measurement goes to one sink, which the host's settings name; to none by default.

To support another system of metrics, write a module with a `MetricsSink`, and name it in the settings.
"""

from xblock_user_state.metrics.sink import MetricsSink

__all__ = ["MetricsSink"]
