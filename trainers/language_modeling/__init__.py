"""Language models: `python -m trainers.language_modeling`."""
