"""The host itself: runtime, course content, and pages."""
