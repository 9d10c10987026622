"""The host: runtime, course content, and pages."""
