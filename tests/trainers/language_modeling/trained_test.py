"""What is done with a trained run: evaluate a text, continue a text."""

import contextlib
import dataclasses
import io
import json
import os

import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from tests import replicas
from tests.docs import pages
from tests.trainers import command_line
from tests.trainers.language_modeling import small_run, tiny
from trainers import workdir as workdir_lib
from trainers.devices import Runtime
from trainers.errors import UserError
from trainers.language_modeling import (
  evaluate,
  experiment,
  generate,
  train,
  trained,
)

_PAGE = pages.ROOT / "docs" / "language_modeling.md"


class TrainedTest(tf.test.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.text = os.path.join(cls.get_temp_dir(cls()), "text")
    small_run.write_text(cls.text)
    cls.workdir = os.path.join(cls.text, "run")
    cls.run_ = Runtime(tf.distribute.OneDeviceStrategy("CPU:0"), cls.workdir)
    # Its best evaluation is not its last, which begins with a new rate.
    config = small_run.config(cls.text, **{"final_weights": "best"})
    train.train(experiment.load(config, cls.run_), cls.run_)

  def test_evaluates_as_the_training_did(self):
    path = os.path.join(self.text, "test.txt")
    found = evaluate.evaluate(self.run_, path)
    with open(os.path.join(self.workdir, "results.json")) as file:
      results = json.load(file)
    self.assertEqual(found["words"], results["words"])
    with open(path) as file:
      self.assertEqual(found["unknown"], file.read().count("<unk>"))
    self.assertEqual(found["weights"], results["weights"])
    self.assertAllClose(found["perplexity"], results["perplexity"])
    two = Runtime(replicas.mirrored(), self.workdir)
    again = evaluate.evaluate(two, path)
    self.assertAllClose(found["perplexity"], again["perplexity"], rtol=1e-5)

  def test_the_program_in_the_docs(self):
    (program,) = pages.programs(_PAGE)
    self.assertIn('"DIR/', program)
    names = {"tokens": np.array([[0, 3, 5]], "int32")}
    exec(program.replace('"DIR/', f'"{self.workdir}/'), names)
    self.assertEqual(names["logits"].shape[:2], (1, 3))
    self.assertLen(small_run.WORDS, names["logits"].shape[2] - 1)  # <eos>.

  def test_the_programs(self):
    path = os.path.join(self.text, "test.txt")
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
      command_line.run(
        evaluate.main,
        [f"--workdir={self.workdir}", f"--input={path}", "--weights=last"],
        evaluate.define_flags,
      )
    printed = json.loads(out.getvalue())
    self.assertStartsWith(printed["weights"], "last, step")
    texts = []
    for seed in (1, 1, 2):
      out = io.StringIO()
      with contextlib.redirect_stdout(out):
        command_line.run(
          generate.main,
          [
            f"--workdir={self.workdir}",
            "--prompt=the king",
            "--words=30",
            f"--seed={seed}",
          ],
          generate.define_flags,
        )
      texts.append(out.getvalue())
      self.assertStartsWith(texts[-1], "the king")
      known = {*small_run.WORDS}
      self.assertContainsSubset(texts[-1].split(), known)
    self.assertEqual(texts[0], texts[1])
    self.assertNotEqual(texts[0], texts[2])

  def test_a_run_of_another_trainer(self):
    workdir = os.path.join(self.text, "other")
    workdir_lib.claim(
      workdir,
      config={"num_steps": 3},
      vocabulary={"size": 3},
      runtime={"precision": "float32"},
    )
    run = dataclasses.replace(self.run_, workdir=workdir)
    with self.assertRaisesRegex(
      UserError, f"--workdir={workdir} holds a run of another trainer"
    ):
      trained.load(run)
    run = dataclasses.replace(
      self.run_, workdir=f"{workdir}_new", init_from=workdir
    )
    with self.assertRaisesRegex(
      UserError, f"--init_from={workdir} holds no run of this trainer"
    ):
      experiment.load(small_run.config(self.text), run)

  def test_other_words_are_refused(self):
    path = os.path.join(self.workdir, "words.txt")
    with open(path) as file:
      words = file.read()
    try:
      for other in (words.replace("king", "queen"), ""):
        with open(path, "w") as file:
          file.write(other)
        with self.assertRaisesRegex(UserError, "words.txt is not the voc"):
          trained.load(self.run_)
    finally:
      with open(path, "w") as file:
        file.write(words)


class GenerateTest(tf.test.TestCase, parameterized.TestCase):
  def _draw(self, count, prompt=(0, 3, 5), **options):
    return [*generate.generate(tiny.model(), prompt, count, **options)]

  def test_the_likeliest_word(self):
    model = tiny.model()
    words = [0, 3, 5]
    for _ in range(6):
      logits = model(tf.constant([words]))
      words.append(int(np.argmax(logits[0, -1])))
    self.assertEqual(self._draw(6, top_k=1), words[3:])
    for temperature in (1e-4, 1e-45, 1e-300):
      self.assertEqual(self._draw(6, temperature=temperature), words[3:])

  def test_frequencies_are_the_probabilities(self):
    model = tiny.model()
    logits = model(tf.constant([[0, 3, 5]]))[0, -1].numpy()
    for top_k, temperature in ((None, 1.0), (4, 2.0)):
      kept = np.argsort(logits)[-(top_k or len(logits)) :]
      scaled = np.full_like(logits, -np.inf)
      scaled[kept] = logits[kept] / temperature
      expected = np.exp(scaled) / np.exp(scaled).sum()
      counts = np.zeros(len(logits))
      for place in range(400):
        word = generate.draw(logits[np.newaxis], (7, place), temperature, top_k)
        counts[int(word)] += 1
      self.assertAllClose(counts / 400, expected, atol=0.08)
      self.assertEqual(counts[expected == 0].sum(), 0)


if __name__ == "__main__":
  tf.test.main()
