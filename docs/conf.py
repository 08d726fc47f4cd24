"""Settings of the documentation's site; `make docs` builds it, and it needs no network to be read."""

from manyhands.core.version import __version__

project, author, release = "Manyhands", "The Manyhands developers", __version__
copyright = author
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.viewcode",
    "numpydoc",
    "sphinx_copybutton",
]
source_suffix = {".md": "markdown"}
exclude_patterns = ["strategies-table.md"]  # it is a part of measured.md
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4
nitpicky = False

html_theme = "furo"
html_title = f"Manyhands {release}"
html_show_sourcelink = False
html_static_path: list[str] = []

default_role = "code"  # single backticks in docstrings are names
autodoc_typehints = "none"  # numpydoc's sections say what each argument is
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
autosummary_generate = False  # numpydoc loads it
copybutton_prompt_text = r"\$ |>>> |\.\.\. "
copybutton_prompt_is_regexp = True
copybutton_only_copy_prompt_lines = True

_ELSEWHERE = {
    "../benchmarks/RESULTS.md": "benchmarks.md",
    "../benchmarks/README.md": "benchmarks.md",
    "](strategies-table.md)": "](measured.md)",
}
"""Links that lead out of this folder, or to a part of a page, and where they lead on the site."""


def _link(_app, _name, source):
    """Let links lead to the pages of the site."""
    for link, page in _ELSEWHERE.items():
        source[0] = source[0].replace(link, page)


def setup(app):
    """Connect to Sphinx."""
    app.connect("source-read", _link)
