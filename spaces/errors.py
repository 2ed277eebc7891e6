"""What goes wrong on the user's side, each with the exit code that the command line returns for it."""


class UserError(Exception):
    """A fault that one clear line explains; never a traceback."""

    exit_code = 1


class BadInput(UserError):
    """A file, key or value that cannot be used. The message names it and what is allowed."""

    exit_code = 2


class OutOfReach(UserError):
    """A budget that no candidate of the space can meet. The message names what is reachable."""

    exit_code = 3


class NothingFeasible(UserError):
    """A finished search or selection without a row inside the budgets. The message names the nearest miss."""

    exit_code = 4


class Interrupted(UserError):
    """A run that was stopped from outside. Everything finished is kept; the same command resumes it."""

    exit_code = 75


class InternalError(UserError):
    """A fault of this program, not of the user. The message says where its traceback was written."""

    exit_code = 70
