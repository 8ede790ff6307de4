"""What an experiment leaves in its work directory: results.md and figures."""

import contextlib
import datetime
import math
import os
import platform
import re
import shlex
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence

import tabulate
from absl import app, flags
from matplotlib.figure import Figure

from experiments import style
from trainers import devices, files, hardware, workdir
from trainers import flags as flags_lib
from trainers.errors import UserError

_TABLE = "results.md"


def define_workdir(values: flags.FlagValues) -> None:
  """Defines --workdir."""
  flags_lib.define_path(
    "workdir", f"Directory for {_TABLE} and the figures.", values
  )
  require_workdir(values)


def require_workdir(values: flags.FlagValues) -> None:
  """Makes --workdir, which is defined, a flag that must be given."""
  flags.register_validator(
    "workdir",
    lambda path: path is not None,
    "--workdir must name a directory",
    flag_values=values,
  )


def define_flags(values: flags.FlagValues) -> None:
  """Defines --workdir and --seed."""
  define_workdir(values)
  flags.DEFINE_integer(
    "seed",
    0,
    "Of all random numbers.",
    lower_bound=0,
    upper_bound=2**31 - 1,
    flag_values=values,
  )


def run(
  main: Callable[[flags.FlagValues], None],
  *define: flags_lib.Define,
  is_random: bool = True,
) -> None:
  """Parses the command line of an experiment and calls `main`.

  Mistakes, Ctrl-C and SIGTERM end the program as they end a trainer.

  Args:
    main: A function of the parsed flags.
    *define: Functions that define flags, beside --workdir and --seed.
    is_random: Whether there is anything that --seed decides.
  """
  for one in (define_flags if is_random else define_workdir, *define):
    one(flags.FLAGS)
  devices.look_for_gpus()
  app.run(
    lambda rest: flags_lib.call(main, rest, flags.FLAGS),
    flags_parser=lambda arguments: flags_lib.parse(arguments, flags.FLAGS),
  )


class Results:
  """The files of one experiment, which `writing` opens.

  Args:
    directory: Where the files go.
    program: Name of the module in experiments/.
    prefix: What the names of all figures begin with.
  """

  def __init__(self, directory: str, program: str, prefix: str):
    self._directory = directory
    self._program = program
    self._prefix = prefix
    self._paths = []

  def save(self, figure: Figure, name: str) -> None:
    """Writes a figure to NAME.png, with the prefix before it."""
    path = os.path.join(self._directory, f"{self._prefix}{name}.png")
    style.save(figure, path)
    self._paths.append(path)

  def write(self, *parts: str) -> None:
    """Writes results.md, prints what is in it, and names all files.

    Args:
      *parts: Paragraphs and tables in Markdown. The date, the machine and the
        command follow.
    """
    text = "\n\n".join(
      [*(part.strip() for part in parts), describe_run(self._program)]
    )
    path = os.path.join(self._directory, _TABLE)
    with files.writing(path, resumes=False):
      files.write_whole(path, f"{text}\n")
    print(f"\n{text}\n")
    for written in [path, *self._paths]:
      print(f"Written: {written}")


@contextlib.contextmanager
def writing(
  directory: str, program: str, prefix: str | None = None
) -> Iterator[Results]:
  """Returns a context manager that holds the work directory of an experiment.

  Args:
    directory: Is created if needed. Files of an earlier run of the same program
      are replaced.
    program: Name of the module in experiments/.
    prefix: What the names of figures begin with: PROGRAM_ if None.

  Raises:
    UserError: if the directory cannot be created, is in a bucket, is used by
      another process, is that of a run of a trainer, or has the results of
      another program.
  """
  if "://" in directory:
    raise UserError(
      f"--workdir={directory} is in a bucket: experiments.{program} needs a "
      "directory of a disk or of a network file system."
    )
  if workdir.read(directory, "config") is not None:
    raise UserError(
      f"--workdir={directory} holds a run of a trainer: give "
      f"experiments.{program} a directory of its own."
    )
  with workdir.locked(directory):
    path = os.path.join(directory, _TABLE)
    if os.path.exists(path):
      with open(path, errors="replace") as file:
        command = rf" -m experiments\.{program}\s"
        is_own = re.search(command, file.read()) is not None
      if not is_own:
        raise UserError(
          f"--workdir={directory} has a {_TABLE} that experiments.{program} "
          "did not write: give another directory, or move the file away."
        )
    yield Results(
      directory, program, f"{program}_" if prefix is None else prefix
    )


def make_table(rows: Sequence[Mapping[str, str] | Sequence[str]]) -> str:
  """Returns a Markdown table, whose cells keep the digits they were given.

  Args:
    rows: Each maps the titles of the columns to the cells; or the first one is
      the titles, and each other one the cells in their order.
  """
  have_titles = all(isinstance(row, Mapping) for row in rows)
  return tabulate.tabulate(
    rows,
    "keys" if have_titles else "firstrow",
    tablefmt="github",
    disable_numparse=True,
  )


def mean_and_deviation(
  values: Sequence[float], digits: int = 2, unit: str = ""
) -> str:
  """Returns mean and sample standard deviation; the mean alone of one value.

  Args:
    values: At least one. NaN is a run that diverged: then the text says how
      many did.
    digits: Behind the point.
    unit: Of the values, such as "%"; empty for none.
  """
  values = [float(value) for value in values]  # NumPy's too.
  diverged = sum(map(math.isnan, values))
  if diverged:
    return f"{diverged} of {len(values)} diverged"
  text = f"{statistics.mean(values):.{digits}f}"
  if len(values) > 1:
    text += f" ± {statistics.stdev(values):.{digits}f}"
  return f"{text} {unit}".strip()


def describe_run(program: str) -> str:
  """Returns in Markdown the date, the machine and the command.

  Args:
    program: Name of the module in experiments/ that runs.
  """
  command = shlex.join(
    ["python", "-m", f"experiments.{program}", *sys.argv[1:]]
  )
  return (
    f"{datetime.date.today().isoformat()}, {processor()}, "
    f"{hardware.count_cores()} cores, "
    f"{platform.system()}:\n\n```\n{command}\n```"
  )


def processor() -> str:
  """Returns the name of the processor of this machine."""
  # Linux alone has the file.
  with contextlib.suppress(OSError), open("/proc/cpuinfo") as file:
    for line in file:
      if line.startswith("model name"):
        return line.split(":", 1)[1].strip()
  return platform.processor() or platform.machine()
