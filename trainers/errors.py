"""Mistakes of the user, which a program reports as one sentence."""


class UserError(Exception):
  """Something that the user can put right; the message says how."""
