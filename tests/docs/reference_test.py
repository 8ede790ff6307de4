"""docs/reference.md has each public name of the package, and no other."""

import inspect
import pathlib
import re

import keras
from absl.testing import absltest

import lookahead_tf
from lookahead_tf import hyperparameters

_PAGE = (
  pathlib.Path(__file__).parents[2] / "docs" / "reference.md"
).read_text()
# A directive, and the lines of its options.
_DIRECTIVES = re.findall(
  r"^\.\. (?:auto|py:)(\w+):: lookahead_tf\.(\w+)\n((?:   :.*\n)*)",
  _PAGE,
  re.MULTILINE,
)


def _members(options):
  """Returns the names that the option `members` of a directive has."""
  names = re.search(r":members:(.*)", options)
  return set(re.findall(r"\w+", names.group(1))) if names else set()


class ReferenceTest(absltest.TestCase):
  def test_has_each_public_name_once(self):
    names = [name for _, name, _ in _DIRECTIVES]
    self.assertCountEqual(names, lookahead_tf.__all__)

  def test_names_that_can_be_imported_are_public(self):
    own = {
      name
      for name, value in vars(lookahead_tf).items()
      if not name.startswith("_") and not inspect.ismodule(value)
    }
    self.assertEqual(own - set(lookahead_tf.__all__), set())

  def test_classes_are_documented_as_classes(self):
    for kind, name, _ in _DIRECTIVES:
      is_class = inspect.isclass(getattr(lookahead_tf, name))
      self.assertEqual(kind == "class", is_class, name)

  def test_has_what_lookahead_adds_to_keras(self):
    (options,) = (o for _, name, o in _DIRECTIVES if name == "Lookahead")
    added = {
      name
      for owner in (lookahead_tf.Lookahead, hyperparameters.Hyperparameters)
      for name, value in vars(owner).items()
      if not name.startswith("_")
      and (inspect.isfunction(value) or isinstance(value, property))
      and not hasattr(keras.optimizers.Optimizer, name)
    }
    self.assertContainsSubset({"slow_step_size", "inner_state"}, added)
    # Of its base class, whose other methods are for the package itself.
    added |= {"start_period", "finish_training", "end_evaluation"}
    self.assertContainsSubset(added | {"sync_period"}, _members(options))

  def test_members_are_there(self):
    for _, name, options in _DIRECTIVES:
      for member in _members(options):
        self.assertTrue(
          hasattr(getattr(lookahead_tf, name), member), f"{name}.{member}"
        )


if __name__ == "__main__":
  absltest.main()
