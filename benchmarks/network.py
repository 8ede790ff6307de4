"""Two hosts on one machine: network namespaces, and a link of limited speed.

A namespace has network devices of its own. A pair of devices of the kind veth
is a cable between two of them, and a token bucket (tbf) at each end limits what
that end sends. All of it is iproute2's, of Linux, and needs root.
"""

import json
import os
import re
import shutil
import subprocess
import sys

from trainers.errors import UserError

# Of each name of ours, which goes on with the number of our process.
_PREFIX = "lookahead-"
_DEVICE = "cable"
# A network of two hosts (RFC 5737 keeps these addresses for documents). It is
# seen from within the namespaces alone.
_ADDRESSES = ("192.0.2.1", "192.0.2.2")
# How much is sent at full speed after a pause, and how long a packet may wait
# before it is dropped: as in a switch with small buffers.
_BURST = "256kb"
_LATENCY = "50ms"
_RATE = re.compile(r"(\d+(?:\.\d+)?)(k|m|g)bit")
UNLIMITED = "unlimited"


def is_rate(rate: str) -> bool:
  """Whether a rate is UNLIMITED or what `tc` takes, such as "100mbit"."""
  found = _RATE.fullmatch(rate)
  return rate == UNLIMITED or (found is not None and float(found[1]) > 0)


def describe_rate(rate: str) -> str:
  """Returns a rate as people write it, such as "100 Mbit/s"."""
  if rate == UNLIMITED:
    return "no limit"
  number, unit = _RATE.fullmatch(rate).groups()
  return f"{number} {unit if unit == 'k' else unit.upper()}bit/s"


def check_possible() -> None:
  """Raises a UserError if links cannot be made here, with what is missing."""
  if not sys.platform.startswith("linux"):
    raise UserError(
      f"Network namespaces are Linux's, and this is {sys.platform}."
    )
  for program, package in (("ip", "iproute2"), ("tc", "iproute2")):
    if shutil.which(program) is None:
      raise UserError(
        f"The program `{program}` is missing: install {package}, as with "
        f"`apt-get install {package}`."
      )
  if os.geteuid() != 0:
    raise UserError(
      "Only root can make network namespaces, and this is user "
      f"{os.geteuid()}: run the same command with sudo."
    )


class Link:
  """A context manager: two namespaces with a cable between them.

  Both are removed at its end, with what a process that was killed left of its
  own. Nothing else is touched.

  Attributes:
    addresses: Of the two hosts.

  Raises:
    UserError: at its beginning, if the kernel or the rights do not suffice.
  """

  addresses = _ADDRESSES

  def __init__(self):
    self._names = [f"{_PREFIX}{os.getpid()}-{i}" for i in range(2)]

  def __enter__(self) -> "Link":
    check_possible()
    _remove_abandoned()
    try:
      self._make()
    except BaseException:
      self._remove()
      raise
    return self

  def _make(self):
    one, other = self._names
    for name in self._names:
      _run("ip", "netns", "add", name)
    _run(
      *("ip", "link", "add", _DEVICE, "netns", one, "type", "veth"),
      *("peer", "name", _DEVICE, "netns", other),
    )
    for name, address in zip(self._names, _ADDRESSES):
      _run("ip", "-n", name, "address", "add", f"{address}/24", "dev", _DEVICE)
      for device in ("lo", _DEVICE):
        _run("ip", "-n", name, "link", "set", device, "up")

  def __exit__(self, *error) -> None:
    self._remove()

  def _remove(self):
    present = _namespaces()
    for name in self._names:
      if name in present:
        _run("ip", "netns", "delete", name)

  def command(self, host: int) -> list[str]:
    """Returns what a command begins with that runs on a host.

    Args:
      host: 0 or 1.
    """
    return ["ip", "netns", "exec", self._names[host]]

  def limit(self, rate: str) -> None:
    """Limits what each end sends, from now on.

    Args:
      rate: UNLIMITED, or as `tc` takes it, such as "100mbit".

    Raises:
      UserError: if the kernel has no token buckets.
    """
    for name in self._names:
      if self._is_limited(name):
        _run("tc", "-n", name, "qdisc", "delete", "dev", _DEVICE, "root")
      if rate != UNLIMITED:
        _run(
          *("tc", "-n", name, "qdisc", "add", "dev", _DEVICE, "root", "tbf"),
          *("rate", rate, "burst", _BURST, "latency", _LATENCY),
        )

  def _is_limited(self, name):
    queues = _run("tc", "-n", name, "qdisc", "show", "dev", _DEVICE)
    return "qdisc tbf" in queues

  def bytes_sent(self) -> list[int]:
    """Returns what each end has sent so far, with all headers."""
    command = ("-statistics", "-json", "link", "show", "dev", _DEVICE)
    shown = [json.loads(_run("ip", "-n", n, *command)) for n in self._names]
    return [device["stats64"]["tx"]["bytes"] for (device,) in shown]


def _remove_abandoned():
  """Removes namespaces of ours whose process is no more."""
  for name in _namespaces():
    owner = re.fullmatch(rf"{_PREFIX}(\d+)-[01]", name)
    if owner and not os.path.exists(f"/proc/{owner[1]}"):
      _run("ip", "netns", "delete", name)


def _namespaces():
  """Returns the names of all namespaces."""
  # A namespace may be followed by its number: "NAME (id: 0)".
  return [
    line.split()[0] for line in _run("ip", "netns", "list").splitlines() if line
  ]


def _run(*command):
  """Returns what a command prints.

  Raises:
    UserError: if it fails.
  """
  done = subprocess.run(command, capture_output=True, text=True, check=False)
  if done.returncode:
    raise UserError(
      f"`{' '.join(command)}` fails: {done.stderr.strip()}. It needs the "
      "rights of root over networks (CAP_NET_ADMIN and CAP_SYS_ADMIN), and a "
      "kernel with network namespaces (CONFIG_NET_NS), cables between them "
      "(CONFIG_VETH) and token buckets (CONFIG_NET_SCH_TBF)."
    )
  return done.stdout
