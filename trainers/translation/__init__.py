"""Machine translation: `python -m trainers.translation`."""
