"""Experiments, one file a subject; `--config=configs/NAME.py:help` lists them.

Words behind the colon choose the experiment: --config=configs/cifar.py:sgd.
`image_classification`, `language_modeling` and `translation` hold the fields
that the subjects fill in. `lookahead` adds Lookahead to an experiment, and
`words` parses the words.
"""
