import keras
import tensorflow as tf
from absl.testing import parameterized
from ml_collections import config_dict

from tests import replicas
from tests.trainers.translation import small_text, tiny
from trainers.translation.model import make_model
from trainers.translation.translator import Translator

# Nothing, and sentences of up to 16, 32, 64, 128 and 256 tokens.
_SENTENCES = ["", "The fox."] + [
  " ".join(["The old man sees 3 birds."] * times) for times in (1, 2, 4, 8)
]


class TranslatorTest(tf.test.TestCase, parameterized.TestCase):
  def _translator(self, strategy):
    keras.utils.set_random_seed(1)
    words = small_text.make_vocabulary()
    with strategy.scope():
      model = make_model(tiny.config(), words.size)
    decoding = config_dict.create(
      beam_size=2,
      length_penalty=0.6,
      extra_length=2,
      max_length=256,
      batch_tokens=256,
    )
    return Translator(model, words, decoding, strategy, jit_compile=False)

  def test_replicas_translate_alike_and_no_shape_warns_of_its_tracing(self):
    translations = []
    for strategy in (
      tf.distribute.OneDeviceStrategy("CPU:0"),
      replicas.mirrored(),
    ):
      translator = self._translator(strategy)
      with self.assertNoLogs("tensorflow", "WARNING"):
        translations.append(translator(_SENTENCES))
    self.assertEqual(*translations)
    self.assertEqual(translations[0][0], "")
    self.assertTrue(all(translations[0][1:]))


if __name__ == "__main__":
  tf.test.main()
