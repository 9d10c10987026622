"""Sphinx configuration: MyST pages, the furo theme, the reference taken from the code's docstrings."""

from __future__ import annotations

import importlib.metadata

import django
from django.conf import settings

# autodoc imports the models, which takes a configured Django.
settings.configure(
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "xblock_user_state"],
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
)
django.setup()

project = "xblock-user-state"
author = "The xblock-user-state authors"
project_copyright = author
release = importlib.metadata.version("xblock-user-state")

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
# Docstrings name code in single backticks.
default_role = "code"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 88
html_theme = "furo"
html_title = project
