"""The exception whose message is written for the user."""


class UserError(ValueError):
  """Report something that the user can correct.

  The message is one sentence that says what was given, what is allowed and
  what to do. The command line prints it without a stack trace; every other
  exception is a bug of ours and keeps its trace.
  """


class NotFoundError(UserError, FileNotFoundError):
  """Report a file or folder that the user named and that does not exist."""
