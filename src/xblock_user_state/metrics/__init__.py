"""Metrics. The setting ``METRICS`` names one sink, which gets every measurement; without it nothing is measured.

To support another system of metrics, write a class with the methods of `MetricsSink`, and name it in the settings.
"""

from xblock_user_state.metrics.sink import MetricsSink

__all__ = ["MetricsSink"]
