from absl.testing import absltest, parameterized

from trainers.errors import UserError
from trainers.tpu import chips


def _cost(flop, accessed):
  return chips.Cost(0, 0, 0, flop, accessed)


class ChipsTest(parameterized.TestCase):
  def test_find(self):
    found = chips.find(["v5e-8", "v3-8"])
    self.assertEqual(list(found), ["v5e-8", "v3-8"])
    self.assertEqual(found["v3-8"].topology, "v3:2x2x1")

  @parameterized.parameters(
    (["v3-8", "v9-8"], "Received: v9-8"), ([], "Received: none")
  )
  def test_mistakes_name_what_there_is(self, names, message):
    with self.assertRaisesRegex(UserError, f"v2-8, v3-8.*{message}"):
      chips.find(names)

  def test_roofline(self):
    one = chips.Slice("", hbm_gib=0.0, flops=100.0, bandwidth=10.0)
    # The ridge is at 10 FLOP a byte.
    for flop, accessed, seconds in ((200, 1, 2), (1, 30, 3), (500, 50, 5)):
      cost = _cost(flop, accessed)
      self.assertEqual(chips.least_seconds(one, cost), seconds)

  def test_each_slice_has_its_generation_in_its_topology(self):
    for name, one in chips.SLICES.items():
      self.assertEqual(name.split("-")[0], one.topology.split(":")[0])


if __name__ == "__main__":
  absltest.main()
