"""What every trainer promises, as tests that each trainer's train_test takes.

    class TrainTest(
      contract.TrainerContract, tf.test.TestCase, parameterized.TestCase
    ):
      trainer = TRAINER
      ...

Tests that only look at a finished run share one, `finished`; the others copy it
or train for themselves.
"""

import contextlib
import functools
import io
import json
import os
import re
import shutil
import tempfile
import types
from collections.abc import Mapping, Sequence
from typing import Any
from unittest import mock

import keras
import ml_collections
import numpy as np
import tensorflow as tf

from tests import replicas
from trainers import devices, loop, metrics
from trainers import trainer as trainer_lib
from trainers import workdir as workdir_lib
from trainers.devices import Runtime
from trainers.errors import UserError
from trainers.tpu import compile_only, program


class TrainerContract:
  """Cases of all trainers, to be mixed into a `tf.test.TestCase`.

  Attributes to set:
    trainer: The trainer, as it is given to the command line.
    files: Names of what the run of `make_config()` leaves in its workdir.
    final_file: That of them which a run writes last.
    steps: Steps after which that run writes metrics, the last ones last. It has
      two checkpoints at least.
    last_metrics: Names in the last line of metrics.jsonl.
    batch_shapes: Shapes of a batch of one of 8 replicas, flattened, for the
      config of `compiled_fields`.
    parameters: How many trainable variables the model has.
    told: Lines of what the run of `make_config()` prints at its start.
    best: The metric that marks the best checkpoint.
    next_programs: Modules that are named at the end, to go on with.
    mistakes: (fields, replicas, message): fields of a config that cannot be
      trained with on 1 or 2 replicas, and a pattern of what the user is told.

  Attributes that may be set:
    data_dir: Where the data is.
    longer_fields: The field of a config that says how long a run is, longer
      than that of `make_config()`.
    compiled_fields: Fields of a config whose batch 8 replicas can share.
    diverging_fields: Fields of a config whose training diverges.
    learning_fields: Fields of a config whose loss falls in a few steps.
    equal_fields: Fields of a config whose result is the same for any number of
      replicas.
    weights_tolerance: Between weights with one and with two replicas.
    metrics_tolerance: Likewise of metrics.
    loss_rtol: Between training losses of a run and of a run that was resumed.
  """

  trainer: trainer_lib.Trainer
  files: Sequence[str]
  final_file: str
  steps: Sequence[int]
  last_metrics: Sequence[str]
  batch_shapes: Sequence[tuple[int, ...]]
  parameters: int
  told: Sequence[tuple[str, str]]
  best: str
  next_programs: Sequence[str]
  mistakes: Sequence[tuple[Mapping[str, Any], int, str]]
  longer_fields: Mapping[str, Any]
  data_dir: str | None = None
  compiled_fields: Mapping[str, Any] = {}
  diverging_fields: Mapping[str, Any] = {"learning_rate.peak": 1e9}
  learning_fields: Mapping[str, Any] = {}
  equal_fields: Mapping[str, Any] = {}
  weights_tolerance = {"rtol": 2e-4, "atol": 2e-5}
  metrics_tolerance = {"rtol": 1e-4, "atol": 1e-6}
  loss_rtol = 1e-5

  @classmethod
  def make_config(cls, **fields: Any) -> ml_collections.ConfigDict:
    """Returns a tiny experiment with Lookahead, locked.

    Args:
      **fields: Values of fields such as "learning_rate.peak".
    """
    raise NotImplementedError

  @classmethod
  def weights(cls, workdir: str) -> dict[str, np.ndarray]:
    """Returns all float32 tensors of a run's last checkpoint, by name."""
    reader = tf.train.load_checkpoint(_last_checkpoint(workdir))
    types_of = reader.get_variable_to_dtype_map()
    return {
      name: reader.get_tensor(name)
      for name in types_of
      if types_of[name] == tf.float32
    }

  @classmethod
  def train(
    cls,
    config: ml_collections.ConfigDict,
    workdir: str,
    strategy: tf.distribute.Strategy | None = None,
    **runtime: Any,
  ) -> list[dict[str, float]]:
    """Trains as the command line does; returns the lines of metrics.jsonl.

    Args:
      config: An experiment.
      workdir: Directory of the run.
      strategy: None for one device.
      **runtime: Other fields of Runtime.
    """
    strategy = strategy or tf.distribute.OneDeviceStrategy("CPU:0")
    run = Runtime(strategy, workdir, **{"data_dir": cls.data_dir, **runtime})
    cls.trainer.train(cls.trainer.load(config, run), run)
    return metrics.read(workdir)

  @classmethod
  @functools.cache
  def finished(cls) -> str:
    """Returns the workdir of a finished run, which no test may change."""
    directory = tempfile.TemporaryDirectory()
    cls.addClassCleanup(directory.cleanup)
    workdir = os.path.join(directory.name, "run")
    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    distribute = "distribute_datasets_from_function"
    with (
      contextlib.redirect_stdout(io.StringIO()) as printed,
      mock.patch.object(
        strategy, distribute, wraps=getattr(strategy, distribute)
      ) as cls.distribute,
    ):
      cls.train(cls.make_config(**cls.equal_fields), workdir, strategy)
    cls.printed = printed.getvalue()
    return workdir

  def setUp(self):
    super().setUp()
    self.workdir = os.path.join(
      self.get_temp_dir(), self.id().split()[0], "run"
    )

  def set_precision(self, name: str) -> None:
    """Sets a precision until the end of the test."""
    self.addCleanup(keras.config.set_dtype_policy, "float32")
    devices.set_precision(name)

  def assertSameResult(self, one: str, other: str) -> None:
    """Fails unless two runs have the same metrics and weights, nearly."""
    lines, other_lines = metrics.read(one), metrics.read(other)
    self.assertLen(other_lines, len(lines))
    for line, other_line in zip(lines, other_lines):
      self.assertEqual(line.keys(), other_line.keys())
      for name in line:
        if "per_second" not in name:
          self.assertAllClose(
            line[name], other_line[name], **self.metrics_tolerance
          )
    self.assertSameWeights(one, other, **self.weights_tolerance)

  def assertSameWeights(self, one: str, other: str, **tolerance: float) -> None:
    """Fails unless two runs have the same weights, nearly."""
    weights, other_weights = self.weights(one), self.weights(other)
    self.assertNotEmpty(weights)
    self.assertEqual(weights.keys(), other_weights.keys())
    for name, value in weights.items():
      self.assertAllClose(value, other_weights[name], **tolerance, msg=name)

  def test_no_input_is_autotuned(self):
    # Its iterator would take up to a minute to be deleted.
    self.finished()
    read = [call.args[0] for call in self.distribute.call_args_list]
    self.assertGreaterEqual(len(read), 2)  # To train and to evaluate on.
    for dataset in (make(tf.distribute.InputContext()) for make in read):
      self.assertIs(dataset.options().autotune.enabled, False)

  def test_two_replicas_equal_one(self):
    self.train(
      self.make_config(**self.equal_fields), self.workdir, replicas.mirrored()
    )
    self.assertSameResult(self.finished(), self.workdir)

  def test_resuming_changes_nothing(self):
    shutil.copytree(self.finished(), self.workdir)
    _remove_checkpoint(_last_checkpoint(self.workdir))
    whole = metrics.read(self.finished())
    resumed = self.train(self.make_config(**self.equal_fields), self.workdir)
    self.assertLen(resumed, len(whole))
    for line, other in zip(whole, resumed):
      self.assertEqual(line["step"], other["step"])
      self.assertAllClose(
        line["train/loss"], other["train/loss"], rtol=self.loss_rtol
      )
    # The last line was made again: its speed is another.
    self.assertNotEqual(whole[-1], resumed[-1])
    self.assertSameWeights(self.finished(), self.workdir, rtol=1e-5, atol=1e-6)

  def test_a_finished_run_goes_on_for_longer(self):
    shutil.copytree(self.finished(), self.workdir)
    before = metrics.read(self.workdir)
    longer = self.make_config(**self.equal_fields, **self.longer_fields)
    lines = self.train(longer, self.workdir)
    self.assertEqual(lines[: len(before)], before)
    self.assertGreater(lines[-1]["step"], before[-1]["step"])
    self.assertGreater(lines[len(before)]["train/learning_rate"], 0)
    self.assertContainsSubset(self.last_metrics, lines[-1])
    ((field, value),) = self.longer_fields.items()
    self.assertEqual(workdir_lib.read(self.workdir, "config")[field], value)
    with self.assertRaisesRegex(UserError, f"config.{field}: {value} -> "):
      self.train(self.make_config(**self.equal_fields), self.workdir)

  def test_starting_from_the_weights_of_another_run(self):
    source = shutil.copytree(self.finished(), f"{self.workdir}_source")
    config = self.make_config(
      **self.equal_fields, **{"seed": 1, "learning_rate.peak": 1e-12}
    )
    with contextlib.redirect_stdout(io.StringIO()) as told:
      self.train(config, self.workdir, init_from=source)
    self.assertRegex(
      told.getvalue(), rf"Starting from {source} \(best, step \d"
    )
    # Slow weights, which a synchronization with other fast ones would change.
    best = tf.train.load_checkpoint(_last_checkpoint(source, "best"))
    slow = {
      name: value
      for name, value in self.weights(self.workdir).items()
      if name.startswith("optimizer/_variables/")
    }
    self.assertLen(slow, self.parameters)
    for name, value in slow.items():
      self.assertAllClose(value, best.get_tensor(name), atol=1e-6)
    with self.assertRaisesRegex(UserError, "runtime.init_from"):
      self.train(config, self.workdir)
    shutil.rmtree(source)  # The run goes on without it.
    self.train(config, self.workdir, init_from=source)
    with self.assertRaisesRegex(
      UserError, f"--init_from={source} holds no run"
    ):
      self.train(config, f"{self.workdir}_other", init_from=source)

  def test_what_it_leaves_in_the_workdir(self):
    self.assertCountEqual(os.listdir(self.finished()), self.files)
    self.assertIn(self.final_file, self.files)
    with open(os.path.join(self.finished(), "config.json")) as file:
      config = json.load(file)
    expected = self.make_config(**self.equal_fields)
    self.assertEqual(
      config["lookahead"]["sync_period"], expected.lookahead.sync_period
    )
    lines = metrics.read(self.finished())
    self.assertEqual([line["step"] for line in lines], [*self.steps])
    self.assertContainsSubset(
      ["step", "epoch", "examples_per_second", "train/loss", "train/accuracy"],
      lines[0],
    )
    self.assertContainsSubset(self.last_metrics, lines[-1])

  def test_slow_weights_that_will_not_move_are_told_at_the_start(self):
    config = self.make_config(**{"lookahead.sync_period": 1_000_000})
    told = io.StringIO()
    with (
      contextlib.redirect_stdout(told),
      mock.patch.object(loop, "_progress", side_effect=InterruptedError),
      self.assertRaises(InterruptedError),
    ):
      self.train(config, self.workdir)
    self.assertRegex(
      told.getvalue(),
      r"\n  slow weights +evaluated .* at the start: the run "
      r"makes \d+ updates, less than .* lookahead\.sync_period=1000000\n",
    )
    self.finished()
    self.assertNotIn("slow weights  ", self.printed)

  def test_what_it_prints(self):
    workdir = self.finished()
    start, rest = self.printed.split("\nafter step ", maxsplit=1)
    _, end = rest.split("\nTrained: ", maxsplit=1)
    told = [re.split("  +", line.strip()) for line in start.splitlines()[1:]]
    self.assertContainsSubset(
      [
        *("train", "validation", "model", "optimizer", "learning rate"),
        *("device", "precision", "length", "evaluation", "results in"),
      ],
      [name for name, _ in told],
    )
    self.assertContainsSubset(self.told, [tuple(line) for line in told])
    self.assertIn(["results in", workdir], told)
    # The last evaluation, and files that are there.
    results, commands = end.split("\nNext:\n")
    (final,) = re.findall(
      rf"(?i)final {self.best} +([\d.]+)%? in validation", results
    )
    value = metrics.read(workdir)[-1][f"eval/{self.best}"]
    percent = 100 if self.best == "accuracy" else 1
    self.assertAllClose(float(final), value * percent, atol=0.01)
    paths = re.findall(rf" ({re.escape(workdir)}/\S+)", results)
    self.assertContainsSubset(
      [os.path.join(workdir, name) for name in ("best", "metrics.jsonl")], paths
    )
    for path in paths:
      self.assertTrue(os.path.exists(path), path)
    for module in self.next_programs:
      self.assertRegex(commands, rf" -m {module} .*={workdir}")

  def test_the_step_that_is_compiled_for_tpus(self):
    config = self.make_config(**self.compiled_fields)
    values = types.SimpleNamespace(
      config=config,
      data_dir=None,
      fake_data=False,
      precision="float32",
      seed=None,
      tpu_compile_only=["v3-8"],
    )
    with (
      mock.patch.object(compile_only, "report", return_value=7) as report,
      self.assertRaises(SystemExit) as end,
    ):
      trainer_lib.train(self.trainer, values)
    self.assertEqual(end.exception.code, 7)
    make_step, make_inner_step, *rest = report.call_args.args
    size = config[self.trainer.batch_field]
    self.assertEqual(rest, [["v3-8"], size, self.trainer.unit])
    strategy = program.CompiledReplicas(8)
    arguments = []
    for make in (make_step, make_inner_step):
      step, specs = make(strategy)
      shapes = [tuple(spec.shape) for spec in tf.nest.flatten(specs)]
      self.assertEqual(shapes, [*self.batch_shapes])
      text = program.stablehlo(step, specs, strategy)
      self.assertIn("stablehlo.all_reduce", text)
      head = next(line for line in text.splitlines() if "@main" in line)
      arguments.append(head.count("%arg"))
    # A slow weight for each parameter, and the counters of Lookahead.
    added = arguments[0] - arguments[1]
    self.assertBetween(added, self.parameters, self.parameters + 5)
    self.assertIsNotNone(config.lookahead)

  def test_mistakes_are_told_before_anything_is_written(self):
    for fields, count, message in self.mistakes:
      strategy = replicas.mirrored() if count == 2 else None
      with (
        self.subTest(
          **{name.replace(".", "_"): v for name, v in fields.items()}
        ),
        self.assertRaisesRegex(UserError, message),
      ):
        self.train(self.make_config(**fields), self.workdir, strategy)
      self.assertFalse(os.path.exists(self.workdir))

  def test_divergence_stops_the_run(self):
    with self.assertRaisesRegex(UserError, "diverged.* step .*learning rate"):
      self.train(self.make_config(**self.diverging_fields), self.workdir)
    path = os.path.join(self.workdir, self.final_file)
    self.assertFalse(os.path.exists(path))

  def test_precision_belongs_to_the_run(self):
    self.set_precision("bfloat16")
    lines = self.train(self.make_config(**self.learning_fields), self.workdir)
    self.assertLess(lines[-1]["train/loss"], lines[0]["train/loss"])
    devices.set_precision("float32")
    with self.assertRaisesRegex(UserError, "'bfloat16' -> 'float32'"):
      self.train(self.make_config(**self.learning_fields), self.workdir)

  def test_workdir_of_another_config(self):
    with self.assertRaisesRegex(UserError, "config.seed: 0 -> 1"):
      self.train(self.make_config(**self.equal_fields, seed=1), self.finished())

  def test_workdir_of_another_process(self):
    with (
      workdir_lib.locked(self.workdir),
      self.assertRaisesRegex(
        UserError,
        f"Another process is training in --workdir={self.workdir}:",
      ),
    ):
      self.train(self.make_config(), self.workdir)
    self.assertEqual(os.listdir(self.workdir), ["lock"])


def _last_checkpoint(workdir, folder="checkpoints"):
  """Returns the path of the checkpoint of the greatest step."""
  directory = os.path.join(workdir, folder)
  steps = [
    int(name.removesuffix(".index").rpartition("-")[2])
    for name in os.listdir(directory)
    if name.endswith(".index")
  ]
  return os.path.join(directory, f"ckpt-{max(steps)}")


def _remove_checkpoint(path):
  directory, name = os.path.split(path)
  for file in os.listdir(directory):
    if file.startswith(f"{name}."):
      os.remove(os.path.join(directory, file))
