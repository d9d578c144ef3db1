"""Evaluation: what is asked and what should be found, how well a model does it, and how sure that is."""
