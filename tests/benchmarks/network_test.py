import os
import pathlib
import stat
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

from absl.testing import absltest, parameterized

from benchmarks import network
from trainers.errors import UserError

_SEND = """
import socket, sys
with socket.create_connection((sys.argv[1], 12345)) as one:
  one.sendall(bytes(300_000))
"""
_RECEIVE = """
import socket, sys
with socket.create_server((sys.argv[1], 12345)) as server:
  print("ready", flush=True)
  with server.accept()[0] as one:
    print(sum(len(part) for part in iter(lambda: one.recv(65536), b"")))
"""


def _why_impossible():
  try:
    with network.Link() as link:
      link.limit("1gbit")
  except UserError as error:
    return str(error)
  return ""


def _namespaces():
  shown = subprocess.run(
    ["ip", "netns", "list"], capture_output=True, text=True, check=True
  )
  return {line.split()[0] for line in shown.stdout.splitlines()}


class RateTest(parameterized.TestCase):
  @parameterized.parameters(
    ("100mbit", "100 Mbit/s"),
    ("1gbit", "1 Gbit/s"),
    ("2.5gbit", "2.5 Gbit/s"),
    ("64kbit", "64 kbit/s"),
    ("unlimited", "no limit"),
  )
  def test_rates(self, rate, description):
    self.assertTrue(network.is_rate(rate))
    self.assertEqual(network.describe_rate(rate), description)

  @parameterized.parameters("", "100", "0mbit", "-1mbit", "1 mbit", "mbit")
  def test_what_is_no_rate(self, rate):
    self.assertFalse(network.is_rate(rate))


class WithoutRootTest(absltest.TestCase):
  """Programs of the name of iproute2's write down how they are called."""

  def setUp(self):
    super().setUp()
    self._folder = self.enter_context(tempfile.TemporaryDirectory())
    self._calls = pathlib.Path(self._folder, "calls")
    self._calls.touch()
    for program in ("ip", "tc"):
      self._write_program(program, "")
    path = f"{self._folder}:/usr/bin:/bin"
    self.enter_context(mock.patch.dict(os.environ, PATH=path))
    self.enter_context(mock.patch.object(os, "geteuid", return_value=0))

  def _write_program(self, name, body):
    path = pathlib.Path(self._folder, name)
    path.write_text(f'#!/bin/sh\necho "{name} $*" >> {self._calls}\n{body}\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)

  def _called(self):
    return self._calls.read_text().splitlines()

  def _list(self, *names):
    text = "\\n".join(f"{name} (id: {i})" for i, name in enumerate(names))
    self._write_program("ip", f'[ "$2" != list ] || printf "{text}\\n"')

  def test_only_root_can(self):
    with (
      mock.patch.object(os, "geteuid", return_value=1000),
      self.assertRaisesRegex(UserError, "root.*1000"),
    ):
      network.check_possible()
    self.assertEmpty(self._called())

  def test_missing_programs_are_named(self):
    for program in ("ip", "tc"):
      with (
        self.subTest(program),
        mock.patch.dict(os.environ, PATH=self._folder),
      ):
        path = pathlib.Path(self._folder, program)
        path.rename(f"{path}.away")
        with self.assertRaisesRegex(UserError, f"`{program}`.*iproute2"):
          network.check_possible()
        pathlib.Path(f"{path}.away").rename(path)

  def test_other_systems_cannot(self):
    with (
      mock.patch.object(sys, "platform", "darwin"),
      self.assertRaisesRegex(UserError, "darwin"),
    ):
      network.check_possible()

  def test_limits_both_ends(self):
    with network.Link() as link:
      names = [link.command(host)[-1] for host in range(2)]
      link.limit("100mbit")
    limits = [
      call for call in self._called() if " add " in call and "tc" in call
    ]
    self.assertLen(limits, 2)
    for name, call in zip(names, limits):
      self.assertStartsWith(call, f"tc -n {name} qdisc add")
      self.assertIn("tbf rate 100mbit burst", call)

  def test_what_the_kernel_refuses_is_told_and_undone(self):
    one, other = network.Link()._names
    self._write_program(
      "ip",
      f"""case "$*" in
        "netns list") echo {one}; echo {other}; echo somebody;;
        *veth*) echo "Unknown device type." >&2; exit 2;;
      esac""",
    )
    with (
      self.assertRaisesRegex(UserError, "veth.*Unknown device type.*VETH"),
      network.Link(),
    ):
      self.fail("The link was made.")
    deleted = [call for call in self._called() if "delete" in call]
    self.assertEqual(
      deleted, [f"ip netns delete {name}" for name in (one, other)]
    )

  def test_removes_what_a_killed_process_left_and_nothing_else(self):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = f"lookahead-{ended.pid}-0"
    self._list(left, f"lookahead-{os.getppid()}-0", "lookahead-mine", "blue")
    with network.Link():
      pass
    deleted = [call for call in self._called() if "delete" in call]
    self.assertEqual(deleted, [f"ip netns delete {left}"])


class LinkTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    if reason := _why_impossible():
      raise unittest.SkipTest(reason)

  def test_carries_counts_and_is_removed(self):
    before = _namespaces()
    with self.assertRaises(KeyboardInterrupt), network.Link() as link:
      self.assertLen(_namespaces() - before, 2)
      for rate in ("100mbit", "1gbit"):
        link.limit(rate)
        for host in range(2):
          name = link.command(host)[-1]
          shown = subprocess.check_output(["tc", "-n", name, "qdisc"])
          self.assertIn(f"rate {rate}", shown.decode().lower())
      sent = link.bytes_sent()
      self._send(link)
      one, other = (b - a for a, b in zip(sent, link.bytes_sent()))
      self.assertBetween(one, 300_000, 350_000)
      self.assertLess(other, 50_000)
      link.limit(network.UNLIMITED)
      self.assertNotIn(
        b"tbf", subprocess.check_output(["tc", "-n", name, "qdisc"])
      )
      raise KeyboardInterrupt
    self.assertEqual(_namespaces(), before)

  def _send(self, link):
    python = [sys.executable, "-c"]
    address = link.addresses[1]
    with subprocess.Popen(
      [*link.command(1), *python, _RECEIVE, address],
      stdout=subprocess.PIPE,
      text=True,
    ) as receiver:
      receiver.stdout.readline()
      subprocess.run([*link.command(0), *python, _SEND, address], check=True)
      self.assertEqual(receiver.communicate(timeout=30)[0].strip(), "300000")


if __name__ == "__main__":
  absltest.main()
