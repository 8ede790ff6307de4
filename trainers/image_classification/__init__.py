"""Image classification: python -m trainers.image_classification --help."""
