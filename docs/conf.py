"""How Sphinx builds the site: `python3 run.py docs`.

The sources are the Markdown files of the whole repository, so that a link
from one file to another is the same on GitHub and on the site.
CONTRIBUTING.md says how a page is added.
"""

import os
import pathlib
import re
import struct
import sys

_ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(_ROOT))  # For autodoc, and for programs of notebooks.
# The kernels of notebooks are processes of their own.
os.environ["PYTHONPATH"] = os.pathsep.join(
  [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from docutils import nodes  # noqa: E402
from sphinx import addnodes  # noqa: E402

from lookahead_tf.version import __version__  # noqa: E402

project = "Lookahead for Keras"
author = "the authors of lookahead-tf"
copyright = author
version = release = __version__

extensions = [
  "myst_nb",
  "sphinx.ext.autodoc",
  "sphinx.ext.napoleon",
  "sphinx.ext.viewcode",
  "sphinx_copybutton",
]
root_doc = "docs/index"
include_patterns = [
  "README.md",
  "CHANGELOG.md",
  "CONTRIBUTING.md",
  "SECURITY.md",
  "docs/*.md",
  "benchmarks/*.md",
  "benchmarks/results/*.md",
]
exclude_patterns = [".*", "build", "runs", "site"]  # Not to be walked through.
default_role = "code"  # Docstrings have `names` in single backticks.
nitpicky = True  # A name in a docstring that leads nowhere is a warning.
# Of Keras and of Python, whose inventories need a network.
nitpick_ignore_regex = [
  ("py:.*", r"(collections|keras)\..*"),
]

myst_heading_anchors = 4  # Links to headings, as on GitHub.
nb_execution_mode = "force"
nb_execution_timeout = 300
nb_execution_raise_on_error = True
nb_merge_streams = True

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_google_docstring = True
napoleon_numpy_docstring = False

html_theme = "furo"
html_title = f"{project} {__version__}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_extra_path = ["_site"]  # index.html, which leads to docs/index.html.
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}


def _leave_folders_without_links(app, document):
  """Shows links to folders of the repository as their text.

  A link to a file that is no page leads to a copy of the file.
  """
  page = pathlib.Path(app.env.doc2path(app.env.docname))
  for node in list(document.findall(addnodes.pending_xref)):
    if (page.parent / node["reftarget"]).is_dir():
      node.replace_self(node.children)


def _mark_wide_figures(app, document):
  """Gives wide figures the class by which site.css lets them scroll on phones.

  At the width of a phone their texts would be of 3 points.
  """
  for node in document.findall(nodes.image):
    path = pathlib.Path(app.srcdir, node["uri"])
    if path.suffix == ".png" and path.exists():
      with open(path, "rb") as file:
        (width,) = struct.unpack(">I", file.read(20)[16:])
      if width > 800:
        node["classes"].append("wide")


def _mark_code_blocks(app, what, name, object_, options, lines):
  """Turns fenced code blocks of a docstring into those of reStructuredText."""
  del app, what, name, object_, options
  is_within = False
  result = []
  for line in lines:
    fence = re.fullmatch(r"( *)```(\w*)", line)
    if fence is None:
      result.append("  " + line if is_within else line)
      continue
    is_within = not is_within
    if is_within:
      directive = f"{fence[1]}.. code-block:: {fence[2] or 'text'}"
      result += ["", directive, ""]
    else:
      result.append("")
  lines[:] = result


def _give_captions_a_level(app, page, template, context, doctree):
  """Names the level of the sidebar's headings, which screen readers ask for."""
  del app, page, template, doctree
  tree = context.get("furo_navigation_tree", "")
  context["furo_navigation_tree"] = tree.replace(
    'role="heading"', 'role="heading" aria-level="2"'
  )


def setup(app):
  """Registers what this file adds to Sphinx."""
  # Before napoleon, whose priority is 500.
  app.connect("autodoc-process-docstring", _mark_code_blocks, priority=400)
  app.connect("doctree-read", _leave_folders_without_links)
  app.connect("doctree-read", _mark_wide_figures)
  # After furo, whose priority is 500 and which makes the sidebar.
  app.connect("html-page-context", _give_captions_a_level, priority=600)
