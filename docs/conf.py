"""How Sphinx makes the site of these pages: https://www.sphinx-doc.org/en/master/usage/configuration.html

The pages are plain Markdown that reads as well on a forge. What stands in the lists of index.md
is the site's navigation, so a page that is not named there fails the build.
"""

import re

from sphinx.application import Sphinx

from fetcher import __version__

project = "fetcher"
release = __version__
root_doc = "index"
extensions = ["myst_parser"]
myst_heading_anchors = 4
nitpicky = True

html_theme = "furo"
html_title = "fetcher"
html_static_path = ["site.css"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False
# Opened from a disk, a page may not read another one for a summary of it.
html_show_search_summary = False
# No fonts, scripts or pictures from elsewhere: the theme brings all that it needs.
html_theme_options = {"navigation_with_keys": False}


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _navigation)


def _navigation(app: Sphinx, name: str, source: list[str]) -> None:
    """Each section of index.md with a list of pages becomes a part of the navigation."""
    if name != root_doc:
        return
    trees = [
        "\n".join(("```{toctree}", ":hidden:", f":caption: {heading}", "", *pages, "```"))
        for heading, text in re.findall(r"(?ms)^## (.+?)\n(.*?)(?=^## |\Z)", source[0])
        if (pages := re.findall(r"(?m)^- \[.+?\]\(([\w/-]+)\.md\)", text))
    ]
    source[0] += "\n\n" + "\n\n".join(trees) + "\n"
