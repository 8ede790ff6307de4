"""Mistakes of the user, which a program reports as one sentence."""

import re


class UserError(Exception):
  """Something that the user can put right; the message says how."""


def describe_config_error(error: Exception) -> str:
  """Returns in a sentence what ml_collections says of a wrong override."""
  message = " ".join(str(error).replace("\\n", " ").split())
  misspelt = re.fullmatch(
    r"""["']*(?:\\')?(\w+)(?:\\')?["']*( Did .*)?""", message
  )
  if misspelt:
    suggestion = (misspelt[2] or "").rstrip("'")
    return f"the config has no field {misspelt[1]!r}.{suggestion}"
  # Some errors go on with the whole config.
  return f"an override does not fit the config: {message[:300]}"
