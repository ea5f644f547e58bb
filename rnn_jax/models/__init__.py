"""Models built on recurrent layers: classifiers, sequence models, and generative models."""
