"""What all benchmarks share: rounds in turn, ratios, reports and charts."""
