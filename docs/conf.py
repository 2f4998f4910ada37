"""How Sphinx builds the site: `make docs`."""

project = "pytest-braid"
author = "The pytest-braid contributors"
copyright = f"2026, {author}"  # noqa: A001 -- Sphinx's own name for it

extensions = ["myst_parser"]
html_theme = "furo"
html_title = project
# The reader's own fonts and nothing from another host.
html_theme_options = {"navigation_with_keys": True}
html_copy_source = False

myst_heading_anchors = 3  # `page.md#a-heading` is a link, and a broken one stops the build
nitpicky = True
